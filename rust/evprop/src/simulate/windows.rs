//! Components with delays of any kind: time goes on in short windows, and what arrives in one is summed up unsorted.
//!
//! A window of length `len` that begins in state `(u, i)` and takes in arrivals of weight `w` at `x` ends in
//!
//! ```text
//! u1 = u E_m(len) + i kappa(len) + sum w kappa(len - x)          i1 = i E_s(len) + sum w E_s(len - x)
//! ```
//!
//! whatever the order of the arrivals, if the neuron does not cross. With `P`, `N` at least the sums of the positive and of
//! the negative weights, it surely does not where its steepest rise does not reach the threshold,
//!
//! ```text
//! u + len/tau_mem ((i^+ + P) - u)^+ <= theta,
//! ```
//!
//! nor where it ends lower than it would if it had crossed, since after a crossing `u' >= (j - u)/tau_mem` with
//! `j = min(i, i E_s) - N` the least current:
//!
//! ```text
//! u1 < theta - len/tau_mem (theta - j)^+.
//! ```
//!
//! So a spike adds its sums to the windows in which it arrives as soon as it sets out
//! ([`ring`]), and only for the few neurons that may cross are the single arrivals looked up ([`lookup`]), sorted and
//! played one by one ([`Exact`]). Their spikes are taken in the order of time; a spike that arrives within the window is
//! given to its targets at once, and those it could still move are looked at again. So the result is that of playing every
//! event in order, and does not depend on the length of the windows but for rounding.
//!
//! Memory holds windows over the longest delay and the spikes, whatever the duration.
mod exact;
mod lookup;
mod notes;
mod ring;

use super::eventwise::{Member, Source};
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::{Real, Simd};
use crate::neuron::constants::Neuron;
use crate::neuron::modes::growths;
use crate::neuron::series::{Series, Whole};
use crate::record::inlets::{BLOCK, Inlets, SLAB};
use crate::vectorised;
use exact::{Exact, Fired};
use lookup::{Lookup, Sent};
use ring::{Departure, Departures, Falls, Ring};

/// Constants of all lanes, column by column.
#[derive(Debug, Clone, Default)]
struct Columns<T> {
    neurons: Vec<Neuron<T>>,
    /// Infinite once a neuron has had its only spike.
    theta: Vec<T>,
    /// The length of a window over tau_mem.
    span: Vec<T>,
    whole: Whole<T>,
    /// What a current was, at most, that many times larger when it came in than at the end of its window.
    growth: Vec<T>,
    /// By block: what makes additions to `u` and `i` of those to modes.
    fades: Vec<Fade<T>>,
}

/// Of two modes at the end of a window: what they have lost since the instant that they refer to, and gamma; where sums are no modes, 1
/// and 0.
#[derive(Debug, Clone, Copy)]
struct Fade<T> {
    modes: [T; 2],
    gamma: T,
}

/// States of all lanes at the start and at the end of a window.
#[derive(Debug, Clone, Default)]
struct States<T> {
    u: Vec<T>,
    i: Vec<T>,
    end_u: Vec<T>,
    end_i: Vec<T>,
    /// Sums of the positive and of the negative weights.
    up: Vec<T>,
    down: Vec<T>,
    /// 1 where the neuron may cross.
    suspect: Vec<u8>,
}

/// Reusable storage.
#[derive(Debug, Clone, Default)]
pub struct Windows<T: Real> {
    columns: Columns<T>,
    states: States<T>,
    series: Series<T>,
    ring: Ring<T>,
    lookup: Lookup<T>,
    exact: Exact<T>,
    /// By inlet.
    sent: Vec<Sent<T::Ticks>>,
    /// Until when V is held, ms.
    hold: Vec<f64>,
    /// Lanes that are held for a while.
    holding: Vec<u32>,
    late: Vec<u32>,
    /// Of spikes that set out: from the instant that modes refer to, and the same in both modes.
    spans: Vec<f64>,
    growth: Vec<[T; 2]>,
    falls: Falls<T>,
}

/// What one sample is played with.
#[derive(Debug, Clone, Copy)]
pub struct Play<'a, T: Real> {
    /// Vector width.
    pub simd: Simd,
    /// The component's populations.
    pub members: &'a [Member<'a, T>],
    /// Synapses into them.
    pub inlets: &'a Inlets<'a, T>,
    /// By inlet: the sending member, or the spikes of a population outside.
    pub sources: &'a [Source<'a>],
    /// By member.
    pub limits: &'a [Limits<'a>],
}

/// A window in time.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Its number.
    number: usize,
    /// Begin, ms.
    start: f64,
    /// Length, ms: the trial may end within the last one.
    len: f64,
}

impl<T: Real> Columns<T> {
    fn fill(&mut self, members: &[Member<'_, T>], step: f64) {
        self.neurons.clear();
        for member in members {
            self.neurons.extend((0..member.constants.n).map(|i| *member.constants.neuron(i)));
            let last = self.neurons[self.neurons.len() - 1];
            let silent = Neuron { theta: T::INFINITY, u_reset: T::ZERO, u_init: T::ZERO, t_ref: 0.0, ..last };
            self.neurons.resize(self.neurons.len().next_multiple_of(BLOCK), silent);
        }
        let Self { neurons, theta, span, whole, growth, fades } = self;
        whole.fill(neurons, step);
        growth.clear();
        growth.extend(whole.syn.iter().map(|&syn| T::ONE / (T::ONE + syn)));
        fades.clear();
        fades.resize(neurons.len() / BLOCK, Fade { modes: [T::ONE; 2], gamma: T::ZERO });
        let step = T::of(step);
        let set = |column: &mut Vec<T>, f: &dyn Fn(&Neuron<T>) -> T| {
            column.clear();
            column.extend(neurons.iter().map(f));
        };
        set(theta, &|c| c.theta);
        set(span, &|c| step * c.inv_mem);
    }

    /// Makes ready for a window that ends `span` ms after the instant that modes refer to.
    fn fade(&mut self, inlets: &Inlets<'_, T>, span: f64) {
        for (m, pace) in inlets.paces.iter().enumerate() {
            if let Some(pace) = pace {
                let fade = Fade { modes: pace.decay(span), gamma: T::of(pace.gamma) };
                self.fades[inlets.blocks(m)].fill(fade);
            }
        }
    }

    /// Whether no neuron ever crosses if nothing arrives: `u^+ + i^+ kappa_max <= theta` for all.
    fn at_rest(&self, states: &States<T>) -> bool {
        let margin = T::ONE + T::of(64.0) * T::EPSILON;
        let quiet = |((c, &theta), (&u, &i)): ((&Neuron<T>, &T), (&T, &T))| {
            theta > T::ZERO && (u.larger(T::ZERO) + i.larger(T::ZERO) * c.kappa_max) * margin <= theta
        };
        self.neurons.iter().zip(&self.theta).zip(states.u.iter().zip(&states.i)).all(quiet)
    }
}

impl<T: Real> States<T> {
    fn reset(&mut self, columns: &Columns<T>) {
        self.u.clear();
        self.u.extend(columns.neurons.iter().map(|c| c.u_init));
        let n = self.u.len();
        let Self { i, end_u, end_i, up, down, .. } = self;
        i.clear();
        for column in [i, end_u, end_i, up, down] {
            column.resize(n, T::ZERO);
        }
        self.suspect.clear();
        self.suspect.resize(n, 0);
    }

    /// Lets `span` ms pass in which nothing happens.
    fn pass(&mut self, columns: &Columns<T>, span: f64) {
        for (c, (u, i)) in columns.neurons.iter().zip(self.u.iter_mut().zip(&mut self.i)) {
            let p = c.propagator(T::of(span));
            (*u, *i) = (*u * p.mem + *i * p.kappa, *i * p.syn);
        }
    }
}

impl<T: Real> Windows<T> {
    /// Plays one sample; `out[m]` receives the spikes of member `m`, sorted by (time, unit).
    pub fn run(&mut self, play: &Play<'_, T>, out: &mut [Vec<Spike<T>>]) -> Result<()> {
        let duration = play.limits[0].duration;
        let grid = play.inlets.grid;
        self.columns.fill(play.members, grid.step);
        self.series.fill(&self.columns.neurons, grid.step);
        self.states.reset(&self.columns);
        let lanes = self.columns.neurons.len();
        let windows = (duration / grid.step).ceil() as usize;
        self.ring.reset(play.inlets.windows, lanes);
        self.sent.resize_with(play.sources.len(), Sent::default);
        for (sent, inlet) in self.sent.iter_mut().zip(&play.inlets.all) {
            sent.reset(inlet.noted());
        }
        self.hold.clear();
        self.hold.resize(lanes, 0.0);
        self.holding.clear();
        let mut number = 0;
        let mut slab_end = 0;
        while number < windows {
            if number == slab_end {
                play.limits[0].look_up()?;
                if self.holding.is_empty() && self.ring.filled <= number && self.columns.at_rest(&self.states) {
                    let next = grid.window(next_time(play.sources, &self.sent).min(duration)).min(windows);
                    if next > number {
                        self.states.pass(&self.columns, grid.start(next) - grid.start(number));
                        number = next;
                    }
                }
                slab_end = number + SLAB;
                self.advance(play, number);
                self.admit(play, number, slab_end, duration, out);
            }
            let (start, end) = (grid.start(number), grid.start(number + 1).min(duration));
            if end > start {
                self.window(play, Window { number, start, len: end - start }, out)?;
            }
            number += 1;
        }
        for spikes in out.iter_mut() {
            if !spikes.is_sorted_by(|a, b| (a.time, a.unit) <= (b.time, b.unit)) {
                spikes.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
            }
        }
        Ok(())
    }

    /// Windows before `now` are over: the ring may turn, and modes refer to a later instant then.
    fn advance(&mut self, play: &Play<'_, T>, now: usize) {
        let passed = self.ring.advance(now, play.inlets.turns);
        if passed > 0 {
            let span = passed as f64 * play.inlets.grid.step;
            for (m, pace) in play.inlets.paces.iter().enumerate() {
                let Some(pace) = pace else { continue };
                let decay = pace.decay(span);
                for block in play.inlets.blocks(m) {
                    self.ring.fade(block * BLOCK, decay);
                }
            }
        }
    }

    /// Takes in the spikes from outside that set out before window `end`, and forgets those that have arrived before `now`.
    fn admit(&mut self, play: &Play<'_, T>, now: usize, end: usize, duration: f64, out: &[Vec<Spike<T>>]) {
        let grid = play.inlets.grid;
        let (start, end) = (grid.start(now), grid.start(end).min(duration));
        let origin = grid.start(self.ring.origin);
        for ((inlet, source), sent) in play.inlets.all.iter().zip(play.sources).zip(&mut self.sent) {
            // A window's worth of slack, for rounding.
            let over = |t: f64| t + inlet.longest + grid.step < start;
            match *source {
                Source::Outside(train) => {
                    let new = train.times[sent.len()..].iter().take_while(|&&t| t < end).count();
                    let own = sent.len()..sent.len() + new;
                    sent.make_room(new);
                    for k in own.clone() {
                        sent.push(grid.ticks_from::<T>(train.times[k], now), train.units[k]);
                    }
                    self.growth.clear();
                    if let Some(pace) = inlet.pace() {
                        self.spans.clear();
                        self.spans.extend(train.times[own.clone()].iter().map(|&t| (t - origin).max(0.0)));
                        growths(play.simd, pace, &self.spans, &mut self.growth);
                    }
                    let (ticks, units) = (&sent.ticks[own.clone()], &train.units[own.clone()]);
                    let fresh = Departures { first: own.start, ticks, units, growth: &self.growth };
                    if let Some(&last) = fresh.ticks.last() {
                        self.ring.reach(now, last, inlet);
                    }
                    ring::admit(
                        play.simd,
                        &mut self.ring,
                        &self.series,
                        inlet,
                        fresh,
                        &mut self.falls,
                        &mut sent.notes,
                    );
                    while sent.first < sent.len() && over(train.times[sent.first]) {
                        sent.first += 1;
                    }
                }
                Source::Member(m) => {
                    while sent.first < sent.len() && over(out[m][sent.first].time) {
                        sent.first += 1;
                    }
                }
            }
        }
    }

    fn window(&mut self, play: &Play<'_, T>, window: Window, out: &mut [Vec<Spike<T>>]) -> Result<()> {
        let Self { columns, states, ring, exact, hold, holding, .. } = self;
        let grid = play.inlets.grid;
        columns.fade(play.inlets, grid.start(window.number + 1) - grid.start(ring.origin));
        evaluate(play.simd, columns, ring, window.number, states);
        exact.clear();
        holding.retain(|&lane| hold[lane as usize] > window.start);
        for &lane in holding.iter() {
            states.suspect[lane as usize] = 1;
        }
        for first in (0..self.states.suspect.len()).step_by(8) {
            let eight = &self.states.suspect[first..first + 8];
            if eight.iter().fold(0, |any, &s| any | s) != 0 {
                for lane in first..first + 8 {
                    if self.states.suspect[lane] != 0 {
                        self.take(play, lane, &window, out);
                    }
                }
            }
        }
        while let Some(fired) = self.exact.fire(&self.columns.neurons, &mut self.hold, &window) {
            self.spike(play, &window, fired, out)?;
        }
        let Self { states, exact, .. } = self;
        exact.ends(|lane, u, i| (states.end_u[lane], states.end_i[lane]) = (u, i));
        std::mem::swap(&mut states.u, &mut states.end_u);
        std::mem::swap(&mut states.i, &mut states.end_i);
        Ok(())
    }

    /// Plays a lane one by one from the window's start on.
    fn take(&mut self, play: &Play<'_, T>, lane: usize, window: &Window, out: &[Vec<Spike<T>>]) {
        let Self { columns, states, lookup, exact, sent, hold, ring, .. } = self;
        // Most lanes that are played do spike.
        let m = play.inlets.member(lane);
        for (inlet, source) in play.inlets.all.iter().zip(play.sources) {
            if matches!(source, Source::Member(member) if *member == m) {
                inlet.fetch(lane - play.inlets.base[m]);
            }
        }
        let arrivals = lookup.arrivals(play, lane, (window.number, ring.name(window.number)), sent, out);
        let start = exact::State { u: states.u[lane], i: states.i[lane], x: T::ZERO };
        exact.take(lane, &columns.neurons[lane], start, hold[lane], window, arrivals);
    }

    /// Records a spike and gives it to its targets.
    fn spike(
        &mut self,
        play: &Play<'_, T>,
        window: &Window,
        Fired { lane, time, x, current }: Fired<T>,
        out: &mut [Vec<Spike<T>>],
    ) -> Result<()> {
        let m = play.inlets.member(lane);
        let unit = (lane - play.inlets.base[m]) as u32;
        out[m].push(Spike { time, unit, current });
        play.limits[m].check(out[m].len(), time)?;
        let t_ref = self.columns.neurons[lane].t_ref;
        if t_ref == f64::INFINITY {
            self.columns.theta[lane] = T::INFINITY;
        } else if t_ref > 0.0 && !self.holding.contains(&(lane as u32)) {
            self.holding.push(lane as u32);
        }
        for (q, (inlet, source)) in play.inlets.all.iter().zip(play.sources).enumerate() {
            if !matches!(source, Source::Member(member) if *member == m) {
                continue;
            }
            let Self { ring, series, falls, late, sent, .. } = self;
            let sent = &mut sent[q];
            sent.make_room(1);
            late.clear();
            let ticks = play.inlets.grid.ticks_from::<T>(time, window.number);
            ring.reach(window.number, ticks, inlet);
            let since = (time - play.inlets.grid.start(ring.origin)).max(0.0);
            let growth = inlet.pace().map_or([T::ONE; 2], |pace| pace.growth(since));
            let spike = Departure { number: sent.len(), ticks, unit, growth, now: window.number };
            ring::spread(play.simd, ring, series, inlet, spike, falls, &mut sent.notes, late);
            // From here on it is found when a lane's arrivals are looked up.
            sent.push(ticks, unit);
            let late = std::mem::take(&mut self.late);
            let row = inlet.synapses.row(unit as usize);
            for &k in &late {
                let (k, delay) = (k as usize, row.delay_of(k as usize));
                if time + delay < play.limits[m].duration {
                    // From the crossing's own `x`: an arrival without delay comes at that very instant.
                    let arrival = (x + T::of(delay), row.weight[k]);
                    self.arrive_late(play, window, inlet.base + row.target(k), arrival, out);
                }
            }
            self.late = late;
        }
        Ok(())
    }

    /// An arrival within the window under way reaches a neuron that has been evaluated already.
    fn arrive_late(&mut self, play: &Play<'_, T>, window: &Window, lane: usize, (x, w): (T, T), out: &[Vec<Spike<T>>]) {
        let Self { columns, states, exact, .. } = self;
        let c = &columns.neurons[lane];
        if exact.arrive(lane, c, x, w, window) {
            return;
        }
        let p = c.propagator(T::of(play.inlets.grid.step) - x);
        states.end_u[lane] += w * p.kappa;
        states.end_i[lane] += w * p.syn;
        states.up[lane] += w.larger(T::ZERO);
        states.down[lane] += (-w).larger(T::ZERO);
        let (u, i) = (states.u[lane], states.i[lane]);
        let sums = (states.up[lane], states.down[lane]);
        let (decay, span, theta) = (columns.whole.syn[lane], columns.span[lane], columns.theta[lane]);
        if suspicious(u, i, decay, span, sums, states.end_u[lane], theta) {
            self.take(play, lane, window, out);
        }
    }
}

/// When the next spike from outside sets out.
fn next_time<K>(sources: &[Source<'_>], sent: &[Sent<K>]) -> f64 {
    let next = |(source, sent): (&Source<'_>, &Sent<K>)| match source {
        Source::Outside(train) => train.times.get(sent.len()).copied(),
        Source::Member(_) => None,
    };
    sources.iter().zip(sent).filter_map(next).fold(f64::INFINITY, f64::min)
}

/// Whether a neuron may cross within a window: false only if it surely does not. `decay`: `E_s - 1`.
#[inline(always)]
fn suspicious<T: Real>(u: T, i: T, decay: T, span_over_tau: T, (up, down): (T, T), end_u: T, theta: T) -> bool {
    let rounding = T::of(64.0) * T::EPSILON * (u.abs() + i.abs() + up + down);
    let rise = span_over_tau * ((i.larger(T::ZERO) + up) - u).larger(T::ZERO);
    let may = u + rise + rounding > theta;
    let least = i.smaller(i + i * decay) - down;
    let lost = span_over_tau * (theta - least).larger(T::ZERO);
    may & (end_u + lost + rounding > theta)
}

type Lane<T> = [T; BLOCK];

#[inline(always)]
fn lanes<T: Real>(column: &[T], first: usize) -> Lane<T> {
    let mut own = [T::ZERO; BLOCK];
    own.copy_from_slice(&column[first..first + BLOCK]);
    own
}

vectorised! {
    /// All lanes over one window, whose cells are emptied.
    fn evaluate<T>(c: &Columns<T>, ring: &mut Ring<T>, number: usize, states: &mut States<T>) {
        for first in (0..states.u.len()).step_by(BLOCK) {
            let cells = ring.block(first, number);
            let [sums_u, sums_i, _, sums_above] = T::columns(cells);
            *cells = [[T::ZERO; 4]; BLOCK];
            let (u, i) = (lanes(&states.u, first), lanes(&states.i, first));
            let (mem, syn) = (lanes(&c.whole.mem, first), lanes(&c.whole.syn, first));
            let kappa = lanes(&c.whole.kappa, first);
            let (span, theta) = (lanes(&c.span, first), lanes(&c.theta, first));
            let growth = lanes(&c.growth, first);
            let Fade { modes: [of_u, of_i], gamma } = c.fades[first / BLOCK];
            // Into vectors of their own: where they might lie over one another, the compiler keeps all of them in memory.
            let [mut end_u, mut end_i, mut up, mut down] = [[T::ZERO; BLOCK]; 4];
            let mut suspect = [0; BLOCK];
            for l in 0..BLOCK {
                let more_i = sums_i[l] * of_i;
                let more_u = sums_u[l] * of_u - gamma * more_i;
                let above = sums_above[l] * of_i;
                let below = (above - more_i).larger(T::ZERO) * growth[l];
                let above = above * growth[l];
                end_u[l] = u[l] + (u[l] * mem[l] + i[l] * kappa[l]) + more_u;
                end_i[l] = i[l] + i[l] * syn[l] + more_i;
                (up[l], down[l]) = (above, below);
                suspect[l] = u8::from(suspicious(u[l], i[l], syn[l], span[l], (above, below), end_u[l], theta[l]));
            }
            let own = first..first + BLOCK;
            states.end_u[own.clone()].copy_from_slice(&end_u);
            states.end_i[own.clone()].copy_from_slice(&end_i);
            states.up[own.clone()].copy_from_slice(&up);
            states.down[own.clone()].copy_from_slice(&down);
            states.suspect[own].copy_from_slice(&suspect);
        }
    }
}
