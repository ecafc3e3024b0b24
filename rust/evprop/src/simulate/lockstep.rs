//! Feed-forward LIF populations: all neurons advance together, from arrival to arrival.
//!
//! No neuron of the population hears another, so each may run through its own arrivals alone; side by side they fill
//! vector lanes. Two ways to walk:
//!
//! * *rows*: no or axonal delays. Step `k` is the `k`-th arriving row, at the same time for all neurons.
//! * *columns*: delays of their own. Step `k` is each neuron's own `k`-th arrival.
//!
//! A step takes one propagator and a sufficient test that nothing crosses (maths: `u <= u0 + d/tau_mem (i0 - u0)^+`,
//! and `u <= u0^+ + i0 kappa_max`); the few lanes that fail it go to the root finder, eight at a time.
use super::uniform::Uniform;
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::{Real, Simd};
use crate::neuron::Constants;
use crate::neuron::constants::LANES;
use crate::neuron::crossing::{Crossings, Start};
use crate::neuron::flow::propagator;
use crate::record::arrivals::{Afferent, RowArrival, Sorted, keep_order, rows};
use crate::record::buckets::Buckets;
use crate::vectorised;

/// Neurons of a population that are walked by columns at a time: their arrivals stay in cache.
const COLUMN_BLOCK: usize = 64;

/// Reusable storage.
#[derive(Debug, Clone, Default)]
pub struct Lockstep<T> {
    state: State<T>,
    buckets: Buckets<RowArrival>,
    rows: Vec<RowArrival>,
    sorted: Sorted<T>,
    time: Vec<f64>,
    weight: Vec<T>,
    uniform: Uniform<T>,
}

/// State of the lanes `first..first + u.len()` of a population.
#[derive(Debug, Clone, Default)]
struct State<T> {
    first: usize,
    /// Neurons that have had their only spike.
    spent: usize,
    u: Vec<T>,
    i: Vec<T>,
    /// Up to when V is held at reset, ms (only looked at in refractory populations).
    hold: Vec<f64>,
    /// When each lane's state was taken, ms.
    time: Vec<f64>,
    scratch: Scratch<T>,
}

#[derive(Debug, Clone, Default)]
struct Scratch<T> {
    u0: Vec<T>,
    i0: Vec<T>,
    free: Vec<T>,
    suspect: Vec<u8>,
    open: Vec<Candidate<T>>,
    again: Vec<Candidate<T>>,
    starts: Vec<Start<T>>,
    crossings: Crossings<T>,
}

/// A lane that may cross before `end`.
#[derive(Debug, Clone, Copy)]
struct Candidate<T> {
    lane: usize,
    start: f64,
    end: f64,
    u: T,
    i: T,
}

impl<T: Real> State<T> {
    fn reset(&mut self, c: &Constants<T>, first: usize, n: usize) {
        self.first = first;
        self.spent = 0;
        self.u.clear();
        self.u.extend((first..first + n).map(|i| c.neuron(i).u_init));
        self.i.clear();
        self.i.resize(n, T::ZERO);
        self.hold.clear();
        self.hold.resize(n, 0.0);
        self.time.clear();
        self.time.resize(n, 0.0);
        let s = &mut self.scratch;
        for v in [&mut s.u0, &mut s.i0, &mut s.free] {
            v.clear();
            v.resize(n, T::ZERO);
        }
        s.suspect.clear();
        s.suspect.resize(n, 0);
    }
}

impl<T: Real> Lockstep<T> {
    /// Plays one sample; spikes are appended to `out`, sorted by (time, unit).
    pub fn run(
        &mut self,
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        let from = out.len();
        let ordered = keep_order(afferents);
        if ordered && Uniform::fits(c) {
            self.uniform.run(simd, c, afferents, limits, out)?;
        } else if ordered {
            self.run_rows(simd, c, afferents, limits, out)?;
        } else {
            self.run_columns(simd, c, afferents, limits, out)?;
        }
        let own = &mut out[from..];
        let before = |a: &Spike<T>, b: &Spike<T>| (a.time, a.unit) <= (b.time, b.unit);
        if !own.is_sorted_by(before) {
            own.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
        }
        Ok(())
    }

    fn run_rows(
        &mut self,
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        rows(afferents, limits.duration, &mut self.buckets, &mut self.rows);
        self.state.reset(c, 0, c.padded());
        let mut now = 0.0;
        let mut k = 0;
        // A population in which every neuron has had its only spike is done.
        while k <= self.rows.len() && self.state.spent < c.n {
            let until = self.rows.get(k).map_or(limits.duration, |r| r.time);
            if until > now {
                self.time.clear();
                self.time.resize(c.padded(), until);
                advance_each(simd, c, &mut self.state, &self.time, limits, out)?;
                now = until;
            }
            let Some(row) = self.rows.get(k) else { break };
            let row = afferents[row.afferent as usize].synapses.row(row.sender as usize);
            match row.targets {
                None => {
                    for (i, &w) in self.state.i.iter_mut().zip(row.weight) {
                        *i += w;
                    }
                }
                Some(targets) => {
                    for (&target, &w) in targets.iter().zip(row.weight) {
                        self.state.i[target as usize] += w;
                    }
                }
            }
            k += 1;
        }
        Ok(())
    }

    fn run_columns(
        &mut self,
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        for first in (0..c.n).step_by(COLUMN_BLOCK) {
            let real = COLUMN_BLOCK.min(c.n - first);
            let n = real.next_multiple_of(LANES);
            self.sorted.fill(afferents, first, real, limits.duration);
            self.state.reset(c, first, n);
            let steps = (0..real).map(|l| self.sorted.of(l).len()).max().unwrap_or(0);
            for k in 0..=steps {
                self.time.clear();
                self.weight.clear();
                for l in 0..n {
                    // A lane that has run out waits at the end; nothing arrives there.
                    let arrival = if l < real { self.sorted.of(l).get(k) } else { None };
                    self.time.push(arrival.map_or(limits.duration, |a| a.time));
                    self.weight.push(arrival.map_or(T::ZERO, |a| a.weight));
                }
                advance_each(simd, c, &mut self.state, &self.time, limits, out)?;
                for (i, &w) in self.state.i.iter_mut().zip(&self.weight) {
                    *i += w;
                }
            }
        }
        Ok(())
    }
}

/// Whether a state may cross within span `d`: false only if it surely does not. Rounding is covered by a margin.
#[inline(always)]
pub(super) fn may_cross<T: Real>(u: T, i: T, span_over_tau: T, theta: T, kappa_max: T, i_gate: T) -> bool {
    let margin = T::of(32.0) * T::EPSILON;
    let rise = span_over_tau * (i - u).larger(T::ZERO);
    let tangent = u + rise + margin * (u.abs() + rise);
    let positive = u.larger(T::ZERO);
    let pulse = i * kappa_max;
    let peak = positive + pulse + margin * (positive + pulse);
    // Under a bias at or above threshold (gate -inf) only the tangent counts while current flows; else look always.
    let gated = i_gate < T::ZERO;
    (i > i_gate) & (((tangent > theta) & (peak > theta)) | gated)
}

/// A state that started with current `i0 > 0` and at its end still rises below threshold did not cross: it is concave.
/// Rising is asked for with a margin: after a long span both have decayed to nothing, and nothing is not above nothing.
#[inline(always)]
pub(super) fn settled<T: Real>(i0: T, end_u: T, end_i: T, theta: T) -> bool {
    let margin = T::ONE - T::of(32.0) * T::EPSILON;
    (i0 > T::ZERO) & (end_i * margin > end_u) & (end_u <= theta)
}

vectorised! {
    /// Each lane from its own time to `until[lane]`, with its own constants and refractory time.
    fn advance_each<T>(
        c: &Constants<T>,
        state: &mut State<T>,
        until: &[f64],
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        let State { first, u, i, hold, time, scratch, .. } = state;
        let n = u.len();
        let lanes = *first..*first + n;
        let (u, i, hold, time, until) = (&mut u[..n], &mut i[..n], &mut hold[..n], &mut time[..n], &until[..n]);
        let (u0, i0, free) = (&mut scratch.u0[..n], &mut scratch.i0[..n], &mut scratch.free[..n]);
        let suspect = &mut scratch.suspect[..n];
        if c.holds {
            // Up to the release, only the current flows.
            let inv_syn = &c.inv_syn[lanes.clone()];
            for l in 0..n {
                let release = hold[l].larger(time[l]).smaller(until[l]);
                i[l] *= (-(T::of(release - time[l]) * inv_syn[l])).exp_neg();
                time[l] = release;
            }
        }
        for ((free, &until), &time) in free.iter_mut().zip(until).zip(time.iter()) {
            *free = T::of(until - time);
        }
        pass_each(
            free,
            &c.inv_slow[lanes.clone()],
            &c.rate[lanes.clone()],
            &c.gain[lanes.clone()],
            &c.lin[lanes.clone()],
            &c.mem_slow[lanes.clone()],
            u,
            i,
            u0,
            i0,
        );
        let (inv_mem, theta) = (&c.inv_mem[lanes.clone()], &c.theta[lanes.clone()]);
        let any = test_each(free, inv_mem, theta, &c.kappa_max[lanes.clone()], &c.i_gate[lanes], u, i, u0, i0, suspect);
        if any != 0 {
            scratch.open.clear();
            for (block, eight) in suspect.chunks_exact(LANES).enumerate() {
                if eight.iter().all(|&s| s == 0) {
                    continue;
                }
                for l in (block * LANES..(block + 1) * LANES).filter(|&l| suspect[l] != 0) {
                    let candidate = Candidate { lane: l, start: time[l], end: until[l], u: u0[l], i: i0[l] };
                    scratch.open.push(candidate);
                }
            }
            time.copy_from_slice(until);
            play_candidates(c, state, limits, out)?;
        } else {
            time.copy_from_slice(until);
        }
        Ok(())
    }
}

// The loops over lanes. Every column is an argument of its own: arguments do not alias, which the compiler must know to
// use vectors.

/// Each lane by its own span and time constants.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pass_each<T: Real>(
    d: &[T],
    inv_slow: &[T],
    rate: &[T],
    gain: &[T],
    lin: &[T],
    mem_slow: &[T],
    u: &mut [T],
    i: &mut [T],
    u0: &mut [T],
    i0: &mut [T],
) {
    let n = u.len();
    let (d, inv_slow, rate, gain) = (&d[..n], &inv_slow[..n], &rate[..n], &gain[..n]);
    let (lin, mem_slow, i) = (&lin[..n], &mem_slow[..n], &mut i[..n]);
    let (u0, i0) = (&mut u0[..n], &mut i0[..n]);
    for l in 0..n {
        let (a, b) = (u[l], i[l]);
        let p = propagator(d[l], inv_slow[l], rate[l], gain[l], lin[l], mem_slow[l] > T::ZERO);
        u0[l] = a;
        i0[l] = b;
        u[l] = a * p.mem + b * p.kappa;
        i[l] = b * p.syn;
    }
}

/// Which lanes may have crossed on the way from `(u0, i0)` to `(u, i)`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn test_each<T: Real>(
    d: &[T],
    inv_mem: &[T],
    theta: &[T],
    kappa_max: &[T],
    gate: &[T],
    u: &[T],
    i: &[T],
    u0: &[T],
    i0: &[T],
    suspect: &mut [u8],
) -> u8 {
    let n = d.len();
    let (inv_mem, theta, kappa_max, gate) = (&inv_mem[..n], &theta[..n], &kappa_max[..n], &gate[..n]);
    let (u, i, u0, i0, suspect) = (&u[..n], &i[..n], &u0[..n], &i0[..n], &mut suspect[..n]);
    let mut any = 0u8;
    for l in 0..n {
        let may = may_cross(u0[l], i0[l], d[l] * inv_mem[l], theta[l], kappa_max[l], gate[l]) & (d[l] > T::ZERO);
        let s = u8::from(may & !settled(i0[l], u[l], i[l], theta[l]));
        suspect[l] = s;
        any |= s;
    }
    any
}

/// Finds the spikes of the candidates in `scratch.open`, resets them, and leaves their states at the ends of their spans.
#[inline(always)]
fn play_candidates<T: Real>(
    c: &Constants<T>,
    state: &mut State<T>,
    limits: &Limits<'_>,
    out: &mut Vec<Spike<T>>,
) -> Result<()> {
    let State { first, spent, u, i, hold, scratch, .. } = state;
    let Scratch { open, again, starts, crossings, .. } = scratch;
    let start = |x: &Candidate<T>| Start { u: x.u, i: x.i, d: T::of(x.end - x.start), neuron: *first + x.lane };
    while !open.is_empty() {
        starts.clear();
        starts.extend(open.iter().map(start));
        crossings.solve(c, starts);
        again.clear();
        for (k, &l) in crossings.hits.iter().enumerate() {
            let x = &open[l];
            let neuron = c.neuron(*first + x.lane);
            let time = (x.start + crossings.s[k].f64()).smaller(x.end);
            let at = crossings.at[k];
            out.push(Spike { time, unit: (*first + x.lane) as u32, current: at });
            hold[x.lane] = time + neuron.t_ref;
            if neuron.t_ref == f64::INFINITY {
                // Its only spike: from -infinity no sum of arrivals ever reaches the threshold again.
                u[x.lane] = -T::INFINITY;
                *spent += 1;
                continue;
            }
            let start = hold[x.lane].smaller(x.end);
            let current = if start > time { at * (-(T::of(start - time) * neuron.inv_syn)).exp_neg() } else { at };
            again.push(Candidate { start, u: neuron.u_reset, i: current, ..*x });
        }
        limits.check(out.len(), out.last().map_or(0.0, |s| s.time))?;
        open.clear();
        if again.is_empty() {
            break;
        }
        // What is left of each span after the spike: to its end, and once more through the test.
        starts.clear();
        starts.extend(again.iter().map(start));
        crossings.flow(c, starts);
        for (l, x) in again.iter().enumerate() {
            let (end_u, end_i) = (crossings.end_u[l], crossings.end_i[l]);
            u[x.lane] = end_u;
            i[x.lane] = end_i;
            let (neuron, d) = (c.neuron(*first + x.lane), starts[l].d);
            let gate = c.i_gate[*first + x.lane];
            let may = may_cross(x.u, x.i, d * neuron.inv_mem, neuron.theta, neuron.kappa_max, gate);
            if d > T::ZERO && may && !settled(x.i, end_u, end_i, neuron.theta) {
                open.push(*x);
            }
        }
    }
    Ok(())
}
