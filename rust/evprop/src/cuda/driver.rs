//! The driver: `libcuda` found at run time, one device opened, memory and launches.
//!
//! Everything goes through cudarc's thin layer over the driver API of CUDA 11.4. That layer panics where the library or one
//! of its functions is missing, so both are looked for here first.
use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use crate::error::{Error, Result};

/// The kernels, compiled by `make ptx`.
const PTX: &str = include_str!("evprop.ptx");

/// The oldest driver that takes this PTX, as `cuDriverGetVersion` counts: CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// The oldest compute capability that this PTX is for.
const OLDEST_DEVICE: i32 = 7;

/// Every function of the driver that is called here.
const FUNCTIONS: [&str; 19] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyDtoH_v2",
    "cuMemsetD8_v2",
    "cuLaunchKernel",
    "cuGetErrorName",
];

/// Devices opened by this process.
static OPEN: Mutex<Vec<Arc<Device>>> = Mutex::new(Vec::new());

fn refuse<R>(why: impl Into<String>) -> Result<R> {
    Err(Error::Device(why.into()))
}

fn failed(what: &str, error: DriverError) -> Error {
    let name = error.error_name().map_or_else(|_| format!("{:?}", error.0), |n| n.to_string_lossy().into_owned());
    Error::Device(format!("{what}: the CUDA driver says {name}"))
}

/// The driver's library, with every function that is needed.
fn find_library() -> Result<()> {
    let names = cudarc::get_lib_name_candidates("cuda").into_iter().chain(cudarc::get_lib_name_candidates("nvcuda"));
    // SAFETY: opening the CUDA driver runs its initialisers, which is what a CUDA program does first of all.
    let Some(library) = names.into_iter().find_map(|name| unsafe { libloading::Library::new(name) }.ok()) else {
        return refuse(
            "no CUDA driver was found: libcuda.so.1 is not on this machine or not where the loader looks. Install \
             NVIDIA's driver, or use device=\"cpu\"",
        );
    };
    for name in FUNCTIONS {
        // SAFETY: the address is only looked for, not used.
        if unsafe { library.get::<*const c_void>(name.as_bytes()) }.is_err() {
            return refuse(format!(
                "the CUDA driver found lacks the function {name}: it is too old, or not NVIDIA's. Install a driver for \
                 CUDA 12.0 or later, or use device=\"cpu\""
            ));
        }
    }
    // cudarc opens it again; it must not be unloaded in between.
    std::mem::forget(library);
    Ok(())
}

/// A GPU with the kernels loaded.
#[derive(Debug)]
pub struct Device {
    ordinal: usize,
    process: u32,
    name: String,
    capability: (i32, i32),
    driver: i32,
    context: sys::CUcontext,
    module: sys::CUmodule,
}

// SAFETY: contexts and modules of the driver may be used from any thread that has made the context current, which `enter`
// does; they live as long as the process.
unsafe impl Send for Device {}
// SAFETY: as above; the driver locks what it must.
unsafe impl Sync for Device {}

impl Device {
    /// Opens device number `ordinal`, or says why not.
    pub fn open(ordinal: usize) -> Result<Arc<Self>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if open.iter().any(|device| device.process != process) {
            return refuse(
                "this process was forked from one that had opened the GPU, and CUDA does not survive a fork: start it \
                 with the 'spawn' method, or open the GPU only after forking",
            );
        }
        if let Some(device) = open.iter().find(|device| device.ordinal == ordinal) {
            return Ok(device.clone());
        }
        let device = Arc::new(Self::start(ordinal, process)?);
        open.push(device.clone());
        Ok(device)
    }

    fn start(ordinal: usize, process: u32) -> Result<Self> {
        find_library()?;
        result::init().map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_NO_DEVICE => no_device(),
            _ => failed("starting CUDA", e),
        })?;
        let mut driver = 0;
        // SAFETY: the pointer is to a live integer.
        unsafe { sys::cuDriverGetVersion(&raw mut driver) }
            .result()
            .map_err(|e| failed("asking for its version", e))?;
        if driver < OLDEST_DRIVER {
            return refuse(format!(
                "the CUDA driver is for CUDA {}.{}, and evprop needs 12.0 or later (driver 525 or later): update NVIDIA's \
                 driver, or use device=\"cpu\"",
                driver / 1000,
                driver % 1000 / 10
            ));
        }
        let count = result::device::get_count().map_err(|e| failed("counting devices", e))?;
        if count == 0 {
            return Err(no_device());
        }
        if ordinal >= count as usize {
            return refuse(format!(
                "there is no CUDA device {ordinal}: this machine has {count}, numbered from 0 (\"cuda:0\")"
            ));
        }
        let device = result::device::get(ordinal as i32).map_err(|e| failed("opening the device", e))?;
        let name = result::device::get_name(device).map_err(|e| failed("asking for its name", e))?;
        let attribute = |which| {
            // SAFETY: `device` is a handle that the driver gave.
            unsafe { result::device::get_attribute(device, which) }.map_err(|e| failed("asking what it can do", e))
        };
        use sys::CUdevice_attribute_enum as Attribute;
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if capability.0 < OLDEST_DEVICE {
            return refuse(format!(
                "{name} has compute capability {}.{}, and evprop needs 7.0 or later (Volta, 2017): use device=\"cpu\"",
                capability.0, capability.1
            ));
        }
        // SAFETY: `device` is a handle that the driver gave.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(|e| failed("making a context", e))?;
        // SAFETY: the context was just made.
        unsafe { result::ctx::set_current(context) }.map_err(|e| failed("entering the context", e))?;
        let ptx = CString::new(PTX).map_err(|_| Error::Device("the PTX holds a zero byte".into()))?;
        // SAFETY: the image is a string that ends with a zero byte.
        let module = unsafe { result::module::load_data(ptx.as_ptr().cast()) }
            .map_err(|e| failed("compiling the kernels (try a newer driver)", e))?;
        Ok(Self { ordinal, process, name, capability, driver, context, module })
    }

    /// Its name, for people.
    pub fn describe(&self) -> String {
        let (major, minor) = self.capability;
        let (driver, patch) = (self.driver / 1000, self.driver % 1000 / 10);
        format!("{}, compute capability {major}.{minor}, driver for CUDA {driver}.{patch}", self.name)
    }

    /// Makes this the device that the calling thread works with.
    pub fn enter(&self) -> Result<()> {
        // SAFETY: the context lives as long as the process.
        unsafe { result::ctx::set_current(self.context) }.map_err(|e| failed("entering the context", e))
    }

    /// Bytes of free and of all memory.
    pub fn memory(&self) -> Result<(usize, usize)> {
        result::mem_get_info().map_err(|e| failed("asking for its memory", e))
    }

    /// Memory that holds anything.
    pub fn alloc<X: Plain>(&self, len: usize) -> Result<Buffer<X>> {
        let bytes = len.saturating_mul(size_of::<X>()).max(1);
        // SAFETY: what is read of it was written before (`upload`, `zeros`, or a kernel).
        let at = unsafe { result::malloc_sync(bytes) }.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, all) = self.memory().unwrap_or_default();
                Error::Device(format!(
                    "{}: out of memory: {bytes} bytes are needed at once, {free} of {all} are free. Use a smaller batch, \
                     float32, or device=\"cpu\"",
                    self.name
                ))
            }
            _ => failed("taking memory", e),
        })?;
        Ok(Buffer { at, len, holds: PhantomData })
    }

    /// Memory full of zero bytes.
    pub fn zeros<X: Plain>(&self, len: usize) -> Result<Buffer<X>> {
        let buffer = self.alloc(len)?;
        // SAFETY: the memory is `len` elements long.
        unsafe { result::memset_d8_sync(buffer.at, 0, len * size_of::<X>()) }
            .map_err(|e| failed("clearing memory", e))?;
        Ok(buffer)
    }

    /// A copy in the device's memory.
    pub fn upload<X: Plain>(&self, values: &[X]) -> Result<Buffer<X>> {
        let buffer = self.alloc(values.len())?;
        if !values.is_empty() {
            // SAFETY: the memory is as long as `values`, which hold no padding that matters.
            unsafe { result::memcpy_htod_sync(buffer.at, values) }.map_err(|e| failed("copying to the device", e))?;
        }
        Ok(buffer)
    }

    /// The first `len` elements.
    pub fn download<X: Plain + Default>(&self, buffer: &Buffer<X>, len: usize) -> Result<Vec<X>> {
        self.download_part(buffer, 0, len)
    }

    /// Elements `first..first + len`.
    pub fn download_part<X: Plain + Default>(&self, buffer: &Buffer<X>, first: usize, len: usize) -> Result<Vec<X>> {
        assert!(first + len <= buffer.len, "{len} of {} elements from {first}", buffer.len);
        let mut values = vec![X::default(); len];
        if len > 0 {
            let at = buffer.at + (first * size_of::<X>()) as u64;
            // SAFETY: that much of the memory belongs to the buffer, and `values` has room for it.
            unsafe { result::memcpy_dtoh_sync(&mut values, at) }
                .map_err(|e| failed("copying from the device (a kernel may have failed)", e))?;
        }
        Ok(values)
    }

    /// Runs a kernel of one argument and waits for its end.
    ///
    /// # Safety
    /// `args` must be what the kernel takes, with addresses of memory of the sizes that the kernel will use.
    pub unsafe fn launch<A: Plain>(&self, kernel: &str, blocks: u32, threads: u32, args: &A) -> Result<()> {
        let what = |doing: &str| format!("{doing} {kernel} on {}", self.name);
        let name = CString::new(kernel).map_err(|_| Error::Device(format!("'{kernel}' is no name")))?;
        // SAFETY: the module was loaded and is never unloaded.
        let function =
            unsafe { result::module::get_function(self.module, name) }.map_err(|e| failed(&what("finding"), e))?;
        let mut params = [std::ptr::from_ref(args).cast_mut().cast::<c_void>()];
        // SAFETY: the caller vouches for `args`, which the driver copies before it returns.
        unsafe {
            let (grid, block) = ((blocks, 1, 1), (threads, 1, 1));
            result::launch_kernel(function, grid, block, 0, std::ptr::null_mut(), &mut params)
        }
        .map_err(|e| failed(&what("starting"), e))?;
        result::ctx::synchronize().map_err(|e| failed(&what("running"), e))
    }
}

fn no_device() -> Error {
    Error::Device(
        "the CUDA driver sees no device: there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it. Use device=\"cpu\""
            .into(),
    )
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

/// Device memory, given back when dropped. The device must be entered.
#[derive(Debug)]
pub struct Buffer<X> {
    at: u64,
    len: usize,
    holds: PhantomData<X>,
}

impl<X> Buffer<X> {
    /// Its address on the device.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The address of element `k`.
    pub fn at_element(&self, k: usize) -> u64 {
        self.at + (k * size_of::<X>()) as u64
    }
}

impl<X> Drop for Buffer<X> {
    fn drop(&mut self) {
        // SAFETY: the memory was taken by `alloc` and is given back once; no kernel runs any more (`launch` waits). An error
        // here would be that of a device already lost, which the call that met it has told.
        let _ = unsafe { result::free_sync(self.at) };
    }
}
