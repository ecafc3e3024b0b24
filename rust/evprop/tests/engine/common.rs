//! What several tests share: a network with its parameters and input, and how close gradients must be.
use evprop::math::Simd;
use evprop::network::{Network, Params};
use evprop::parallel::CancelFlag;
use evprop::record::Record;
use evprop::simulate::{Settings, simulate};
use evprop::spikes::SpikeBatch;

pub struct Case {
    pub network: Network,
    pub slots: Vec<Vec<f64>>,
    pub times: Vec<f64>,
    pub units: Vec<u32>,
    pub offsets: Vec<i64>,
}

impl Case {
    pub fn batch(&self) -> SpikeBatch<'_> {
        SpikeBatch::new(&self.times, &self.units, &self.offsets).expect("sound spikes")
    }

    pub fn params(&self) -> Params<'_, f64> {
        Params::new(&self.network, self.slots.iter().map(Vec::as_slice).collect()).expect("sound parameters")
    }

    /// Of 200 ms.
    pub fn record(&self, stop_when_fired: Option<usize>, simd: Simd) -> Record<f64> {
        let settings = Settings { duration: 200.0, max_spikes: 100_000, stop_when_fired, eventwise_only: false, simd };
        simulate(&CancelFlag::new(), &self.network, &self.params(), &[self.batch()], &[], &settings)
            .expect("no runaway")
    }
}

/// Entry by entry, to a share of the largest.
pub fn close(a: &[f64], b: &[f64], share: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = a.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (k, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= share * size, "{what}[{k}]: {x} and {y}, the largest is {size}");
    }
}
