//! The arrivals of one spike, backwards: weight, delay and spike-time gradients of one row of synapses.
//!
//! ```text
//! dL/dw += lambda_i(s)          dL/ds = w (lambda_i(s)/tau_syn - lambda_v(s)/tau_mem),   s = t + delay
//! ```
use super::nodes::Nodes;
use super::sources::{Source, VoltageCotangents};
use crate::math::{Real, Simd};
use crate::neuron::Constants;
use crate::neuron::constants::LANES;
use crate::neuron::flow::propagator;
use crate::neuron::reach::Reach;
use crate::projection::{Row, RowDelay};
use crate::vectorised;

/// Lane by lane: what one row yields.
#[derive(Debug, Clone, Default)]
pub struct RowScratch<T> {
    /// Arrival times, ms.
    pub s: Vec<f64>,
    /// `dL/dw` of each synapse.
    pub weight: Vec<T>,
    /// `dL/ds` of each synapse.
    pub time: Vec<T>,
}

impl<T: Real> RowScratch<T> {
    /// Works out a row that left its sender at `t`; returns `dL/dt` of the sender through it.
    #[inline(always)]
    pub fn run(
        &mut self,
        simd: Simd,
        c: &Constants<T>,
        nodes: &mut Nodes<T>,
        row: &Row<'_, T>,
        t: f64,
        voltage: &mut VoltageCotangents,
    ) -> T {
        let n = row.weight.len();
        self.s.clear();
        match row.delay {
            RowDelay::Shared(d) => self.s.resize(n, t + d.f64()),
            RowDelay::BySynapse(d) => self.s.extend(d.iter().map(|d| t + d.f64())),
            RowDelay::ByTarget(d) => self.s.extend((0..n).map(|k| t + d[row.target(k)].f64())),
        }
        let mut felt = !voltage.sources.is_empty() || !voltage.kinks.is_empty();
        match row.targets {
            None => felt |= nodes.seek_all(&self.s),
            Some(targets) => {
                for (&target, &s) in targets.iter().zip(&self.s) {
                    let i = target as usize;
                    nodes.seek(i, s);
                    felt |= nodes.lambda_v[i] != T::ZERO || nodes.lambda_i[i] != T::ZERO;
                }
            }
        }
        self.weight.clear();
        self.time.clear();
        if !felt {
            // After the last node of every target nothing is felt any more.
            return T::ZERO;
        }
        match row.targets {
            None => {
                let lanes = c.padded();
                self.s.resize(lanes, t);
                self.weight.resize(lanes, T::ZERO);
                self.time.resize(lanes, T::ZERO);
                let Nodes { time, lambda_v, lambda_i, .. } = nodes;
                dense(simd, c, time, lambda_v, lambda_i, &self.s, &mut self.weight, &mut self.time);
                self.weight.truncate(n);
                self.time.truncate(n);
                for (slope, &w) in self.time.iter_mut().zip(row.weight) {
                    *slope *= w;
                }
            }
            Some(targets) => {
                for (k, (&target, &s)) in targets.iter().zip(&self.s).enumerate() {
                    let i = target as usize;
                    let neuron = c.neuron(i);
                    let p = neuron.propagator(span::<T>(nodes.time[i], s));
                    let lambda_v = nodes.lambda_v[i] * p.mem;
                    let lambda_i = nodes.lambda_i[i] * p.syn + nodes.lambda_v[i] * p.kappa;
                    self.weight.push(lambda_i);
                    self.time.push(row.weight[k] * (lambda_i * neuron.inv_syn - lambda_v * neuron.inv_mem));
                }
            }
        }
        if !voltage.sources.is_empty() {
            self.add_sources(c, nodes, row, &voltage.sources);
        }
        if !voltage.kinks.is_empty() {
            self.add_kinks(row, voltage);
        }
        ordered_sum(&self.time)
    }

    /// A kink belongs to one arrival: the first met at its very time.
    fn add_kinks(&mut self, row: &Row<'_, T>, voltage: &mut VoltageCotangents) {
        for (k, &s) in self.s.iter().enumerate() {
            let i = row.target(k);
            if let Some(at) = voltage.kinks.iter().position(|kink| kink.neuron == i && kink.time == s) {
                self.time[k] += T::of(voltage.kinks.swap_remove(at).g);
            }
        }
    }

    fn add_sources(&mut self, c: &Constants<T>, nodes: &Nodes<T>, row: &Row<'_, T>, sources: &[Source]) {
        for source in sources {
            // Rows of one instant onto neurons alike ask for the same reach again and again.
            let mut last = (f64::NAN, f64::NAN, f64::NAN, f64::NAN, Reach { u: 0.0, i: 0.0, one: 0.0 });
            for k in 0..row.weight.len() {
                let i = row.target(k);
                let g = source.g[i];
                if !nodes.free[i] || g == 0.0 {
                    continue;
                }
                let neuron = c.neuron(i);
                let s = self.s[k];
                let d = nodes.time[i] - s;
                let key = (s, d, neuron.tau_mem.f64(), neuron.tau_syn.f64());
                if (last.0, last.1, last.2, last.3) != key {
                    last = (key.0, key.1, key.2, key.3, source.weighting.reach(neuron, s, d));
                }
                let (v, w) = (g * last.4.u, g * last.4.i);
                self.weight[k] += T::of(w);
                self.time[k] += row.weight[k] * T::of(w / neuron.tau_syn.f64() - v / neuron.tau_mem.f64());
            }
        }
    }
}

/// Span from `s` to a node; beyond the last node it is long enough that nothing is left.
#[inline(always)]
pub fn span<T: Real>(node: f64, s: f64) -> T {
    T::of((node - s).min(1e30))
}

/// A sum in a fixed order that does not depend on the vector width.
#[inline(always)]
pub fn ordered_sum<T: Real>(values: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] += chunk[l];
        }
    }
    for (l, &v) in rest.iter().enumerate() {
        lanes[l] += v;
    }
    ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]))
}

vectorised! {
    /// lambda_i and the slope `lambda_i/tau_syn - lambda_v/tau_mem` of every lane at its `s`.
    fn dense<T>(
        c: &Constants<T>,
        time: &[f64],
        lambda_v: &[T],
        lambda_i: &[T],
        s: &[f64],
        felt: &mut [T],
        slope: &mut [T],
    ) {
        let n = felt.len();
        let (s, time, lambda_v, lambda_i, slope) =
            (&s[..n], &time[..n], &lambda_v[..n], &lambda_i[..n], &mut slope[..n]);
        let (inv_slow, rate, gain, lin) = (&c.inv_slow[..n], &c.rate[..n], &c.gain[..n], &c.lin[..n]);
        let (inv_mem, inv_syn, mem_slow) = (&c.inv_mem[..n], &c.inv_syn[..n], &c.mem_slow[..n]);
        for k in 0..n {
            let d = span::<T>(time[k], s[k]);
            let p = propagator(d, inv_slow[k], rate[k], gain[k], lin[k], mem_slow[k] > T::ZERO);
            let v = lambda_v[k] * p.mem;
            let i = lambda_i[k] * p.syn + lambda_v[k] * p.kappa;
            felt[k] = i;
            slope[k] = i * inv_syn[k] - v * inv_mem[k];
        }
    }
}
