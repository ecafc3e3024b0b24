//! Arrivals in the order in which they come, and pairs of an own spike and an arrival before it.
use super::NONE;
use crate::math::{Real, Simd};
use crate::neuron::constants::{LANES, Neuron};
use crate::neuron::flow::propagator;
use crate::projection::Synapses;
use crate::spikes::Train;
use crate::vectorised;
use std::ops::Range;

/// Pairs that are worked through together.
const BLOCK: usize = 512;

/// The arrivals through one projection in one sample, by time.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals {
    /// When; longer than there are arrivals by a vector that nobody looks at.
    pub time: Vec<f64>,
    /// Which spike of the sender's train.
    pub index: Vec<u32>,
    /// Whose; as long as `time`.
    pub sender: Vec<u32>,
    /// dL/dt of the spikes, in the order of their arrivals.
    pub dt: Vec<f64>,
    /// By own spike: how many arrive before it.
    pub before: Vec<u32>,
    keys: Vec<(f64, u32)>,
}

impl Arrivals {
    /// Lists them; returns how many pairs they make with own spikes.
    pub fn list<T: Real>(&mut self, train: Train<'_>, delay: Option<&[T]>, own: Train<'_>, previous: &[u32]) -> usize {
        let Self { time, index, sender, before, keys, .. } = self;
        time.clear();
        index.clear();
        sender.clear();
        match delay {
            None => {
                time.extend_from_slice(train.times);
                index.extend(0..train.len() as u32);
                sender.extend_from_slice(train.units);
            }
            Some(delay) => {
                let late = |(k, (&t, &unit)): (usize, (&f64, &u32))| (t + delay[unit as usize].f64(), k as u32);
                keys.clear();
                keys.extend(train.times.iter().zip(train.units).enumerate().map(late));
                keys.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                time.extend(keys.iter().map(|key| key.0));
                index.extend(keys.iter().map(|key| key.1));
                sender.extend(keys.iter().map(|key| train.units[key.1 as usize]));
            }
        }
        let n = index.len();
        time.resize(n + LANES, 0.0);
        sender.resize(n + LANES, 0);
        before.clear();
        let (mut r, mut pairs) = (0, 0);
        for (&t, &previous) in own.times.iter().zip(previous) {
            while r < n && time[r] < t {
                r += 1;
            }
            before.push(r as u32);
            pairs += r - if previous == NONE { 0 } else { before[previous as usize] as usize };
        }
        pairs
    }
}

/// Pairs of an own spike and an arrival before it, one a lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs<T> {
    len: usize,
    /// From the arrival to the spike, ms.
    d: Vec<T>,
    lambda_v: Vec<T>,
    lambda_i: Vec<T>,
    weight: Vec<T>,
    felt: Vec<T>,
    slope: Vec<T>,
    /// Which weight.
    at: Vec<usize>,
    /// Arrivals that follow each other, all paired with one own spike.
    runs: Vec<Range<usize>>,
}

impl<T: Real> Pairs<T> {
    pub fn make_room(&mut self) {
        for column in
            [&mut self.d, &mut self.lambda_v, &mut self.lambda_i, &mut self.weight, &mut self.felt, &mut self.slope]
        {
            column.resize(BLOCK + LANES, T::ZERO);
        }
        self.at.resize(BLOCK + LANES, 0);
    }

    /// Whether there is room for no more.
    pub fn are_full(&self) -> bool {
        self.len == BLOCK
    }

    /// Pairs an own spike with the arrivals `run`, as many of them as there is room for; returns where the others begin.
    #[inline(always)]
    pub fn add(
        &mut self,
        own: Own<T>,
        time: &[f64],
        sender: &[u32],
        run: Range<usize>,
        synapses: &Synapses<'_, T>,
    ) -> usize {
        let run = run.start..run.end.min(run.start + BLOCK - self.len);
        let Self { len, d, lambda_v, lambda_i, weight, at, runs, .. } = self;
        // Whole vectors at a time: what is written beyond the run, the next pairs take the place of.
        for from in run.clone().step_by(LANES) {
            let (given, to) = (from..from + LANES, *len + from - run.start);
            let to = to..to + LANES;
            let (time, sender) = (&time[given.clone()], &sender[given]);
            let (d, v, i) = (&mut d[to.clone()], &mut lambda_v[to.clone()], &mut lambda_i[to.clone()]);
            let (at, weight) = (&mut at[to.clone()], &mut weight[to]);
            for l in 0..LANES {
                d[l] = T::of(own.time - time[l]);
                v[l] = own.lambda_v;
                i[l] = own.lambda_i;
                at[l] = sender[l] as usize * synapses.n_post + own.neuron;
            }
            for l in 0..LANES {
                weight[l] = synapses.weight[at[l]];
            }
        }
        *len += run.len();
        let end = run.end;
        runs.push(run);
        end
    }

    /// Works all pairs through, adds what they feel, and forgets them.
    pub fn land(&mut self, simd: Simd, c: &Neuron<T>, to: &mut Felt<'_, T>) {
        if self.len == 0 {
            return;
        }
        let n = self.len.next_multiple_of(LANES);
        let Self { len, d, lambda_v, lambda_i, weight, felt, slope, at, runs } = self;
        work(simd, c, &d[..n], lambda_v, lambda_i, weight, felt, slope);
        if !to.weights.is_empty() {
            for (&at, &felt) in at.iter().zip(felt.iter()).take(*len) {
                to.weights[at] += felt;
            }
        }
        if to.dt.is_empty() && to.delays.is_empty() {
            runs.clear();
        }
        let mut slopes = &slope[..*len];
        for run in runs.drain(..) {
            let (own, others) = slopes.split_at(run.len());
            slopes = others;
            if !to.dt.is_empty() {
                for (dt, slope) in to.dt[run.clone()].iter_mut().zip(own) {
                    *dt += slope.f64();
                }
            }
            if !to.delays.is_empty() {
                for (&sender, &slope) in to.sender[run].iter().zip(own) {
                    to.delays[sender as usize] += slope;
                }
            }
        }
        *len = 0;
    }
}

/// A spike of the population.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<T> {
    /// When, ms.
    pub time: f64,
    pub neuron: usize,
    /// Just before it.
    pub lambda_v: T,
    pub lambda_i: T,
}

/// Where it goes what the pairs of one projection feel; empty what nobody asks for.
#[derive(Debug)]
pub(super) struct Felt<'a, T> {
    pub weights: &'a mut [T],
    /// By sender.
    pub delays: &'a mut [T],
    /// By arrival.
    pub dt: &'a mut [f64],
    /// Of each arrival.
    pub sender: &'a [u32],
}

vectorised! {
    /// `dL/dw` and `dL/ds` of every pair.
    fn work<T>(
        c: &Neuron<T>,
        d: &[T],
        lambda_v: &[T],
        lambda_i: &[T],
        weight: &[T],
        felt: &mut [T],
        slope: &mut [T],
    ) {
        let n = d.len();
        let (lambda_v, lambda_i, weight) = (&lambda_v[..n], &lambda_i[..n], &weight[..n]);
        let (felt, slope) = (&mut felt[..n], &mut slope[..n]);
        let (inv_slow, rate, gain, lin, mem_slow) = (c.inv_slow, c.rate, c.gain, c.lin, c.mem_slow);
        let (inv_mem, inv_syn) = (c.inv_mem, c.inv_syn);
        for k in 0..n {
            let p = propagator(d[k], inv_slow, rate, gain, lin, mem_slow);
            let v = lambda_v[k] * p.mem;
            let i = lambda_i[k] * p.syn + lambda_v[k] * p.kappa;
            felt[k] = i;
            slope[k] = weight[k] * (i * inv_syn - v * inv_mem);
        }
    }
}
