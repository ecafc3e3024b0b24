//! The driver: `libcuda` found at run time, devices opened.
//!
//! Everything goes through cudarc's thin layer over the driver API of CUDA 11.4. That layer panics where the library or one
//! of its functions is missing, so both are looked for here first.
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::lane::Idle;
use crate::error::{Error, Result};

/// The kernels, compiled by `make ptx`.
const PTX: &str = include_str!("evprop.ptx");

/// The oldest driver that takes this PTX, as `cuDriverGetVersion` counts: CUDA 12.0.
const OLDEST_DRIVER: i32 = 12_000;

/// The oldest compute capability that this PTX is for.
const OLDEST_DEVICE: i32 = 7;

/// Every function of the driver that is called here.
const FUNCTIONS: [&str; 27] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceGetDefaultMemPool",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuMemGetInfo_v2",
    "cuMemPoolGetAttribute",
    "cuMemPoolSetAttribute",
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemFree_v2",
    "cuMemFreeAsync",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuLaunchKernel",
    "cuGetErrorName",
];

/// Devices opened by this process.
static OPEN: Mutex<Vec<Arc<Device>>> = Mutex::new(Vec::new());

fn refuse<R>(why: impl Into<String>) -> Result<R> {
    Err(Error::Device(why.into()))
}

/// An error of the driver, by its name there.
pub fn failed(what: &str, error: DriverError) -> Error {
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

/// The driver found and started: its version, and how many devices it has.
fn start_driver() -> Result<(i32, usize)> {
    find_library()?;
    result::init().map_err(|e| match e.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => no_device(),
        _ => failed("starting CUDA", e),
    })?;
    let mut driver = 0;
    // SAFETY: the pointer is to a live integer.
    unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result().map_err(|e| failed("asking for its version", e))?;
    if driver < OLDEST_DRIVER {
        return refuse(format!(
            "the CUDA driver is for CUDA {}.{}, and evprop needs 12.0 or later (driver 525 or later): update NVIDIA's \
             driver, or use device=\"cpu\"",
            driver / 1000,
            driver % 1000 / 10
        ));
    }
    match result::device::get_count().map_err(|e| failed("counting devices", e))? {
        0 => Err(no_device()),
        count => Ok((driver, count as usize)),
    }
}

/// How many devices there are.
pub fn count() -> Result<usize> {
    Ok(start_driver()?.1)
}

/// A GPU with the kernels loaded.
#[derive(Debug)]
pub struct Device {
    ordinal: usize,
    process: u32,
    pub(super) name: String,
    capability: (i32, i32),
    driver: i32,
    context: sys::CUcontext,
    module: sys::CUmodule,
    pub(super) pool: Option<sys::CUmemoryPool>,
    /// Lanes that nobody uses.
    pub(super) idle: Mutex<Vec<Idle>>,
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
        if open.iter().any(|device| !device.is_ours()) {
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
        let (driver, count) = start_driver()?;
        if ordinal >= count {
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
        let (pool, idle) = (memory_pool(device)?, Mutex::default());
        Ok(Self { ordinal, process, name, capability, driver, context, module, pool, idle })
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

    /// Whether this process is the one that opened it, not a fork of that.
    pub fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Bytes that can still be had, and of all memory. The device must be entered.
    pub fn memory(&self) -> Result<(usize, usize)> {
        let (free, all) = result::mem_get_info().map_err(|e| failed("asking for its memory", e))?;
        let Some(pool) = self.pool else { return Ok((free, all)) };
        use sys::CUmemPool_attribute as Attribute;
        let told = |which: Attribute| {
            let mut bytes = 0u64;
            // SAFETY: the pool is the device's own, and these attributes are 64-bit numbers.
            unsafe { sys::cuMemPoolGetAttribute(pool, which, (&raw mut bytes).cast()) }
                .result()
                .map_err(|e| failed("asking for its memory", e))?;
            Ok(bytes as usize)
        };
        let held = told(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
        let used = told(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
        Ok((free + held.saturating_sub(used), all))
    }

    /// A kernel of the module.
    pub fn kernel(&self, name: &str) -> Result<sys::CUfunction> {
        let text = CString::new(name).map_err(|_| Error::Device(format!("'{name}' is no name")))?;
        // SAFETY: the module was loaded and is never unloaded.
        unsafe { result::module::get_function(self.module, text) }
            .map_err(|e| failed(&format!("finding {name} on {}", self.name), e))
    }
}

fn no_device() -> Error {
    Error::Device(
        "the CUDA driver sees no device: there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it. Use device=\"cpu\""
            .into(),
    )
}

/// The pool that memory comes from in the order of a stream; `None` where the driver has none. What is given back to it
/// stays with the process, for the next pass.
fn memory_pool(device: sys::CUdevice) -> Result<Option<sys::CUmemoryPool>> {
    use sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED as POOLS;
    // SAFETY: `device` is a handle that the driver gave.
    let has =
        unsafe { result::device::get_attribute(device, POOLS) }.map_err(|e| failed("asking what it can do", e))?;
    if has == 0 {
        return Ok(None);
    }
    let (mut pool, mut keep) = (std::ptr::null_mut(), u64::MAX);
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pointers are to live variables of the types that the driver asks for.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, device)
            .result()
            .and_then(|()| sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut keep).cast()).result())
    }
    .map_err(|e| failed("asking for its memory pool", e))?;
    Ok(Some(pool))
}
