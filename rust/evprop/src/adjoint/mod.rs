//! The exact adjoint: a record and cotangents in, gradients out.
//!
//! lambda_v = dL/dV(t), lambda_i = dL/dI(t). Backwards over a span `d`:
//!
//! ```text
//! lambda_v(t) = lambda_v(t+d) E_m          lambda_i(t) = lambda_i(t+d) E_s + lambda_v(t+d) kappa(d)
//! ```
//!
//! At spike `k`, with `Vdot- = (I + i_bias - v_th)/tau_mem` and `Vdot+` at the release:
//!
//! ```text
//! T_k = dl/dt_k + sum over its arrivals of dL/ds - Vdot+ lambda_v+        lambda_v- = -T_k / Vdot-
//! ```
//!
//! (Wunderlich & Pehle 2021, whose lambda are -1/tau_mem and -1/tau_syn times these; delays: Meszaros, Knight &
//! Nowotny 2025; Goeltz et al. 2025.) The adjoint knows only the record, never which simulator made it.
pub mod abreast;
pub mod constants;
pub mod drop_large;
pub mod gradients;
pub mod lean;
pub mod linear;
pub mod nodes;
pub mod row;
pub mod sources;
pub mod sweep;
pub mod windows;

pub use gradients::Gradients;

use crate::error::{Error, Result};
use crate::math::{Real, Simd};
use crate::network::{Kind, Network, Params};
use crate::parallel::{self, CancelFlag};
use crate::record::sample::check_inputs;
use crate::record::{Peak, Readout, ReadoutRequest, Record};
use crate::spikes::SpikeBatch;
use sources::{Jump, Kink, Source, VoltageCotangents};
use sweep::{Shared, Sweep};

/// What is asked of the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `dL/dt` of every recorded spike, by population (`None`: zero).
    pub spike_times: &'a [Option<&'a [f64]>],
    /// `dL/dy` of every readout, laid out like its values (`None`: zero).
    pub readouts: &'a [Option<&'a [f64]>],
    /// Which parameter slots.
    pub wrt: &'a [bool],
    /// Whether `dL/dt` of input spikes is wanted.
    pub input_times: bool,
    /// Factor on all gradients.
    pub scale: f64,
    /// Drop a sample's weight gradient of a neuron where one entry is larger in size (DelGrad's `max_dw_norm`).
    pub max_dw_norm: Option<f64>,
    /// Raise smaller `Vdot-` to this (only for spikes that were not nominal crossings).
    pub min_vdot: Option<f64>,
}

impl Request<'_> {
    /// Whether anyone asks when the spikes that projection `q` carries set out.
    pub(crate) fn asks_when(&self, network: &Network, q: usize) -> bool {
        self.input_times || network.populations()[network.projections()[q].pre].kind != Kind::Input
    }
}

/// The cotangents of one readout of one population in one sample.
struct Sources<'a> {
    readout: &'a Readout,
    given: &'a [f64],
    peaks: &'a [Peak],
    duration: f64,
}

impl Sources<'_> {
    fn sort(&self, n: usize, out: &mut VoltageCotangents) {
        match self.readout {
            Readout::Final => self.jumps(n, &[self.duration], out),
            Readout::Sampled(times) => self.jumps(n, times, out),
            Readout::Max => {
                for (neuron, (&g, &Peak { time, slope })) in self.given.iter().zip(self.peaks).enumerate() {
                    if slope != 0.0 && g != 0.0 {
                        out.kinks.push(Kink { time, neuron, g: g * slope });
                    }
                    if time.is_nan() {
                        out.thresholds.push((neuron, g));
                    } else if g != 0.0 {
                        out.jumps.push(Jump { time, neuron, g });
                    }
                }
            }
            integral => {
                if let Some((weighting, scale)) = integral.weighting(self.duration) {
                    let g = self.given.iter().map(|g| g * scale).collect();
                    out.sources.push(Source { weighting, g });
                }
            }
        }
    }

    fn jumps(&self, n: usize, times: &[f64], out: &mut VoltageCotangents) {
        for (&time, given) in times.iter().zip(self.given.chunks(n)) {
            let looks = given.iter().enumerate().filter(|(_, g)| **g != 0.0);
            out.jumps.extend(looks.map(|(neuron, &g)| Jump { time, neuron, g }));
        }
    }
}

/// What a chunk of samples adds.
struct Part<T> {
    gradients: Gradients<T>,
    input_times: Vec<Vec<f64>>,
}

impl<T: Real> Part<T> {
    /// Adds another part and empties it.
    fn take(&mut self, other: &mut Self) {
        self.gradients.take(&mut other.gradients);
        for (all, part) in self.input_times.iter_mut().zip(&mut other.input_times) {
            all.append(part);
        }
    }
}

/// Gradients of a batch and `dL/dt` of its input spikes (one vector an input population, in the order of its spikes).
#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    cancel: &CancelFlag,
    simd: Simd,
    network: &Network,
    params: &Params<'_, T>,
    inputs: &[SpikeBatch<'_>],
    record: &Record<T>,
    request: &Request<'_>,
) -> Result<(Gradients<T>, Vec<Vec<f64>>)> {
    check(network, inputs, record, request)?;
    let constants = params.all_constants(network);
    let n_inputs = if request.input_times { inputs.len() } else { 0 };
    let windows = |c| windows::Plan::new(simd, network, params, &constants, c, record, request);
    let windows: Vec<_> = network.components().iter().map(windows).collect();
    let shared =
        Shared { windows: &windows, network, params, constants: &constants, inputs, record, request, simd, cancel };
    let zeros = || {
        let mut gradients = Gradients::zeros(network, request.wrt);
        windows.iter().flatten().for_each(|plan| plan.make_room(network, &mut gradients));
        Part { gradients, input_times: vec![Vec::new(); n_inputs] }
    };
    let mut total = zeros();
    parallel::fold_chunks(
        record.batch,
        cancel,
        || (Sweep::new(shared), zeros()),
        |(sweep, part), range| {
            for b in range {
                sweep.sample(b, &mut part.gradients, &mut part.input_times)?;
            }
            Ok(())
        },
        &mut total,
        |total, (_, part)| total.take(part),
    )?;
    let Part { mut gradients, mut input_times } = total;
    for plan in windows.iter().flatten() {
        plan.settle(simd, network, params, request.wrt, &mut gradients);
    }
    gradients.finish(network, request.scale);
    for t in input_times.iter_mut().flatten() {
        *t *= request.scale;
    }
    Ok((gradients, input_times))
}

/// Refuses inputs and cotangents that do not fit the record.
pub fn check<T: Real>(
    network: &Network,
    inputs: &[SpikeBatch<'_>],
    record: &Record<T>,
    request: &Request<'_>,
) -> Result<()> {
    let batch = check_inputs(network, inputs, record.duration)?;
    if batch != record.batch {
        return Err(Error::Argument(format!("the record has {} samples, the inputs {batch}", record.batch)));
    }
    let spikes = |p: usize| record.populations[p].times.len();
    check_cotangents(network, record.batch, &record.requests, spikes, request)
}

/// Refuses cotangents that do not fit a record of `batch` samples with `spikes` of each population.
pub fn check_cotangents(
    network: &Network,
    batch: usize,
    requests: &[ReadoutRequest],
    spikes: impl Fn(usize) -> usize,
    request: &Request<'_>,
) -> Result<()> {
    for (p, population) in network.populations().iter().enumerate() {
        if let Some(given) = request.spike_times[p] {
            let n = spikes(p);
            if population.kind == Kind::Input || given.len() != n {
                return Err(Error::Argument(format!(
                    "spike-time cotangents of '{}': {} given for {n} recorded spikes",
                    population.name,
                    given.len()
                )));
            }
            if let Some(k) = given.iter().position(|g| !g.is_finite()) {
                return Err(Error::Argument(format!(
                    "spike-time cotangent {k} of '{}' is {}; cotangents must be finite",
                    population.name, given[k]
                )));
            }
        }
    }
    for (asked, given) in requests.iter().zip(request.readouts) {
        if let Some(given) = given {
            let population = &network.populations()[asked.population];
            let (name, n) = (&population.name, batch * population.size * asked.readout.width());
            if given.len() != n {
                return Err(Error::Argument(format!(
                    "readout cotangents of '{name}': {} given for {n} values",
                    given.len()
                )));
            }
            if let Some(k) = given.iter().position(|g| !g.is_finite()) {
                return Err(Error::Argument(format!(
                    "readout cotangent {k} of '{name}' is {}; cotangents must be finite",
                    given[k]
                )));
            }
        }
    }
    Ok(())
}
