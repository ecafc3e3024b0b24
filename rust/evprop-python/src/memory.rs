//! Large arrays of the core lie on huge pages, where Linux gives them to who asks for them.
//!
//! A step of training goes through some megabytes of synapses, gradients and arrivals again and again, about what the second-level
//! cache holds. Scattered over pages of 4 KiB they meet in the same sets of it, and few of their addresses are known to the
//! processor at a time; on pages of 2 MiB neither happens. Debian and Ubuntu give such pages only where they are asked for.
//! Arrays that fill one are mapped alone; those that do not share some, in a heap (dlmalloc's); small memory is the system's business.
use std::alloc::{GlobalAlloc, Layout, System};

/// Where large arrays come from.
pub struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

#[cfg(not(target_os = "linux"))]
mod large {
    pub use std::alloc::{System as Alone, System as HEAP};
    pub const LARGE: usize = usize::MAX;
    pub const ALONE: usize = usize::MAX;
    pub fn survive_fork() {}
}

#[cfg(target_os = "linux")]
mod large {
    use dlmalloc::{Allocator, Dlmalloc};
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::UnsafeCell;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// What counts as large, bytes.
    pub const LARGE: usize = 16 << 10;

    /// What is mapped alone, bytes.
    pub const ALONE: usize = HUGE;

    /// A huge page of x86-64, bytes; of arm64 with pages of 4 KiB.
    const HUGE: usize = 2 << 20;

    /// Whole pages of any machine, bytes: what is mapped comes in as many.
    const PAGE: usize = 64 << 10;

    /// New memory, all zero, on huge pages as far as it fills them; null where there is none. `size`: of whole pages.
    fn mapped(size: usize) -> *mut u8 {
        let Some(room) = size.checked_add(HUGE) else { return null_mut() };
        // SAFETY: a new mapping, of which all but `size` bytes that begin a huge page are given back.
        unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let all = libc::mmap(null_mut(), room, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            if all == libc::MAP_FAILED {
                return null_mut();
            }
            let before = all.align_offset(HUGE);
            let start = all.byte_add(before);
            if before > 0 {
                libc::munmap(all, before);
            }
            libc::munmap(start.byte_add(size), HUGE - before);
            // A wish: where it is not granted, pages are small.
            libc::madvise(start, size, libc::MADV_HUGEPAGE);
            start.cast()
        }
    }

    /// Memory for the heap.
    struct Pages;

    // SAFETY: what `alloc` gives is mapped for this alone until `free` or `free_part` unmap it.
    unsafe impl Allocator for Pages {
        fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
            let size = size.next_multiple_of(HUGE);
            (mapped(size), size, 0)
        }

        fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
            null_mut()
        }

        fn free_part(&self, start: *mut u8, old: usize, new: usize) -> bool {
            // SAFETY: the end of a mapping of ours.
            unsafe { libc::munmap(start.byte_add(new).cast(), old - new) == 0 }
        }

        fn free(&self, start: *mut u8, size: usize) -> bool {
            // SAFETY: a mapping of ours.
            unsafe { libc::munmap(start.cast(), size) == 0 }
        }

        fn can_release_part(&self, _: u32) -> bool {
            true
        }

        fn allocates_zeros(&self) -> bool {
            true
        }

        fn page_size(&self) -> usize {
            HUGE
        }
    }

    /// The heap of large arrays.
    pub struct Large {
        taken: AtomicBool,
        heap: UnsafeCell<Dlmalloc<Pages>>,
    }

    pub static HEAP: Large =
        Large { taken: AtomicBool::new(false), heap: UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)) };

    // SAFETY: the heap is touched only by who has taken it.
    unsafe impl Sync for Large {}

    impl Large {
        fn take(&self) {
            while self.taken.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
                std::thread::yield_now();
            }
        }

        fn give_back(&self) {
            self.taken.store(false, Ordering::Release);
        }

        fn with<R>(&self, f: impl FnOnce(&mut Dlmalloc<Pages>) -> R) -> R {
            self.take();
            // SAFETY: it has been taken.
            let result = f(unsafe { &mut *self.heap.get() });
            self.give_back();
            result
        }
    }

    /// Arrays of a huge page and more are mapped alone: they go back as they end, and can grow where they lie.
    #[derive(Clone, Copy)]
    pub struct Alone;

    // SAFETY: mappings, of which each is one array's.
    unsafe impl GlobalAlloc for Alone {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            mapped(layout.size().next_multiple_of(PAGE))
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            mapped(layout.size().next_multiple_of(PAGE))
        }

        unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
            // SAFETY: a mapping of this size.
            unsafe { libc::munmap(start.cast(), layout.size().next_multiple_of(PAGE)) };
        }

        unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let [old, new] = [layout.size(), size].map(|size| size.next_multiple_of(PAGE));
            // SAFETY: a mapping of the old size.
            let moved = unsafe { libc::mremap(start.cast(), old, new, libc::MREMAP_MAYMOVE) };
            if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() }
        }
    }

    // SAFETY: dlmalloc's own promises.
    unsafe impl GlobalAlloc for Large {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promises are dlmalloc's conditions, here and below.
            self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as above.
            self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
        }

        unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
            // SAFETY: as above.
            self.with(|heap| unsafe { heap.free(start, layout.size(), layout.align()) });
        }

        unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: as above.
            self.with(|heap| unsafe { heap.realloc(start, layout.size(), layout.align(), size) })
        }
    }

    /// A process that is forked while a thread is at the heap would find it taken for ever: who forks takes it first.
    pub fn survive_fork() {
        extern "C" fn before() {
            HEAP.take();
        }
        extern "C" fn after() {
            HEAP.give_back();
        }
        // SAFETY: both functions live as long as the module, which Python never unloads.
        unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
    }
}

use large::{ALONE, Alone, HEAP};
pub use large::{LARGE, survive_fork};

/// Where memory of some size comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    System,
    Heap,
    Alone,
}

impl From {
    fn of(size: usize, align: usize) -> Self {
        // What is mapped alone and grows may move to any page.
        const PAGE: usize = 4 << 10;
        if size < LARGE || align > PAGE {
            Self::System
        } else if size < ALONE {
            Self::Heap
        } else {
            Self::Alone
        }
    }
}

// SAFETY: memory goes back to where it came from, which its size tells.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that all of them ask for, here and below.
        unsafe {
            match From::of(layout.size(), layout.align()) {
                From::System => System.alloc(layout),
                From::Heap => HEAP.alloc(layout),
                From::Alone => Alone.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match From::of(layout.size(), layout.align()) {
                From::System => System.alloc_zeroed(layout),
                From::Heap => HEAP.alloc_zeroed(layout),
                From::Alone => Alone.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            match From::of(layout.size(), layout.align()) {
                From::System => System.dealloc(start, layout),
                From::Heap => HEAP.dealloc(start, layout),
                From::Alone => Alone.dealloc(start, layout),
            }
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let from = From::of(layout.size(), layout.align());
        // SAFETY: as above; where it moves from one to another, what fits is copied, and the two do not overlap.
        unsafe {
            if from == From::of(size, layout.align()) {
                return match from {
                    From::System => System.realloc(start, layout, size),
                    From::Heap => HEAP.realloc(start, layout, size),
                    From::Alone => Alone.realloc(start, layout, size),
                };
            }
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(start, moved, layout.size().min(size));
                self.dealloc(start, layout);
            }
            moved
        }
    }
}
