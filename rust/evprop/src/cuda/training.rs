//! Parameters and an optimiser's moments that stay in the device's memory: a training step without either on the host.
//!
//! ```text
//! record = simulate(...)     loss on the host     gradient(record, cotangents)     step(rule)
//! ```
//!
//! The formulas are those of `python/evprop/optim`, operation by operation, so a step has the bits of the optimiser there
//! on the gradients of [`super::backward()`]; only the gradient's norm, and so a step that it clips, is summed in another order.
use std::sync::Arc;

use super::backward::{Asked, gradients};
use super::driver::Device;
use super::forward::play;
use super::lane::{Buffer, Lane, Plain};
use super::resident::Resident;
use super::tables::{Loaded, Number};
use super::{Bound, Health, Sizes};
use crate::adjoint::Request;
use crate::error::{Error, Result};
use crate::network::{Network, Params};
use crate::optim::Rule;
use crate::parallel::CancelFlag;
use crate::projection::{Connectivity, DelayKind};
use crate::record::ReadoutRequest;
use crate::simulate::Settings;
use crate::spikes::SpikeBatch;

/// Most blocks of a launch over parameters.
const MOST_BLOCKS: usize = 128;

/// Blocks of 256 threads for `n` parameters, which the order of the norm's sum depends on.
fn blocks(n: usize) -> usize {
    n.div_ceil(256).clamp(1, MOST_BLOCKS)
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Trained<T> {
    values: u64,
    start: i64,
    n: i64,
    stride: i64,
    rate: T,
    decay: T,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct StepArgs<T> {
    arrays: u64,
    n_arrays: i64,
    gradient: u64,
    first: u64,
    second: u64,
    rule: i64,
    scale: T,
    momentum: T,
    b1: T,
    rest1: T,
    unbias1: T,
    b2: T,
    rest2: T,
    unbias2: T,
    eps: T,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct NormArgs {
    gradient: u64,
    n: i64,
    sums: u64,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct BoundArgs<T> {
    values: u64,
    other: u64,
    n: i64,
    from_above: i64,
    limit: T,
}

// SAFETY: repr(C), numbers alone.
unsafe impl<T: Plain> Plain for Trained<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Plain for StepArgs<T> {}
// SAFETY: as above.
unsafe impl Plain for NormArgs {}
// SAFETY: as above.
unsafe impl<T: Plain> Plain for BoundArgs<T> {}

/// A network's parameters, and an optimiser's moments, on a device.
#[derive(Debug)]
pub struct Training<T> {
    device: Arc<Device>,
    loaded: Arc<Loaded<T>>,
    wrt: Vec<bool>,
    asked: Asked,
    moments: Vec<Buffer<T>>,
    gradient: Option<Buffer<T>>,
}

impl<T: Number> Training<T> {
    /// With moments (at most two) as long as all parameters in `wrt` together, in the order of the layout.
    pub fn new(
        device: &Arc<Device>,
        network: &Network,
        params: &Params<'_, T>,
        wrt: &[bool],
        moments: &[&[T]],
    ) -> Result<Self> {
        let asked = Asked::new(network, wrt);
        if moments.len() > 2 || moments.iter().any(|moment| moment.len() != asked.n_places) {
            return Err(Error::Argument(format!("moments need {} numbers each, and are two at most", asked.n_places)));
        }
        let lane = &Lane::new(device)?;
        let loaded = Arc::new(Loaded::new(lane, network, params)?);
        let moments = moments.iter().map(|moment| lane.upload(moment)).collect::<Result<_>>()?;
        lane.wait()?;
        Ok(Self { device: device.clone(), loaded, wrt: wrt.to_vec(), asked, moments, gradient: None })
    }

    /// A forward pass with the parameters as they are.
    pub fn simulate(
        &self,
        cancel: &CancelFlag,
        network: &Network,
        inputs: &[SpikeBatch<'_>],
        requests: &[ReadoutRequest],
        settings: &Settings,
    ) -> Result<Resident<T>> {
        self.check(network)?;
        play(cancel, &self.device, network, &self.loaded, inputs, requests, settings, &Sizes::default())
    }

    fn check(&self, network: &Network) -> Result<()> {
        match self.loaded.fits(network) {
            true => Ok(()),
            false => Err(Error::Argument("these parameters on the GPU belong to another network".into())),
        }
    }

    /// Takes the gradients of a batch, for the next step; `request.wrt` is not looked at.
    pub fn take_gradient(
        &mut self,
        cancel: &CancelFlag,
        network: &Network,
        record: &Resident<T>,
        request: &Request<'_>,
    ) -> Result<Health> {
        self.check(network)?;
        if !Arc::ptr_eq(&record.loaded, &self.loaded) {
            return Err(Error::Argument("the record was made with other parameters than these".into()));
        }
        let lane = &Lane::new(&self.device)?;
        let (gradient, health) = gradients(cancel, lane, network, record, request, &self.asked)?;
        let arrays = lane.upload(&self.arrays(network, |_| (0.0, 0.0)))?;
        let args = StepArgs { scale: T::of(request.scale), ..self.args(&arrays, gradient.at()) };
        // SAFETY: the tables hold addresses of live buffers, of the sizes that they tell.
        unsafe { lane.launch(&format!("evprop_finish_{}", T::KERNELS), self.blocks(), 256, &args)? };
        lane.wait()?;
        self.gradient = Some(gradient);
        Ok(health)
    }

    fn blocks(&self) -> usize {
        blocks(self.asked.n_places)
    }

    fn taken(&self) -> Result<&Buffer<T>> {
        self.gradient.as_ref().ok_or_else(|| Error::Argument("no gradient was taken for this step".into()))
    }

    /// Adds to the gradient of a slot.
    pub fn add_gradient(&self, slot: usize, more: &[T]) -> Result<()> {
        let lane = Lane::new(&self.device)?;
        let add = |values: &mut [T]| values.iter_mut().zip(more).for_each(|(a, &b)| *a += b);
        self.asked.change(&lane, self.taken()?, (slot, more.len()), add)
    }

    /// The gradient, slot after slot.
    pub fn gradient(&self) -> Result<Vec<T>> {
        Lane::new(&self.device)?.download(self.taken()?, self.asked.n_places)
    }

    /// The Euclidean norm of the gradient.
    pub fn norm(&self) -> Result<f64> {
        let lane = &Lane::new(&self.device)?;
        let sums = lane.alloc::<f64>(self.blocks())?;
        let args = NormArgs { gradient: self.taken()?.at(), n: self.asked.n_places as i64, sums: sums.at() };
        // SAFETY: as above.
        unsafe { lane.launch(&format!("evprop_norm_{}", T::KERNELS), self.blocks(), 256, &args)? };
        Ok(lane.download(&sums, self.blocks())?.into_iter().sum::<f64>().sqrt())
    }

    /// One step downhill along the gradient times `scale`; `rates` are learning rate and weight decay by slot.
    pub fn step(
        &mut self,
        network: &Network,
        rule: Rule,
        scale: f64,
        rates: &[(f64, f64)],
        bounds: &[Bound],
    ) -> Result<()> {
        self.check(network)?;
        let needed = rule.n_moments();
        if self.moments.len() != needed || rates.len() != self.wrt.len() {
            return Err(Error::Argument(format!("{rule:?} needs {needed} moments, and rates for every parameter")));
        }
        let lane = &Lane::new(&self.device)?;
        let arrays = lane.upload(&self.arrays(network, |slot| rates[slot]))?;
        let args = self.args(&arrays, self.taken()?.at()).with(rule, scale);
        // SAFETY: as above.
        unsafe { lane.launch(&format!("evprop_step_{}", T::KERNELS), self.blocks(), 256, &args)? };
        for bound in bounds {
            let (values, other) = (&self.loaded.values[bound.slot], bound.other.map(|k| &self.loaded.values[k]));
            if other.is_some_and(|other| other.len() != values.len()) {
                return Err(Error::Argument("a bound needs as many values as there are parameters".into()));
            }
            let args = BoundArgs {
                values: values.at(),
                other: other.map_or(0, Buffer::at),
                n: values.len() as i64,
                from_above: i64::from(bound.from_above),
                limit: T::of(bound.limit),
            };
            // SAFETY: as above.
            unsafe { lane.launch(&format!("evprop_bound_{}", T::KERNELS), blocks(values.len()), 256, &args)? };
        }
        self.loaded.follow(lane, network, &self.wrt)?;
        lane.wait()?; // the gradient is another lane's
        self.gradient = None;
        Ok(())
    }

    /// The values of a parameter slot.
    pub fn parameter(&self, slot: usize) -> Result<Vec<T>> {
        let values = &self.loaded.values[slot];
        Lane::new(&self.device)?.download(values, values.len())
    }

    /// A moment, slot after slot.
    pub fn moment(&self, k: usize) -> Result<Vec<T>> {
        Lane::new(&self.device)?.download(&self.moments[k], self.asked.n_places)
    }

    fn arrays(&self, network: &Network, rates: impl Fn(usize) -> (f64, f64)) -> Vec<Trained<T>> {
        let one = |slot: usize| {
            let (rate, decay) = rates(slot);
            let (values, n) = (self.loaded.values[slot].at(), self.loaded.values[slot].len() as i64);
            let (start, stride) = (self.asked.place[slot], stride(network, slot));
            Trained { values, start, n, stride, rate: T::of(rate), decay: T::of(decay) }
        };
        (0..self.wrt.len()).filter(|&slot| self.wrt[slot]).map(one).collect()
    }

    fn args(&self, arrays: &Buffer<Trained<T>>, gradient: u64) -> StepArgs<T> {
        let moment = |k: usize| self.moments.get(k).map_or(0, Buffer::at);
        StepArgs {
            arrays: arrays.at(),
            n_arrays: arrays.len() as i64,
            gradient,
            first: moment(0),
            second: moment(1),
            rule: 0,
            scale: T::ONE,
            momentum: T::ZERO,
            b1: T::ZERO,
            rest1: T::ZERO,
            unbias1: T::ZERO,
            b2: T::ZERO,
            rest2: T::ZERO,
            unbias2: T::ZERO,
            eps: T::ZERO,
        }
    }
}

impl<T: Number> StepArgs<T> {
    fn with(self, rule: Rule, scale: f64) -> Self {
        let scaled = Self { scale: T::of(scale), ..self };
        match rule {
            Rule::Sgd { momentum, nesterov } => {
                let rule = if momentum == 0.0 { 0 } else { 1 + i64::from(nesterov) };
                Self { rule, momentum: T::of(momentum), ..scaled }
            }
            Rule::Adam { betas: (b1, b2), unbias, eps } => Self {
                rule: 3,
                b1: T::of(b1),
                rest1: T::of(1.0 - b1),
                unbias1: T::of(unbias.0),
                b2: T::of(b2),
                rest2: T::of(1.0 - b2),
                unbias2: T::of(unbias.1),
                eps: T::of(eps),
                ..scaled
            },
        }
    }
}

/// How far apart the entries of a slot lie that are no synapses: the diagonal without self-connections. 0: there are none.
fn stride(network: &Network, slot: usize) -> i64 {
    let own = |q: &usize| {
        let full = network.projections()[*q].delay == DelayKind::Synaptic;
        network.weight_slot(*q) == slot || (full && network.delay_slot(*q) == Some(slot))
    };
    let Some(q) = (0..network.projections().len()).find(own) else { return 0 };
    let projection = &network.projections()[q];
    let dense = projection.connectivity == Connectivity::Dense;
    if projection.self_connections || projection.pre != projection.post || !dense {
        return 0;
    }
    network.populations()[projection.pre].size as i64 + 1
}
