//! Weights of integrals of V, laid out like `kernels/weighting.cuh`.
use crate::math::Real;
use crate::neuron::Constants;
use crate::neuron::reach::Weighting;
use crate::record::Readout;

/// A weight as the kernels take it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Weight {
    shape: i32,
    unused: i32,
    rate: f64,
    centre: f64,
    width: f64,
}

impl Weight {
    const LINEAR: i32 = 1;
    const SIGMOID: i32 = 2;

    /// The weight of an integral and the factor on it; `None` of a readout that integrates nothing.
    pub fn of(readout: &Readout, duration: f64) -> Option<(Self, f64)> {
        let (weighting, scale) = readout.weighting(duration)?;
        let weight = match weighting {
            Weighting::Plain => Self::default(),
            Weighting::Exponential { tau } => Self { rate: 1.0 / tau, ..Self::default() },
            Weighting::Linear { end } => Self { shape: Self::LINEAR, width: end, ..Self::default() },
            Weighting::Sigmoid { centre, width } => Self { shape: Self::SIGMOID, centre, width, ..Self::default() },
        };
        Some((weight, scale))
    }

    /// How many knots a neuron of this population needs at most; 0 of a weight with a closed form.
    pub fn knots<T: Real>(&self, constants: &Constants<T>, duration: f64) -> usize {
        if self.shape == 0 {
            return 0;
        }
        let taus = constants.tau_mem.iter().chain(&constants.tau_syn).map(|tau| tau.f64());
        let scale = if self.shape == Self::SIGMOID { self.width } else { f64::INFINITY };
        let panel = 2.0 * taus.fold(scale, f64::min);
        ((duration / panel) as usize).saturating_add(3)
    }
}
