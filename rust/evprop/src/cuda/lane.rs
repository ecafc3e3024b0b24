//! A lane: one stream of a device. What is asked of a lane is done in that order, while the host goes on and other lanes
//! work; `wait` and downloads wait for it.
//!
//! Memory is taken and given back in the order of a lane, so that a buffer may be dropped as soon as the launch that uses
//! it has been asked for on its own lane; before another lane uses it, wait. Uploads go through pinned memory of the
//! lane, or plain memory where the driver gives none.
use std::cell::RefCell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};

use cudarc::driver::result::{self, stream};
use cudarc::driver::sys;

use super::driver::{Device, failed};
use crate::error::{Error, Result};

/// A stream, and the memory that its copies go through.
#[derive(Debug)]
pub struct Idle {
    stream: Stream,
    staging: Staging,
}

#[derive(Debug, Clone, Copy)]
struct Stream(sys::CUstream);

// SAFETY: a stream may be used from any thread that has entered its context.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver locks what it must.
unsafe impl Sync for Stream {}

/// A stream of a device that the calling thread has entered.
#[derive(Debug)]
pub struct Lane {
    device: Arc<Device>,
    stream: Stream,
    staging: RefCell<Staging>,
}

impl Lane {
    /// Enters the device.
    pub fn new(device: &Arc<Device>) -> Result<Self> {
        device.enter()?;
        let idle = device.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Idle { stream, staging } = match idle {
            Some(idle) => idle,
            None => {
                let made = stream::create(stream::StreamKind::NonBlocking).map_err(|e| failed("making a stream", e))?;
                Idle { stream: Stream(made), staging: Staging::default() }
            }
        };
        Ok(Self { device: device.clone(), stream, staging: RefCell::new(staging) })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Memory that holds anything.
    pub fn alloc<X: Plain>(&self, len: usize) -> Result<Buffer<X>> {
        let bytes = len.saturating_mul(size_of::<X>()).max(1);
        // SAFETY: what is read of it was written before (`upload`, `zeros`, or a kernel), in the order of the lane.
        let taken = unsafe {
            match self.device.pool {
                Some(_) => result::malloc_async(self.stream.0, bytes),
                None => result::malloc_sync(bytes),
            }
        };
        let at = taken.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, all) = self.device.memory().unwrap_or_default();
                Error::Device(format!(
                    "{}: out of memory: {bytes} bytes are needed at once, {free} of {all} are free. Use a smaller batch, \
                     float32, or device=\"cpu\"",
                    self.device.name
                ))
            }
            _ => failed("taking memory", e),
        })?;
        Ok(Buffer { at, len, device: self.device.clone(), stream: self.stream, holds: PhantomData })
    }

    /// Memory full of zero bytes.
    pub fn zeros<X: Plain>(&self, len: usize) -> Result<Buffer<X>> {
        let buffer = self.alloc(len)?;
        if len > 0 {
            // SAFETY: the memory is `len` elements long.
            unsafe { result::memset_d8_async(buffer.at, 0, len * size_of::<X>(), self.stream.0) }
                .map_err(|e| failed("clearing memory", e))?;
        }
        Ok(buffer)
    }

    /// A copy in the device's memory.
    pub fn upload<X: Plain>(&self, values: &[X]) -> Result<Buffer<X>> {
        let buffer = self.alloc(values.len())?;
        self.write(&buffer, 0, values)?;
        Ok(buffer)
    }

    /// Copies to elements `first..` of a buffer. `values` may change as soon as this returns.
    pub fn write<X: Plain>(&self, buffer: &Buffer<X>, first: usize, values: &[X]) -> Result<()> {
        assert!(first + values.len() <= buffer.len, "{} of {} elements from {first}", values.len(), buffer.len);
        let bytes = size_of_val(values);
        if bytes == 0 {
            return Ok(());
        }
        if !self.staging.borrow().has_room(bytes) {
            self.wait()?;
        }
        let mut staging = self.staging.borrow_mut();
        let room = staging.take(bytes);
        // SAFETY: `values` are `bytes` long and plain; nothing else lies there until the lane has been waited for.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), room.as_mut_ptr(), bytes) };
        // SAFETY: that much of the memory belongs to the buffer; the staging memory stays until the copy is over.
        unsafe { result::memcpy_htod_async(buffer.at_element(first), room, self.stream.0) }
            .map_err(|e| failed("copying to the device", e))
    }

    /// The first `len` elements, once the lane has done all that it was asked for.
    pub fn download<X: Plain + Default>(&self, buffer: &Buffer<X>, len: usize) -> Result<Vec<X>> {
        self.download_part(buffer, 0, len)
    }

    /// The same for elements `first..first + len`.
    pub fn download_part<X: Plain + Default>(&self, buffer: &Buffer<X>, first: usize, len: usize) -> Result<Vec<X>> {
        assert!(first + len <= buffer.len, "{len} of {} elements from {first}", buffer.len);
        let mut values = vec![X::default(); len];
        if len > 0 {
            // SAFETY: that much of the memory belongs to the buffer, and `values` has room for it and stays here.
            unsafe { result::memcpy_dtoh_async(&mut values, buffer.at_element(first), self.stream.0) }
                .map_err(|e| failed("copying from the device (a kernel may have failed)", e))?;
        }
        self.wait()?;
        Ok(values)
    }

    /// Waits until all is done that this lane was asked for.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the stream was made and is never destroyed.
        unsafe { stream::synchronize(self.stream.0) }
            .map_err(|e| failed(&format!("running kernels on {}", self.device.name), e))?;
        self.staging.borrow_mut().used = 0;
        Ok(())
    }

    /// Asks for a kernel of one argument.
    ///
    /// # Safety
    /// `args` must be what the kernel takes, with addresses of memory of the sizes that the kernel will use.
    pub unsafe fn launch<A: Plain>(&self, kernel: &str, blocks: usize, threads: u32, args: &A) -> Result<()> {
        let function = self.device.kernel(kernel)?;
        let mut params = [std::ptr::from_ref(args).cast_mut().cast::<c_void>()];
        // SAFETY: the caller vouches for `args`, which the driver copies before it returns.
        unsafe {
            let (grid, block) = ((blocks as u32, 1, 1), (threads, 1, 1));
            result::launch_kernel(function, grid, block, 0, self.stream.0, &mut params)
        }
        .map_err(|e| failed(&format!("starting {kernel} on {}", self.device.name), e))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Where waiting fails the device is lost, which the call that met it has told.
        let _ = self.wait();
        let idle = Idle { stream: self.stream, staging: std::mem::take(self.staging.get_mut()) };
        self.device.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }
}

/// Host memory from which copies are on their way.
#[derive(Debug, Default)]
struct Staging {
    pinned: Option<Pinned>,
    plain: Vec<u64>,
    used: usize,
}

impl Staging {
    fn len(&self) -> usize {
        self.pinned.as_ref().map_or(8 * self.plain.len(), |pinned| pinned.len)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= self.len()
    }

    /// Room for `bytes`. Where there is not enough, nothing may be on its way from here.
    fn take(&mut self, bytes: usize) -> &mut [u8] {
        if !self.has_room(bytes) {
            let wanted = bytes.max(2 * self.len()).max(1 << 16).next_power_of_two();
            *self = Self::default();
            self.pinned = Pinned::new(wanted);
            if self.pinned.is_none() {
                self.plain = vec![0; wanted / 8];
            }
        }
        let at = self.used;
        self.used = (at + bytes).next_multiple_of(16);
        let all = self.pinned.as_ref().map_or(self.plain.as_mut_ptr().cast::<u8>(), |pinned| pinned.at);
        // SAFETY: `at + bytes` is at most `len()`, and the bytes of either memory are initialised.
        unsafe { std::slice::from_raw_parts_mut(all.add(at), bytes) }
    }
}

/// Page-locked memory, from which the device copies by itself.
#[derive(Debug)]
struct Pinned {
    at: *mut u8,
    len: usize,
}

// SAFETY: it is memory of this process, owned by this value alone.
unsafe impl Send for Pinned {}

impl Pinned {
    /// `None` where the driver gives none.
    fn new(len: usize) -> Option<Self> {
        // SAFETY: the memory is `len` bytes long; all of them are written here before any is read.
        unsafe {
            let at = result::malloc_host(len, 0).ok()?.cast::<u8>();
            at.write_bytes(0, len);
            Some(Self { at, len })
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: taken by `new`, given back once; no copy is on its way from it (`Staging::take`).
        let _ = unsafe { result::free_host(self.at.cast()) };
    }
}

/// Values that mean the same on host and device: any bytes of the right number may be copied there.
///
/// # Safety
/// The type must be `repr(C)` or primitive and hold neither references nor anything that must be dropped.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($t:ty),* $(,)?) => {
        // SAFETY: primitive.
        $(unsafe impl Plain for $t {})*
    };
}
plain!(f32, f64, i32, i64, u8, u32, u64);

/// Device memory, given back when dropped, in the order of the lane that it came from.
#[derive(Debug)]
pub struct Buffer<X> {
    at: u64,
    len: usize,
    device: Arc<Device>,
    stream: Stream,
    holds: PhantomData<X>,
}

impl<X> Buffer<X> {
    /// Its address on the device.
    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The address of element `k`.
    pub fn at_element(&self, k: usize) -> u64 {
        self.at + (k * size_of::<X>()) as u64
    }
}

impl<X> Drop for Buffer<X> {
    fn drop(&mut self) {
        if !self.device.is_ours() || self.device.enter().is_err() {
            return; // a forked process must leave it alone; a lost device has none
        }
        // SAFETY: taken by `alloc`, given back once, after all that its lane was asked for; other lanes that used it have
        // been waited for. An error here would be that of a device already lost, which the call that met it has told.
        unsafe {
            if self.device.pool.is_some() {
                let _ = result::free_async(self.at, self.stream.0);
            } else {
                let _ = stream::synchronize(self.stream.0);
                let _ = result::free_sync(self.at);
            }
        }
    }
}
