//! Components with delays of any kind: arrivals are gathered into short windows, neuron by neuron, mostly unsorted.
//!
//! A window of length `len` that begins in state `(u, i)` and takes in arrivals of weight `w` at `x` ends in
//!
//! ```text
//! u1 = u E_m(len) + i kappa(len) + sum w kappa(len - x)          i1 = i E_s(len) + sum w E_s(len - x)
//! ```
//!
//! whatever the order of the arrivals, if the neuron does not cross. With `P`, `N` the sums of the positive and of the
//! negative weights, it surely does not where its steepest rise does not reach the threshold,
//!
//! ```text
//! u + len/tau_mem ((i^+ + P) - u)^+ <= theta,
//! ```
//!
//! nor where it rises throughout and ends below: `min(i, i E_s) - N > theta` (then `u' > 0` as long as `u <= theta`)
//! and `u1 <= theta`. Only the few other neurons have their arrivals sorted and played one by one ([`Exact`]).
//! Their spikes are taken in the order of time; a spike that arrives within the window is given to its targets at once,
//! and those it could still move are looked at again. So the result is that of playing every event in order, and
//! does not depend on the length of the windows but for rounding.
//!
//! Windows are filled a slab of several at a time, from the rows of [`Deliveries`], where what a spike brings within a
//! slab is one run. Memory holds the spikes under way and one slab of arrivals, whatever the duration.
mod exact;
mod lists;

use super::eventwise::Member;
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::{Real, Simd};
use crate::neuron::constants::Neuron;
use crate::neuron::flow::propagator;
use crate::record::deliveries::Deliveries;
use crate::vectorised;
use exact::{Exact, Fired};
use lists::{Lists, Live};

/// Lanes of a block; lanes are padded to a multiple of it.
const BLOCK: usize = 16;

/// Windows of a slab.
const WINDOWS: usize = 16;

/// Arrivals a window shall hold, about.
const ARRIVALS: f64 = 4.0;

/// Constants of all lanes, column by column.
#[derive(Debug, Clone, Default)]
struct Columns<T> {
    neurons: Vec<Neuron<T>>,
    inv_mem: Vec<T>,
    inv_slow: Vec<T>,
    rate: Vec<T>,
    gain: Vec<T>,
    lin: Vec<T>,
    mem_slow: Vec<T>,
    /// Infinite once a neuron has had its only spike.
    theta: Vec<T>,
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
pub struct Windows<T> {
    columns: Columns<T>,
    states: States<T>,
    lists: Lists<T>,
    live: Vec<Live>,
    exact: Exact<T>,
    /// Until when V is held, ms.
    hold: Vec<f64>,
    /// Lanes that are held for a while.
    holding: Vec<u32>,
}

/// What one sample is played with.
#[derive(Debug, Clone, Copy)]
pub struct Play<'a, T> {
    /// Vector width.
    pub simd: Simd,
    /// The component's populations.
    pub members: &'a [Member<'a, T>],
    /// Synapses into them.
    pub deliveries: &'a Deliveries<T>,
    /// By inlet of the deliveries: the sending member, or the spikes of a population outside.
    pub sources: &'a [super::eventwise::Source<'a>],
    /// By member.
    pub limits: &'a [Limits<'a>],
}

/// A window in time.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// Its number in the slab.
    index: usize,
    /// Begin, ms.
    start: f64,
    /// Length, ms.
    len: f64,
    /// End of its slab, ms.
    slab_end: f64,
}

impl<T: Real> Columns<T> {
    fn fill(&mut self, members: &[Member<'_, T>]) {
        self.neurons.clear();
        for member in members {
            self.neurons.extend((0..member.constants.n).map(|i| *member.constants.neuron(i)));
        }
        let last = self.neurons[self.neurons.len() - 1];
        let silent = Neuron { theta: T::INFINITY, u_reset: T::ZERO, u_init: T::ZERO, t_ref: 0.0, ..last };
        self.neurons.resize(self.neurons.len().next_multiple_of(BLOCK), silent);
        let Self { neurons, inv_mem, inv_slow, rate, gain, lin, mem_slow, theta } = self;
        let set = |column: &mut Vec<T>, f: fn(&Neuron<T>) -> T| {
            column.clear();
            column.extend(neurons.iter().map(f));
        };
        set(inv_mem, |c| c.inv_mem);
        set(inv_slow, |c| c.inv_slow);
        set(rate, |c| c.rate);
        set(gain, |c| c.gain);
        set(lin, |c| c.lin);
        set(mem_slow, |c| if c.mem_slow { T::ONE } else { T::ZERO });
        set(theta, |c| c.theta);
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
}

impl<T: Real> Windows<T> {
    /// Plays one sample; `out[m]` receives the spikes of member `m`, sorted by (time, unit).
    pub fn run(&mut self, play: &Play<'_, T>, out: &mut [Vec<Spike<T>>]) -> Result<()> {
        let duration = play.limits[0].duration;
        self.columns.fill(play.members);
        self.states.reset(&self.columns);
        self.live.clear();
        self.hold.clear();
        self.hold.resize(self.columns.neurons.len(), 0.0);
        self.holding.clear();
        let mut outside = lists::Outside::new(play);
        let len = self.window_length(play, duration);
        self.lists.reset(WINDOWS, self.columns.neurons.len());
        let mut now = 0.0;
        while now < duration {
            play.limits[0].look_up()?;
            let next = outside.next_time().min(duration);
            let jump = self.live.is_empty()
                && self.holding.is_empty()
                && next > now + len
                && self.columns.at_rest(&self.states);
            let (step, windows) = if jump { (next - now, 1) } else { (len, WINDOWS) };
            let slab_end = (now + step * windows as f64).min(duration);
            // The trial may end before the last window begins.
            let windows = (1..windows).find(|&w| now + step * w as f64 >= slab_end).unwrap_or(windows);
            self.lists.start_slab(now, step, windows);
            outside.admit(slab_end, &mut self.live);
            let Self { live, lists, .. } = self;
            lists::pull_all(play.simd, lists, play.deliveries, live, slab_end);
            for index in 0..windows {
                let start = now + step * index as f64;
                let end = if index + 1 == windows { slab_end } else { now + step * (index + 1) as f64 };
                self.window(play, Window { index, start, len: end - start, slab_end }, out)?;
            }
            now = slab_end;
        }
        for spikes in out.iter_mut() {
            if !spikes.is_sorted_by(|a, b| (a.time, a.unit) <= (b.time, b.unit)) {
                spikes.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
            }
        }
        Ok(())
    }

    /// So long that a neuron takes in some arrivals, so short that its state does not change much.
    fn window_length(&self, play: &Play<'_, T>, duration: f64) -> f64 {
        let arrivals = lists::outside_arrivals(play) as f64;
        let shortest =
            self.columns.neurons.iter().map(|c| c.tau_mem.f64().min(c.tau_syn.f64())).fold(f64::MAX, f64::min);
        let per_ms = arrivals / (play.deliveries.lanes as f64 * duration);
        (ARRIVALS / per_ms).min(shortest / 4.0).min(duration)
    }

    fn window(&mut self, play: &Play<'_, T>, window: Window, out: &mut [Vec<Spike<T>>]) -> Result<()> {
        let Self { columns, states, lists, exact, hold, holding, .. } = self;
        evaluate(play.simd, T::of(window.len), columns, lists.window(window.index), states);
        exact.clear();
        holding.retain(|&lane| hold[lane as usize] > window.start);
        for &lane in holding.iter() {
            states.suspect[lane as usize] = 1;
        }
        for first in (0..states.suspect.len()).step_by(8) {
            let eight = &states.suspect[first..first + 8];
            if eight.iter().fold(0, |any, &s| any | s) != 0 {
                for lane in (first..first + 8).filter(|&l| states.suspect[l] != 0) {
                    let start = exact::State { u: states.u[lane], i: states.i[lane], x: T::ZERO };
                    exact.take(lane, &columns.neurons[lane], start, hold[lane], &window, lists);
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

    /// Records a spike and delivers what it brings within the slab.
    fn spike(
        &mut self,
        play: &Play<'_, T>,
        window: &Window,
        Fired { lane, time, x, current }: Fired<T>,
        out: &mut [Vec<Spike<T>>],
    ) -> Result<()> {
        let deliveries = play.deliveries;
        let m = deliveries.base.partition_point(|&base| base <= lane) - 1;
        let unit = (lane - deliveries.base[m]) as u32;
        out[m].push(Spike { time, unit, current });
        play.limits[m].check(out[m].len(), time)?;
        let t_ref = self.columns.neurons[lane].t_ref;
        if t_ref == f64::INFINITY {
            self.columns.theta[lane] = T::INFINITY;
        } else if t_ref > 0.0 && !self.holding.contains(&(lane as u32)) {
            self.holding.push(lane as u32);
        }
        for (inlet, source) in deliveries.inlets.iter().zip(play.sources) {
            if !matches!(source, super::eventwise::Source::Member(member) if *member == m) {
                continue;
            }
            let mut live = Live::new(time, inlet, unit);
            let first = live.next;
            let goes_on = self.lists.pull(deliveries, &mut live, window.slab_end, window.index);
            // Those within this very window reach neurons that have been evaluated already.
            for k in first..live.next {
                let delay = deliveries.delay[k];
                if self.lists.place(time, delay, window.index) > window.index {
                    break;
                }
                // From the crossing's own `x`: an arrival without delay comes at that very instant.
                self.arrive_late(window, deliveries.lane[k] as usize, x + delay, deliveries.weight[k]);
            }
            if goes_on {
                self.live.push(live);
            }
        }
        Ok(())
    }

    /// An arrival within the window under way.
    fn arrive_late(&mut self, window: &Window, lane: usize, x: T, w: T) {
        let Self { columns, states, lists, exact, hold, .. } = self;
        let c = &columns.neurons[lane];
        if exact.arrive(lane, c, x, w, window) {
            return;
        }
        let len = T::of(window.len);
        let p = c.propagator(len - x);
        states.end_u[lane] += w * p.kappa;
        states.end_i[lane] += w * p.syn;
        states.up[lane] += w.larger(T::ZERO);
        states.down[lane] += (-w).larger(T::ZERO);
        let (u, i) = (states.u[lane], states.i[lane]);
        let decay = c.propagator(len).syn;
        let sums = (states.up[lane], states.down[lane]);
        if suspicious(u, i, decay, len * c.inv_mem, sums, states.end_u[lane], columns.theta[lane]) {
            let start = exact::State { u, i, x: T::ZERO };
            exact.take(lane, c, start, hold[lane], window, lists);
        }
    }
}

/// Whether a neuron may cross within a window: false only if it surely does not.
#[inline(always)]
fn suspicious<T: Real>(u: T, i: T, decay: T, span_over_tau: T, (up, down): (T, T), end_u: T, theta: T) -> bool {
    let rounding = T::of(64.0) * T::EPSILON * (u.abs() + i.abs() + up + down);
    let rise = span_over_tau * ((i.larger(T::ZERO) + up) - u).larger(T::ZERO);
    let may = u + rise + rounding > theta;
    let least = i.smaller(i * decay) - down;
    let rises = least - rounding > theta;
    may & !(rises & (end_u + rounding <= theta))
}

vectorised! {
    /// All lanes over one window.
    fn evaluate<T>(len: T, c: &Columns<T>, arrivals: lists::View<'_, T>, states: &mut States<T>) {
        let States { u, i, end_u, end_i, up, down, suspect } = states;
        for first in (0..u.len()).step_by(BLOCK) {
            let own = first..first + BLOCK;
            let block = Block {
                inv_mem: lanes(&c.inv_mem, first),
                inv_slow: lanes(&c.inv_slow, first),
                rate: lanes(&c.rate, first),
                gain: lanes(&c.gain, first),
                lin: lanes(&c.lin, first),
                mem_slow: lanes(&c.mem_slow, first),
                theta: lanes(&c.theta, first),
            };
            let sums = block.sum(len, &arrivals, first);
            let (u, i) = (lanes(u, first), lanes(i, first));
            let ends = block.end(len, &u, &i, &sums);
            end_u[own.clone()].copy_from_slice(&ends.u);
            end_i[own.clone()].copy_from_slice(&ends.i);
            up[own.clone()].copy_from_slice(&sums.up);
            down[own.clone()].copy_from_slice(&sums.down);
            suspect[own].copy_from_slice(&ends.suspect);
        }
    }
}

type Lane<T> = [T; BLOCK];

#[inline(always)]
fn lanes<T: Real>(column: &[T], first: usize) -> Lane<T> {
    let mut own = [T::ZERO; BLOCK];
    own.copy_from_slice(&column[first..first + BLOCK]);
    own
}

/// Constants of a block of lanes.
struct Block<T> {
    inv_mem: Lane<T>,
    inv_slow: Lane<T>,
    rate: Lane<T>,
    gain: Lane<T>,
    lin: Lane<T>,
    mem_slow: Lane<T>,
    theta: Lane<T>,
}

/// What the arrivals of a window add.
struct Sums<T> {
    u: Lane<T>,
    i: Lane<T>,
    up: Lane<T>,
    down: Lane<T>,
}

/// The end of a window.
struct Ends<T> {
    u: Lane<T>,
    i: Lane<T>,
    suspect: [u8; BLOCK],
}

impl<T: Real> Block<T> {
    #[inline(always)]
    fn sum(&self, len: T, arrivals: &lists::View<'_, T>, first: usize) -> Sums<T> {
        let zero = [T::ZERO; BLOCK];
        let mut sums = Sums { u: zero, i: zero, up: zero, down: zero };
        let (count, most) = arrivals.counts(first);
        for k in 0..most {
            let (x, w) = arrivals.row(k, first);
            let k = T::of(k as f64);
            for l in 0..BLOCK {
                let w = if k < count[l] { w[l] } else { T::ZERO };
                let (inv_slow, rate, gain, lin) = (self.inv_slow[l], self.rate[l], self.gain[l], self.lin[l]);
                let p = propagator(len - x[l], inv_slow, rate, gain, lin, self.mem_slow[l] > T::ZERO);
                sums.u[l] += w * p.kappa;
                sums.i[l] += w * p.syn;
                sums.up[l] += w.larger(T::ZERO);
                sums.down[l] += (-w).larger(T::ZERO);
            }
        }
        sums
    }

    #[inline(always)]
    fn end(&self, len: T, u: &Lane<T>, i: &Lane<T>, sums: &Sums<T>) -> Ends<T> {
        let mut ends = Ends { u: *u, i: *i, suspect: [0; BLOCK] };
        for l in 0..BLOCK {
            let (inv_slow, rate, gain, lin) = (self.inv_slow[l], self.rate[l], self.gain[l], self.lin[l]);
            let p = propagator(len, inv_slow, rate, gain, lin, self.mem_slow[l] > T::ZERO);
            ends.u[l] = u[l] * p.mem + i[l] * p.kappa + sums.u[l];
            ends.i[l] = i[l] * p.syn + sums.i[l];
            let sums = (sums.up[l], sums.down[l]);
            let span = len * self.inv_mem[l];
            ends.suspect[l] = u8::from(suspicious(u[l], i[l], p.syn, span, sums, ends.u[l], self.theta[l]));
        }
        ends
    }
}
