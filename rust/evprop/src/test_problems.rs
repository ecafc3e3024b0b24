//! Named networks, shared by tests and benches: some with known answers, some of the size of real work.
use crate::adjoint::{Gradients, Request, backward};
use crate::error::Result;
use crate::math::{Real, Simd};
use crate::network::{Kind, Network, Params, Population, Projection};
use crate::parallel::CancelFlag;
use crate::projection::{Connectivity, DelayKind};
use crate::record::{Readout, ReadoutRequest, Record};
use crate::simulate::{Settings, simulate};
use crate::spikes::SpikeBatch;

/// A small generator (Knuth's MMIX congruence), so that the problems are the same everywhere.
#[derive(Debug, Clone)]
pub struct Draw(pub u64);

impl Draw {
    /// Evenly from `low` to `high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * ((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// A whole number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.uniform(0.0, n as f64) as usize
    }

    /// About normal: the sum of twelve uniform draws.
    pub fn normal(&mut self, mean: f64, std: f64) -> f64 {
        mean + std * ((0..12).map(|_| self.uniform(0.0, 1.0)).sum::<f64>() - 6.0)
    }
}

/// A network with its parameters and input.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The network.
    pub network: Network,
    /// Parameters, slot by slot.
    pub slots: Vec<Vec<f64>>,
    /// Input spikes: times in ms, units, offsets by sample.
    pub inputs: (Vec<f64>, Vec<u32>, Vec<i64>),
    /// Trial length, ms.
    pub duration: f64,
    /// What is read.
    pub requests: Vec<ReadoutRequest>,
}

/// A projection of a problem: sender, receiver, kind of delay.
pub type Edge = (usize, usize, DelayKind);

/// Populations with name, kind and size, and dense projections between them, named after their ends.
pub fn network(populations: &[(&str, Kind, usize)], edges: &[Edge]) -> Result<Network> {
    let population = |&(name, kind, size): &(&str, Kind, usize)| Population { name: name.into(), kind, size };
    let projection = |&(pre, post, delay): &Edge| Projection {
        name: format!("{pre}_{post}"),
        pre,
        post,
        connectivity: Connectivity::Dense,
        delay,
        self_connections: true,
    };
    Network::new(populations.iter().map(population).collect(), edges.iter().map(projection).collect())
}

/// Parameters by their slots' names; the neurons' are those of `neuron`, 0 where it has none.
fn slots(network: &Network, neuron: &[(&str, f64)], mut synapse: impl FnMut(&str) -> f64) -> Vec<Vec<f64>> {
    let slot = |slot: &crate::network::Slot| {
        let size: usize = slot.shape.iter().product();
        let name = slot.name.rsplit('.').next().unwrap_or_default();
        match name {
            "weight" | "delay" => (0..size).map(|_| synapse(&slot.name)).collect(),
            _ => vec![neuron.iter().find(|(n, _)| *n == name).map_or(0.0, |(_, value)| *value); size],
        }
    };
    network.layout().iter().map(slot).collect()
}

impl Problem {
    /// Without input, a bias above threshold: the neuron spikes every `tau_mem ln((i_bias - v_reset)/(i_bias - v_th))`.
    pub fn tonic(tau_mem: f64, i_bias: f64, v_reset: f64, duration: f64) -> Result<Self> {
        let network = network(&[("input", Kind::Input, 1), ("a", Kind::Lif, 1)], &[(0, 1, DelayKind::None)])?;
        let neuron = [
            ("tau_mem", tau_mem),
            ("tau_syn", 5.0),
            ("v_th", 1.0),
            ("v_reset", v_reset),
            ("v_init", v_reset),
            ("i_bias", i_bias),
        ];
        let slots = slots(&network, &neuron, |_| 0.0);
        Ok(Self { network, slots, inputs: (vec![], vec![], vec![0, 0]), duration, requests: vec![] })
    }

    /// One input spike at 0 with `tau_mem = 2 tau_syn`: `V = weight (a - a^2)` with `a = exp(-t/tau_mem)`, so the first
    /// spike comes at `-tau_mem ln((1 + sqrt(1 - 4 v_th/weight))/2)` after the delay (Goeltz et al. 2021). A leaky
    /// integrator beside it reads V at the end.
    pub fn one_input(tau_mem: f64, weight: f64, delay: f64, duration: f64) -> Result<Self> {
        let populations = [("input", Kind::Input, 1), ("a", Kind::Lif, 1), ("b", Kind::Li, 1)];
        let network = network(&populations, &[(0, 1, DelayKind::Synaptic), (0, 2, DelayKind::Synaptic)])?;
        let neuron = [("tau_mem", tau_mem), ("tau_syn", tau_mem / 2.0), ("v_th", 1.0), ("t_ref", f64::INFINITY)];
        let slots = slots(&network, &neuron, |name| if name.ends_with("weight") { weight } else { delay });
        let requests = vec![ReadoutRequest { population: 2, readout: Readout::Final }];
        Ok(Self { network, slots, inputs: (vec![0.0], vec![0], vec![0, 1]), duration, requests })
    }

    /// Yin-Yang size: five inputs with a spike each in 0 to 30 ms, 120 hidden neurons, three outputs.
    pub fn yin_yang_size(batch: usize) -> Result<Self> {
        let populations = [("input", Kind::Input, 5), ("hidden", Kind::Lif, 120), ("output", Kind::Lif, 3)];
        let network = network(&populations, &[(0, 1, DelayKind::None), (1, 2, DelayKind::None)])?;
        let mut draw = Draw(1);
        let mut slots = slots(&network, &[("tau_mem", 20.0), ("tau_syn", 5.0), ("v_th", 1.0)], |name| match name {
            "0_1.weight" => draw.normal(1.5, 0.78),
            _ => draw.normal(0.93, 0.1),
        });
        for (slot, values) in network.layout().iter().zip(&mut slots) {
            if slot.name == "output.t_ref" {
                values.fill(f64::INFINITY);
            }
        }
        let mut draw = Draw(2);
        let mut inputs = (vec![], vec![], vec![0]);
        for _ in 0..batch {
            let mut sample: Vec<_> = (1..5).map(|unit| (draw.uniform(0.0, 30.0), unit)).collect();
            sample.push((0.0, 0));
            append(&mut inputs, sample);
        }
        Ok(Self { network, slots, inputs, duration: 30.0, requests: vec![] })
    }

    /// Keyword-spotting size: 700 inputs with 8,000 spikes in 1,000 ms, `hidden` recurrent neurons, 20 integrators.
    pub fn keyword_size(delay: DelayKind, hidden: usize, batch: usize) -> Result<Self> {
        let populations = [("input", Kind::Input, 700), ("hidden", Kind::Lif, hidden), ("output", Kind::Li, 20)];
        let network = network(&populations, &[(0, 1, delay), (1, 1, delay), (1, 2, DelayKind::None)])?;
        let mut draw = Draw(3);
        let slots = slots(&network, &[("tau_mem", 20.0), ("tau_syn", 5.0), ("v_th", 1.0)], |name| match name {
            "0_1.weight" => draw.normal(0.026, 0.01),
            "1_1.weight" => draw.normal(0.0, 0.02),
            "1_2.weight" => draw.normal(0.0, 0.03),
            _ => draw.uniform(0.0, 62.0),
        });
        let mut draw = Draw(4);
        let mut inputs = (vec![], vec![], vec![0]);
        for _ in 0..batch {
            append(&mut inputs, (0..8000).map(|_| (draw.uniform(0.0, 1000.0), draw.below(700) as u32)).collect());
        }
        let readout = Readout::WeightedIntegral { tau: 1000.0, normalise: true };
        Ok(Self { network, slots, inputs, duration: 1000.0, requests: vec![ReadoutRequest { population: 2, readout }] })
    }

    /// The problem in a number type.
    pub fn cast<T: Real>(self) -> Cast<T> {
        let slots = self.slots.iter().map(|slot| slot.iter().map(|&x| T::of(x)).collect()).collect();
        Cast { problem: self, slots }
    }
}

fn append((times, units, offsets): &mut (Vec<f64>, Vec<u32>, Vec<i64>), mut sample: Vec<(f64, u32)>) {
    sample.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (time, unit) in sample {
        times.push(time);
        units.push(unit);
    }
    offsets.push(times.len() as i64);
}

/// A problem with its parameters in a number type.
#[derive(Debug, Clone)]
pub struct Cast<T> {
    /// The problem.
    pub problem: Problem,
    slots: Vec<Vec<T>>,
}

impl<T: Real> Cast<T> {
    /// Forwards.
    pub fn forward(&self) -> Result<Record<T>> {
        let Problem { network, inputs, duration, requests, .. } = &self.problem;
        let params = Params::new(network, self.slots.iter().map(Vec::as_slice).collect())?;
        let inputs = SpikeBatch::new(&inputs.0, &inputs.1, &inputs.2)?;
        let settings = Settings {
            duration: *duration,
            max_spikes: 1_000_000,
            eventwise_only: false,
            stop_when_fired: None,
            simd: Simd::detect(),
        };
        simulate(&CancelFlag::new(), network, &params, &[inputs], requests, &settings)
    }

    /// Backwards, weights and delays asked for; `dL/dt` is 1 for every spike, `dL/dy` is 1 for every value of a readout.
    pub fn backward(&self, record: &Record<T>) -> Result<Gradients<T>> {
        let Problem { network, inputs, .. } = &self.problem;
        let params = Params::new(network, self.slots.iter().map(Vec::as_slice).collect())?;
        let inputs = SpikeBatch::new(&inputs.0, &inputs.1, &inputs.2)?;
        let synapses: Vec<_> = network.layout().iter().map(|slot| is_of_synapses(&slot.name)).collect();
        let times: Vec<_> = record.populations.iter().map(|p| vec![1.0; p.times.len()]).collect();
        let values: Vec<_> = record.readouts.iter().map(|r| vec![1.0; r.values.len()]).collect();
        let spiking = |p: usize| network.populations()[p].kind == Kind::Lif && self.problem.requests.is_empty();
        let spike_times: Vec<_> = (0..times.len()).map(|p| spiking(p).then(|| times[p].as_slice())).collect();
        let readouts: Vec<_> = values.iter().map(|v| Some(v.as_slice())).collect();
        let request = Request {
            spike_times: &spike_times,
            readouts: &readouts,
            wrt: &synapses,
            input_times: false,
            scale: 1.0,
            max_dw_norm: None,
            min_vdot: None,
        };
        Ok(backward(&CancelFlag::new(), Simd::detect(), network, &params, &[inputs], record, &request)?.0)
    }
}

fn is_of_synapses(slot: &str) -> bool {
    slot.ends_with(".weight") || slot.ends_with(".delay")
}
