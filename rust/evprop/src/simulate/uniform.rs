//! Feed-forward populations whose neurons share their time constants and hear whole rows at a time (no or axonal delays).
//!
//! All neurons have one propagator from row to row, so a step is a few operations a lane:
//!
//! ```text
//! u1 = u0 E_m + i0 kappa          i1 = i0 E_s + w
//! ```
//!
//! The pass that takes them also tells whether anyone may have crossed on the way. If so, or if someone may have in the step
//! before, all lanes are asked ([`may_cross`], [`settled`]), and those that may have go to the root finder together. Steps
//! do not overlap in time, so the spikes of each are put in order by themselves.
use super::late::{Late, settle};
use super::lockstep::{may_cross, settled};
use super::order::Order;
use super::passes::shared_lanes;
use super::suspects::for_each;
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::{Real, Simd};
use crate::neuron::Constants;
use crate::neuron::constants::LANES;
use crate::neuron::flow::{Propagator, propagators};
use crate::neuron::roots::{Crossing, Problem, Roots};
use crate::projection::Connectivity;
use crate::record::arrivals::{Afferent, RowArrival, more_rows};
use crate::record::buckets::Buckets;
use crate::vectorised;

/// Reusable storage.
#[derive(Debug, Clone, Default)]
pub struct Uniform<T> {
    rows: Vec<RowArrival>,
    buckets: Buckets<RowArrival>,
    /// How many spikes of each afferent are among the rows.
    heard: Vec<usize>,
    /// How many rows are over.
    past: usize,
    /// Up to when the population has been played, ms.
    now: f64,
    spans: Spans<T>,
    state: State<T>,
}

/// Propagators over the spans between rows.
#[derive(Debug, Clone, Default)]
struct Spans<T> {
    d: Vec<T>,
    mem: Vec<T>,
    syn: Vec<T>,
    kappa: Vec<T>,
}

/// All lanes, and what a step works with.
#[derive(Debug, Clone, Default)]
struct State<T> {
    /// Neurons that have had their only spike.
    spent: usize,
    /// Neurons that have not spiked so far, if anybody asks.
    silent: usize,
    fired: Vec<bool>,
    u: Vec<T>,
    i: Vec<T>,
    /// Where the step began.
    u0: Vec<T>,
    i0: Vec<T>,
    /// A row that adds nothing.
    nothing: Vec<T>,
    suspect: Vec<u8>,
    late: Late<T>,
    roots: Roots<T>,
    order: Order<T>,
}

impl<T: Real> Spans<T> {
    /// From `now` to each row, and on to `end` if it is given.
    fn fill(&mut self, simd: Simd, c: &Constants<T>, mut now: f64, rows: &[RowArrival], end: Option<f64>) {
        self.d.clear();
        for until in rows.iter().map(|row| row.time).chain(end) {
            self.d.push(T::of(until - now));
            now = until;
        }
        let steps = self.d.len();
        let lanes = steps.next_multiple_of(LANES);
        self.d.resize(lanes, T::ZERO);
        for column in [&mut self.mem, &mut self.syn, &mut self.kappa] {
            column.resize(lanes, T::ZERO);
        }
        propagators(simd, c.neuron(0), &self.d, &mut self.mem, &mut self.syn, &mut self.kappa);
        self.d.truncate(steps);
    }

    fn of(&self, k: usize) -> (T, Propagator<T>) {
        (self.d[k], Propagator { mem: self.mem[k], syn: self.syn[k], kappa: self.kappa[k] })
    }
}

impl<T: Real> State<T> {
    fn reset(&mut self, c: &Constants<T>) {
        let n = c.padded();
        self.spent = 0;
        self.silent = c.n;
        self.fired.clear();
        self.fired.resize(c.n, false);
        self.u.clear();
        self.u.extend((0..n).map(|i| c.neuron(i).u_init));
        self.i.clear();
        self.i.resize(n, T::ZERO);
        self.u0.resize(n, T::ZERO);
        self.i0.resize(n, T::ZERO);
        self.nothing.resize(c.n, T::ZERO);
        self.suspect.resize(n, 0);
        if c.once {
            self.late.reset(c);
        }
    }
}

impl<T: Real> Uniform<T> {
    /// Whether a population is one of these.
    pub fn fits(c: &Constants<T>) -> bool {
        c.homogeneous && !c.holds
    }

    /// Plays one sample; spikes are appended to `out`, sorted by (time, unit).
    pub fn run(
        &mut self,
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        self.begin(c, afferents.len());
        self.go_on(simd, c, afferents, (f64::INFINITY, f64::INFINITY), limits, out)
    }

    /// At 0 ms, nothing heard.
    pub fn begin(&mut self, c: &Constants<T>, n_afferents: usize) {
        self.rows.clear();
        self.heard.clear();
        self.heard.resize(n_afferents, 0);
        (self.past, self.now) = (0, 0.0);
        self.state.reset(c);
    }

    /// Up to when all spikes are known (those at that very time may not be), ms.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Hears what is new in the trains and plays the rows up to `last` that lie before `before`; if both are infinite, to
    /// the end of the trial. Nothing depends on where a sample is cut: a step is always from row to row.
    pub fn go_on(
        &mut self,
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        (last, before): (f64, f64),
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        more_rows(afferents, &self.heard, limits.duration, self.past, &mut self.buckets, &mut self.rows);
        for (heard, a) in self.heard.iter_mut().zip(afferents) {
            *heard = a.train.len();
        }
        let end = (last.smaller(before) == f64::INFINITY).then_some(limits.duration);
        let ahead = &self.rows[self.past..];
        let ahead = &ahead[..ahead.partition_point(|row| row.time <= last && row.time < before)];
        if ahead.is_empty() && end.is_none() {
            return Ok(());
        }
        self.spans.fill(simd, c, self.now, ahead, end);
        let steps = Steps { from: self.now, rows: ahead, end };
        let dense = |a: &Afferent<'_, T>| *a.synapses.connectivity == Connectivity::Dense;
        if c.padded() == LANES && afferents.iter().all(dense) {
            play_few(simd, simd, c, afferents, steps, &self.spans, &mut self.state, limits, out)?;
        } else {
            play(simd, simd, c, afferents, steps, &self.spans, &mut self.state, limits, out)?;
        }
        self.now = end.or(ahead.last().map(|row| row.time)).unwrap_or(self.now);
        self.past += ahead.len();
        Ok(())
    }
}

/// Rows to be played from a time on.
#[derive(Debug, Clone, Copy)]
struct Steps<'a> {
    from: f64,
    rows: &'a [RowArrival],
    /// The end of the trial, if that is to be reached.
    end: Option<f64>,
}

impl Steps<'_> {
    /// Where step `k` ends, and the row that arrives there.
    #[inline(always)]
    fn step(&self, k: usize) -> Option<(f64, Option<&RowArrival>)> {
        match self.rows.get(k) {
            Some(row) => Some((row.time, Some(row))),
            None => self.end.map(|end| (end, None)),
        }
    }
}

vectorised! {
    /// From row to row.
    fn play<T>(
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        steps: Steps<'_>,
        spans: &Spans<T>,
        state: &mut State<T>,
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        let late = c.once && !limits.until_fired;
        let mut now = steps.from;
        let mut any = true;
        for k in 0..=steps.rows.len() {
            // A population in which every neuron has had its only spike is done, or its first, where only that counts.
            if state.spent == c.n || (limits.until_fired && state.silent == 0) {
                break;
            }
            let Some((until, row)) = steps.step(k) else { break };
            let mut row = row.map(|row| afferents[row.afferent as usize].synapses.row(row.sender as usize));
            if until > now {
                let (d, p) = spans.of(k);
                let State { spent, u, i, u0, i0, nothing, suspect, late: notes, .. } = &mut *state;
                std::mem::swap(u, u0);
                std::mem::swap(i, i0);
                let span = d * c.inv_mem[0];
                let fused = row.as_ref().filter(|row| row.targets.is_none());
                let add = fused.map_or(&nothing[..], |row| row.weight);
                if any || shared_lanes(c.n, p, span, &c.guard, add, u0, i0, u, i) {
                    any = pass(p, span, &c.theta, &c.kappa_max, &c.i_gate, u0, i0, u, i, suspect);
                } else {
                    row = row.filter(|row| row.targets.is_some());
                }
                if any && late {
                    if notes.is_full() {
                        *spent += settle(simd, c, notes, u, limits, out)?;
                    }
                    *spent += notes.note(c, (now, until, d), suspect, u0, i0, u);
                } else if any {
                    play_suspects(c, (now, until, d), state, limits, out)?;
                }
                now = until;
            }
            match row.map(|row| (row.targets, row.weight)) {
                None => {}
                Some((None, weight)) => {
                    for (i, &w) in state.i.iter_mut().zip(weight) {
                        *i += w;
                    }
                }
                Some((Some(targets), weight)) => {
                    for (&target, &w) in targets.iter().zip(weight) {
                        state.i[target as usize] += w;
                    }
                }
            }
        }
        if late {
            state.spent += settle(simd, c, &mut state.late, &mut state.u, limits, out)?;
        }
        Ok(())
    }
}

vectorised! {
    /// [`play`] for a population that fits one vector and hears all of its senders densely: while nothing is suspect,
    /// the state stays in registers.
    fn play_few<T>(
        simd: Simd,
        c: &Constants<T>,
        afferents: &[Afferent<'_, T>],
        steps: Steps<'_>,
        spans: &Spans<T>,
        state: &mut State<T>,
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<()> {
        let eight = |column: &[T]| {
            let mut lanes = [T::ZERO; LANES];
            lanes.copy_from_slice(&column[..LANES]);
            lanes
        };
        let (theta, kappa_max, gate) = (eight(&c.theta), eight(&c.kappa_max), eight(&c.i_gate));
        let mut few = Few { u: eight(&state.u), i: eight(&state.i) };
        let late = c.once && !limits.until_fired;
        let mut now = steps.from;
        for k in 0..=steps.rows.len() {
            if state.spent == c.n || (limits.until_fired && state.silent == 0) {
                break;
            }
            let Some((until, row)) = steps.step(k) else { break };
            if until > now {
                let (d, p) = spans.of(k);
                let Few { u: u0, i: i0 } = few;
                let mut suspect = [0u8; LANES];
                let any = pass_few(p, d * c.inv_mem[0], &theta, &kappa_max, &gate, &mut few.u, &mut few.i, &mut suspect);
                if any && late {
                    if state.late.is_full() {
                        state.spent += settle(simd, c, &mut state.late, &mut few.u, limits, out)?;
                    }
                    state.spent += state.late.note(c, (now, until, d), &suspect, &u0, &i0, &mut few.u);
                } else if any {
                    state.u.copy_from_slice(&few.u);
                    state.i.copy_from_slice(&few.i);
                    state.u0.copy_from_slice(&u0);
                    state.i0.copy_from_slice(&i0);
                    state.suspect.copy_from_slice(&suspect);
                    play_suspects(c, (now, until, d), state, limits, out)?;
                    few = Few { u: eight(&state.u), i: eight(&state.i) };
                }
                now = until;
            }
            let Some(row) = row else { break };
            let synapses = &afferents[row.afferent as usize].synapses;
            let start = row.sender as usize * synapses.n_post;
            // The lanes beyond the population's size may take anything that is finite: they have no threshold.
            if let Some(weight) = synapses.weight.get(start..start + LANES) {
                for (i, &w) in few.i.iter_mut().zip(weight) {
                    *i += w;
                }
            } else {
                for (i, &w) in few.i.iter_mut().zip(&synapses.weight[start..]) {
                    *i += w;
                }
            }
        }
        if late {
            state.spent += settle(simd, c, &mut state.late, &mut few.u, limits, out)?;
        }
        state.u.copy_from_slice(&few.u);
        state.i.copy_from_slice(&few.i);
        Ok(())
    }
}

/// A state of one vector. Aligned: one that lies across two cache lines is slow to be read again after it was stored.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Few<T> {
    u: [T; LANES],
    i: [T; LANES],
}

/// [`pass`] over one vector.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pass_few<T: Real>(
    p: Propagator<T>,
    span: T,
    theta: &[T; LANES],
    kappa_max: &[T; LANES],
    gate: &[T; LANES],
    u: &mut [T; LANES],
    i: &mut [T; LANES],
    suspect: &mut [u8; LANES],
) -> bool {
    for l in 0..LANES {
        let (a, b) = (u[l], i[l]);
        let (end_u, end_i) = (a * p.mem + b * p.kappa, b * p.syn);
        let may = may_cross(a, b, span, theta[l], kappa_max[l], gate[l]);
        suspect[l] = u8::from(may & !settled(b, end_u, end_i, theta[l]));
        u[l] = end_u;
        i[l] = end_i;
    }
    u64::from_ne_bytes(*suspect) != 0
}

/// All lanes from `(u0, i0)` to the end of a step, and who may have crossed: whether any. Every column is an argument of its
/// own: arguments do not alias, which the compiler must know to use vectors.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn pass<T: Real>(
    p: Propagator<T>,
    span: T,
    theta: &[T],
    kappa_max: &[T],
    gate: &[T],
    u0: &[T],
    i0: &[T],
    u1: &mut [T],
    i1: &mut [T],
    suspect: &mut [u8],
) -> bool {
    let n = u0.len();
    let (theta, kappa_max, gate) = (&theta[..n], &kappa_max[..n], &gate[..n]);
    let (i0, u1, i1, suspect) = (&i0[..n], &mut u1[..n], &mut i1[..n], &mut suspect[..n]);
    let mut any = 0;
    for l in 0..n {
        let (u, i) = (u0[l], i0[l]);
        let (end_u, end_i) = (u * p.mem + i * p.kappa, i * p.syn);
        let may = may_cross(u, i, span, theta[l], kappa_max[l], gate[l]);
        suspect[l] = u8::from(may & !settled(i, end_u, end_i, theta[l]));
        any |= suspect[l];
        (u1[l], i1[l]) = (end_u, end_i);
    }
    any != 0
}

/// Finds the spikes of the suspects of one step, resets them, and leaves their states at the end of the step.
#[inline(always)]
fn play_suspects<T: Real>(
    c: &Constants<T>,
    (now, until, d): (f64, f64, T),
    state: &mut State<T>,
    limits: &Limits<'_>,
    out: &mut Vec<Spike<T>>,
) -> Result<()> {
    let State { spent, silent, fired, u, i, u0, i0, suspect, roots, order, .. } = state;
    let before = out.len();
    roots.clear(suspect.len());
    for_each(suspect, |l| {
        roots.ask(Problem { lane: l as u32, start: now, end: until, d, u: u0[l], i: i0[l], theta: c.theta[l] });
    });
    let shared = c.neuron(0);
    while !roots.is_empty() {
        let mut again = 0;
        roots.solve(c);
        for k in 0..roots.len() {
            let Some(Crossing { lane: unit, time, current, .. }) = roots.answer(k) else { continue };
            let lane = unit as usize;
            out.push(Spike { time, unit, current });
            if limits.until_fired {
                *silent -= usize::from(!std::mem::replace(&mut fired[lane], true));
            }
            let neuron = c.neuron(lane);
            if neuron.t_ref == f64::INFINITY {
                // Its only spike: from -infinity no sum of arrivals ever reaches the threshold again.
                u[lane] = -T::INFINITY;
                *spent += 1;
                continue;
            }
            let d = T::of(until - time);
            let (u, theta) = (neuron.u_reset, neuron.theta);
            roots.replace(again, Problem { lane: unit, start: time, end: until, d, u, i: current, theta });
            again += 1;
        }
        limits.check(out.len(), out.last().map_or(0.0, |s| s.time))?;
        // What is left of each span after the spike: to its end, and once more through the test.
        roots.flow(shared, again);
        let mut open = 0;
        for k in 0..again {
            let (problem, end_u, end_i) = roots.end(k);
            let lane = problem.lane as usize;
            u[lane] = end_u;
            i[lane] = end_i;
            let Problem { u, i, d, theta, .. } = problem;
            let may = may_cross(u, i, d * shared.inv_mem, theta, shared.kappa_max, c.i_gate[lane]);
            if d > T::ZERO && may && !settled(i, end_u, end_i, theta) {
                roots.replace(open, problem);
                open += 1;
            }
        }
        roots.keep(open);
    }
    order.sort(&mut out[before..]);
    Ok(())
}
