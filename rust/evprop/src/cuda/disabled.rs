//! The face of this module in a build without the feature `cuda`.
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Bound, Health, Sizes};
use crate::adjoint::{Gradients, Request};
use crate::error::{Error, Result};
use crate::math::Real;
use crate::network::{Network, Params};
use crate::optim::Rule;
use crate::parallel::CancelFlag;
use crate::record::{PopulationRecord, ReadoutRequest, ReadoutValues, Record};
use crate::simulate::Settings;
use crate::spikes::SpikeBatch;

/// A number type of the kernels.
pub trait Number: Real {}
impl Number for f32 {}
impl Number for f64 {}

fn refuse<R>() -> Result<R> {
    Err(Error::Device("this build of evprop has no CUDA support (the feature 'cuda' of its core is off)".into()))
}

/// Says that this build has no CUDA.
pub fn count() -> Result<usize> {
    refuse()
}

/// A GPU: there is none in this build.
#[derive(Debug)]
pub enum Device {}

impl Device {
    /// Says that this build has no CUDA.
    pub fn open(_ordinal: usize) -> Result<Arc<Self>> {
        refuse()
    }

    /// Its name, for people.
    pub fn describe(&self) -> String {
        match *self {}
    }
}

/// A record in the memory of a GPU: there is none in this build.
#[derive(Debug)]
pub struct Resident<T> {
    never: Infallible,
    of: PhantomData<T>,
}

impl<T: Number> Resident<T> {
    /// Number of samples.
    pub fn batch(&self) -> usize {
        match self.never {}
    }

    /// Trial length, ms.
    pub fn duration(&self) -> f64 {
        match self.never {}
    }

    /// What was read.
    pub fn requests(&self) -> &[ReadoutRequest] {
        match self.never {}
    }

    /// Number of populations.
    pub fn n_populations(&self) -> usize {
        match self.never {}
    }

    /// The spikes of a population that the network emitted; others have none here.
    pub fn population(&self, _p: usize) -> Result<PopulationRecord<T>> {
        match self.never {}
    }

    /// The values of readout `k`.
    pub fn readout(&self, _k: usize) -> Result<ReadoutValues<T>> {
        match self.never {}
    }

    /// All of it.
    pub fn fetch(&self) -> Result<Record<T>> {
        match self.never {}
    }
}

/// The exact simulator on a GPU.
#[allow(clippy::too_many_arguments)]
pub fn simulate<T: Number>(
    _cancel: &CancelFlag,
    device: &Arc<Device>,
    _network: &Network,
    _params: &Params<'_, T>,
    _inputs: &[SpikeBatch<'_>],
    _requests: &[ReadoutRequest],
    _settings: &Settings,
    _sizes: &Sizes,
) -> Result<Resident<T>> {
    match **device {}
}

/// The adjoint on a GPU.
pub fn backward<T: Number>(
    _cancel: &CancelFlag,
    _network: &Network,
    record: &Resident<T>,
    _request: &Request<'_>,
    _sizes: &Sizes,
) -> Result<(Gradients<T>, Vec<Vec<f64>>)> {
    match record.never {}
}

/// Parameters that stay on a GPU: there is none in this build.
#[derive(Debug)]
pub struct Training<T> {
    never: Infallible,
    of: PhantomData<T>,
}

impl<T: Number> Training<T> {
    /// With moments as long as all parameters in `wrt` together.
    pub fn new(
        device: &Arc<Device>,
        _network: &Network,
        _params: &Params<'_, T>,
        _wrt: &[bool],
        _moments: &[&[T]],
    ) -> Result<Self> {
        match **device {}
    }

    /// A forward pass.
    pub fn simulate(
        &self,
        _cancel: &CancelFlag,
        _network: &Network,
        _inputs: &[SpikeBatch<'_>],
        _requests: &[ReadoutRequest],
        _settings: &Settings,
    ) -> Result<Resident<T>> {
        match self.never {}
    }

    /// Takes the gradients of a batch.
    pub fn take_gradient(
        &mut self,
        _cancel: &CancelFlag,
        _network: &Network,
        _record: &Resident<T>,
        _request: &Request<'_>,
    ) -> Result<Health> {
        match self.never {}
    }

    /// Adds to the gradient of a slot.
    pub fn add_gradient(&self, _slot: usize, _more: &[T]) -> Result<()> {
        match self.never {}
    }

    /// The gradient.
    pub fn gradient(&self) -> Result<Vec<T>> {
        match self.never {}
    }

    /// Its norm.
    pub fn norm(&self) -> Result<f64> {
        match self.never {}
    }

    /// One step.
    pub fn step(
        &mut self,
        _network: &Network,
        _rule: Rule,
        _scale: f64,
        _rates: &[(f64, f64)],
        _bounds: &[Bound],
    ) -> Result<()> {
        match self.never {}
    }

    /// The values of a parameter slot.
    pub fn parameter(&self, _slot: usize) -> Result<Vec<T>> {
        match self.never {}
    }

    /// A moment.
    pub fn moment(&self, _k: usize) -> Result<Vec<T>> {
        match self.never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_that_it_is_off() {
        let told =
            [Device::open(0).map(drop), count().map(drop)].map(|r| r.expect_err("there is no device").to_string());
        assert!(told.iter().all(|message| message.contains("no CUDA support")), "{told:?}");
    }
}
