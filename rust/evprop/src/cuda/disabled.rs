//! The face of this module in a build without the feature `cuda`.
use std::sync::Arc;

use super::Sizes;
use crate::adjoint::{Gradients, Request};
use crate::error::{Error, Result};
use crate::math::Real;
use crate::network::{Network, Params};
use crate::parallel::CancelFlag;
use crate::record::{ReadoutRequest, Record};
use crate::simulate::Settings;
use crate::spikes::SpikeBatch;

/// A number type of the kernels.
pub trait Number: Real {}
impl Number for f32 {}
impl Number for f64 {}

/// A GPU: there is none in this build.
#[derive(Debug)]
pub enum Device {}

impl Device {
    /// Says that this build has no CUDA.
    pub fn open(_ordinal: usize) -> Result<Arc<Self>> {
        Err(Error::Device("this build of evprop has no CUDA support (the feature 'cuda' of its core is off)".into()))
    }

    /// Its name, for people.
    pub fn describe(&self) -> String {
        match *self {}
    }
}

/// The exact simulator on a GPU.
#[allow(clippy::too_many_arguments)]
pub fn simulate<T: Number>(
    _cancel: &CancelFlag,
    device: &Device,
    _network: &Network,
    _params: &Params<'_, T>,
    _inputs: &[SpikeBatch<'_>],
    _requests: &[ReadoutRequest],
    _settings: &Settings,
    _sizes: &Sizes,
) -> Result<Record<T>> {
    match *device {}
}

/// The adjoint on a GPU.
#[allow(clippy::too_many_arguments)]
pub fn backward<T: Number>(
    _cancel: &CancelFlag,
    device: &Device,
    _network: &Network,
    _params: &Params<'_, T>,
    _inputs: &[SpikeBatch<'_>],
    _record: &Record<T>,
    _request: &Request<'_>,
    _sizes: &Sizes,
) -> Result<(Gradients<T>, Vec<Vec<f64>>)> {
    match *device {}
}
