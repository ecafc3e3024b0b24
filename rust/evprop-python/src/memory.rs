//! Large arrays of the core lie side by side on huge pages, where Linux gives them to who asks for them.
//!
//! A step of training goes through some megabytes of synapses, gradients and arrivals again and again, about what the second-level
//! cache holds. Scattered over pages of 4 KiB they meet in the same sets of it, and few of their addresses are known to the
//! processor at a time; on pages of 2 MiB neither happens (S-learn takes 0.85 of the time). Debian and Ubuntu give such
//! pages only where they are asked for. Small memory is the system's business.
use std::alloc::{GlobalAlloc, Layout, System};

/// Where large arrays come from.
pub struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

#[cfg(not(target_os = "linux"))]
mod large {
    pub use std::alloc::System as Large;
    pub const LARGE: usize = usize::MAX;
    pub static HEAP: Large = Large;
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

    /// A huge page of x86-64, bytes; of arm64 with pages of 4 KiB.
    const HUGE: usize = 2 << 20;

    /// Memory in huge pages, from the system.
    struct Pages;

    // SAFETY: what `alloc` gives is mapped for this alone until `free` or `free_part` unmap it.
    unsafe impl Allocator for Pages {
        fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
            let none = (null_mut(), 0, 0);
            let Some(size) = size.checked_next_multiple_of(HUGE) else { return none };
            let Some(room) = size.checked_add(HUGE) else { return none };
            // SAFETY: a new mapping, of which all but `size` bytes that begin a huge page are given back.
            unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                let all = libc::mmap(null_mut(), room, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
                if all == libc::MAP_FAILED {
                    return none;
                }
                let before = all.align_offset(HUGE);
                let start = all.byte_add(before);
                if before > 0 {
                    libc::munmap(all, before);
                }
                libc::munmap(start.byte_add(size), HUGE - before);
                // A wish: where it is not granted, pages are small.
                libc::madvise(start, size, libc::MADV_HUGEPAGE);
                (start.cast(), size, 0)
            }
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

use large::HEAP;
pub use large::{LARGE, survive_fork};

// SAFETY: memory goes back to where it came from, which its size tells.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that both ask for, here and below.
        unsafe { if layout.size() < LARGE { System.alloc(layout) } else { HEAP.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { if layout.size() < LARGE { System.alloc_zeroed(layout) } else { HEAP.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { if layout.size() < LARGE { System.dealloc(start, layout) } else { HEAP.dealloc(start, layout) } }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; where it moves from one to the other, what fits is copied, and the two do not overlap.
        unsafe {
            match (layout.size() < LARGE, size < LARGE) {
                (true, true) => System.realloc(start, layout, size),
                (false, false) => HEAP.realloc(start, layout, size),
                _ => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        std::ptr::copy_nonoverlapping(start, moved, layout.size().min(size));
                        self.dealloc(start, layout);
                    }
                    moved
                }
            }
        }
    }
}
