//! Components whose arrivals come in rows (no or axonal delays): all neurons advance side by side, from event to event.
//!
//! An event is a row of weights that arrives, or a release from refractoriness. One pass over the neurons takes them
//! all from event to event with one propagator, tests that none of them can have crossed on the way, and adds the row:
//!
//! ```text
//! u1 = u0 E_m + i0 kappa        i1 = i0 E_s + w        suspect: u0 + d/tau_mem (i0^+ - u0)^+ > theta
//! ```
//!
//! The test is sufficient for any sign of current and bias: `u' = (i - u)/tau_mem` only falls while `u` rises, and a
//! negative current only rises towards 0. A pass reads one pair of columns and writes another, so nothing is undone
//! where a suspect does cross: the earliest crossing becomes an event of its own, and the pass is made again up to
//! there. Order at one instant: all crossings, then all arrivals.
use super::eventwise::{Inlet, Member, Source};
use super::passes::{
    BLOCK, add_row, block_of, look, pass_each, pass_shared, stretch, suspects_in_columns, suspects_in_modes,
    take_and_look,
};
use super::queue::{Pending, Queue};
use super::suspects::for_each;
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::{Real, Simd, prefetch_all};
use crate::neuron::Constants;
use crate::neuron::crossing::first_crossing;
use crate::neuron::flow::{Propagator, Propagators};
use crate::neuron::modes::{Modes, gamma};
use crate::projection::{Row, RowDelay, Synapses};
use crate::record::arrivals::{Afferent, RowArrival, rows};
use crate::record::buckets::Buckets;
use std::ops::Range;

/// State of one member, as columns over its neurons.
#[derive(Debug, Clone, Default)]
struct Bank<T> {
    u: Vec<T>,
    i: Vec<T>,
    /// Where a pass writes.
    next_u: Vec<T>,
    next_i: Vec<T>,
    /// `theta` lowered by a margin for rounding; infinite while V is held.
    guard: Vec<T>,
    /// Neurons whose V is held for a while.
    held: Vec<u32>,
    /// By block of neurons: whether any may have crossed in the last pass.
    flags: Vec<bool>,
    /// In place of `u` and `i`, where time passes for all neurons alike and nobody spikes without being driven.
    modes: Option<Modes<T>>,
    /// What modes shrink by over the span of the last pass: `E_s` and `E_m`.
    taken: (T, T),
}

/// A neuron that is released from refractoriness.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Release {
    time: f64,
    member: usize,
    unit: u32,
}

/// A neuron that crosses.
#[derive(Debug, Clone, Copy)]
struct Fired<T> {
    time: f64,
    member: usize,
    unit: u32,
    /// Its synaptic current then.
    current: T,
}

/// Reusable storage.
#[derive(Debug, Clone, Default)]
pub struct Abreast<T> {
    banks: Vec<Bank<T>>,
    outside: Vec<RowArrival>,
    buckets: Buckets<RowArrival>,
    /// Over the spans between one row from outside and the next, where one neuron stands for all.
    between: Propagators<T>,
    inside: Queue,
    /// Latest first.
    releases: Vec<Release>,
    nothing: Vec<T>,
    suspects: Vec<u32>,
    fired: Vec<Fired<T>>,
}

/// A row on its way: who receives it, and its synapses.
struct Arriving<'a, T> {
    member: usize,
    row: Row<'a, T>,
}

/// What one sample is played with.
struct Play<'a, 'b, T> {
    simd: Simd,
    members: &'b [Member<'a, T>],
    inlets: &'b [Inlet<'a, T>],
    limits: &'b [Limits<'a>],
    duration: f64,
}

/// Whether all rows keep their order, so that [`Abreast::run`] can play the component.
pub fn fits<T>(inlets: &[Inlet<'_, T>]) -> bool {
    inlets.iter().all(|inlet| inlet.synapses.delay_kind.keeps_order())
}

/// By (time, unit): rounding may have put two crossings that were found one after the other at one instant.
fn sort<T: Real>(spikes: &mut [Spike<T>]) {
    if !spikes.is_sorted_by(|a, b| (a.time, a.unit) <= (b.time, b.unit)) {
        spikes.sort_unstable_by(|a, b| a.time.total_cmp(&b.time).then(a.unit.cmp(&b.unit)));
    }
}

impl<T: Real> Bank<T> {
    fn reset(&mut self, c: &Constants<T>) {
        let Self { u, i, next_u, next_i, guard, held, flags, modes, taken } = self;
        *taken = (T::ONE, T::ONE);
        flags.clear();
        flags.resize(c.n.div_ceil(BLOCK), false);
        guard.clear();
        guard.extend_from_slice(&c.guard[..c.n]);
        held.clear();
        let above_rest = c.theta[..c.n].iter().all(|&theta| theta > T::ZERO);
        if let Some(gamma) = gamma(c).filter(|_| above_rest) {
            let modes = modes.get_or_insert_default();
            modes.reset(c.n, -gamma);
            for unit in 0..c.n {
                modes.set(unit, (T::ZERO, c.neuron(unit).u_init));
            }
            return;
        }
        *modes = None;
        u.clear();
        u.extend((0..c.n).map(|unit| c.neuron(unit).u_init));
        i.clear();
        for column in [i, next_u, next_i] {
            column.resize(c.n, T::ZERO);
        }
    }

    /// `(u, i)` of a neuron.
    fn get(&self, l: usize) -> (T, T) {
        self.modes.as_ref().map_or_else(
            || (self.u[l], self.i[l]),
            |modes| {
                let (i, u) = modes.get(l);
                (u, i)
            },
        )
    }

    /// The same at the end of the last pass.
    fn after(&self, l: usize, current: impl FnOnce() -> T) -> (T, T) {
        self.modes.as_ref().map_or_else(
            || (self.next_u[l], current()),
            |modes| {
                let (i, u) = modes.after(l, self.taken);
                (u, i)
            },
        )
    }

    fn set(&mut self, l: usize, (u, i): (T, T)) {
        match &mut self.modes {
            Some(modes) => modes.set(l, (i, u)),
            None => (self.u[l], self.i[l]) = (u, i),
        }
    }

    /// Those of a block who may cross within span `d`.
    #[inline(always)]
    fn suspects(&self, simd: Simd, c: &Constants<T>, d: T, own: Range<usize>, mut visit: impl FnMut(usize)) {
        let (guard, mut may) = (&self.guard[own.clone()], [0; BLOCK]);
        match &self.modes {
            Some(modes) => suspects_in_modes(simd, d * c.inv_mem[0], guard, modes.parts(), own.start, &mut may),
            None => {
                let (u, i) = (&self.u[own.clone()], &self.i[own.clone()]);
                suspects_in_columns(simd, d, &c.inv_mem[own.clone()], guard, u, i, &mut may);
            }
        }
        for_each(&may, |l| visit(own.start + l));
    }

    /// What the last pass found is so.
    fn commit(&mut self, c: &Constants<T>) {
        if let Some(modes) = &mut self.modes {
            modes.flow(self.taken);
            return;
        }
        std::mem::swap(&mut self.u, &mut self.next_u);
        std::mem::swap(&mut self.i, &mut self.next_i);
        for &unit in &self.held {
            self.u[unit as usize] = c.neuron(unit as usize).u_reset;
        }
    }

    fn arrive(&mut self, simd: Simd, row: &Row<'_, T>) {
        if let Some(modes) = &mut self.modes {
            match row.targets {
                None => modes.add(simd, row.weight),
                Some(targets) => {
                    for (&target, &w) in targets.iter().zip(row.weight) {
                        let (i, u) = modes.get(target as usize);
                        modes.set(target as usize, (i + w, u));
                    }
                }
            }
            return;
        }
        match row.targets {
            None => add_row(simd, &mut self.i, row.weight),
            Some(targets) => {
                for (&target, &w) in targets.iter().zip(row.weight) {
                    self.i[target as usize] += w;
                }
            }
        }
    }
}

impl<T: Real> Abreast<T> {
    /// Plays one sample; `out[m]` receives the spikes of member `m`, sorted by (time, unit).
    pub fn run<'a>(
        &mut self,
        simd: Simd,
        members: &[Member<'a, T>],
        inlets: &[Inlet<'a, T>],
        limits: &[Limits<'a>],
        out: &mut [Vec<Spike<T>>],
    ) -> Result<()> {
        let play = Play { simd, members, inlets, limits, duration: limits[0].duration };
        let (outside, sources) = self.start(&play);
        let mut now = 0.0;
        let mut sent = 0;
        let mut count = 0usize;
        // The last dense row that reached a population in modes: it is added in the pass that comes next.
        let mut waiting = None;
        loop {
            count += 1;
            if count.is_multiple_of(1024) {
                limits[0].look_up()?;
            }
            let next_outside = outside.get(sent).map_or(f64::INFINITY, |row| row.time);
            let next_release = self.releases.last().map_or(f64::INFINITY, |release| release.time);
            let arrival = next_outside.min(self.inside.next_time());
            let until = arrival.min(next_release).min(play.duration);
            let arriving = if arrival > until || arrival >= play.duration {
                None
            } else if next_outside <= arrival {
                let RowArrival { afferent, sender, .. } = outside[sent];
                let inlet = &inlets[sources[afferent as usize]];
                Some(Arriving { member: inlet.member, row: inlet.synapses.row(sender as usize) })
            } else {
                self.inside.next().map(|pending| play.row(pending))
            };
            if until > now {
                // A fused row reaches all neurons of one member; any other is added afterwards.
                let straight = until == next_outside && now == sent.checked_sub(1).map_or(0.0, |k| outside[k].time);
                let known = if straight { self.between.get(sent) } else { None };
                let suspects = self.pass(&play, until - now, known, arriving.as_ref(), &mut waiting);
                if suspects && self.cross(&play, now, until) {
                    now = self.fire(&play, now, out)?;
                    continue;
                }
                for (bank, member) in self.banks.iter_mut().zip(members) {
                    bank.commit(member.constants);
                }
                now = until;
                let fused = |a: &&Arriving<'_, T>| a.row.targets.is_none() && self.banks[a.member].modes.is_none();
                if let Some(a) = arriving.as_ref().filter(|a| !fused(a)) {
                    self.arrive(simd, a, &mut waiting);
                }
            } else if let Some(a) = &arriving {
                self.arrive(simd, a, &mut waiting);
            }
            if arriving.is_some() {
                if next_outside <= arrival {
                    sent += 1;
                    if let Some(&RowArrival { afferent, sender, .. }) = outside.get(sent) {
                        prefetch_all(inlets[sources[afferent as usize]].synapses.row(sender as usize).weight);
                    }
                } else {
                    self.inside.pop();
                }
            } else if next_release <= until {
                self.release(members);
            } else {
                self.outside = outside;
                out.iter_mut().for_each(|spikes| sort(spikes));
                return Ok(());
            }
        }
    }

    /// Initial states, and the rows that come from outside with the inlet of each of their afferents.
    fn start(&mut self, play: &Play<'_, '_, T>) -> (Vec<RowArrival>, Vec<usize>) {
        self.banks.resize_with(play.members.len(), Bank::default);
        for (bank, member) in self.banks.iter_mut().zip(play.members) {
            bank.reset(member.constants);
        }
        self.inside.clear();
        self.releases.clear();
        let largest = play.members.iter().map(|m| m.constants.n).max().unwrap_or(0);
        self.nothing.clear();
        self.nothing.resize(largest, T::ZERO);
        let (mut afferents, mut sources) = (Vec::new(), Vec::new());
        for (k, inlet) in play.inlets.iter().enumerate() {
            if let Source::Outside(train) = inlet.source {
                afferents.push(Afferent { synapses: inlet.synapses, train });
                sources.push(k);
            }
        }
        let mut outside = std::mem::take(&mut self.outside);
        rows(&afferents, play.duration, &mut self.buckets, &mut outside);
        let before = std::iter::once(0.0).chain(outside.iter().map(|row| row.time));
        let spans = before.zip(&outside).map(|(before, row)| T::of(row.time - before));
        match play.members {
            [only] if only.constants.homogeneous => {
                self.between.fill(play.simd, only.constants.neuron(0), spans);
            }
            _ => self.between = Propagators::default(),
        }
        (outside, sources)
    }

    /// Takes a row in, or lets it wait in place of the one that has waited so far.
    #[inline(always)]
    fn arrive<'a>(&mut self, simd: Simd, a: &Arriving<'a, T>, waiting: &mut Option<(usize, &'a [T])>) {
        if a.row.targets.is_some() || self.banks[a.member].modes.is_none() {
            self.banks[a.member].arrive(simd, &a.row);
        } else if let Some((m, row)) = waiting.replace((a.member, a.row.weight))
            && let Some(modes) = &mut self.banks[m].modes
        {
            modes.add(simd, row);
        }
    }

    /// All neurons over span `d`, into the other columns; whether any of them may have crossed.
    #[inline(always)]
    fn pass(
        &mut self,
        play: &Play<'_, '_, T>,
        d: f64,
        known: Option<Propagator<T>>,
        arriving: Option<&Arriving<'_, T>>,
        waiting: &mut Option<(usize, &[T])>,
    ) -> bool {
        let d = T::of(d);
        let mut any = false;
        for (m, (bank, member)) in self.banks.iter_mut().zip(play.members).enumerate() {
            let c = member.constants;
            let add = match arriving {
                Some(a) if a.member == m && a.row.targets.is_none() => a.row.weight,
                _ => &self.nothing[..c.n],
            };
            let Bank { u, i, next_u, next_i, guard, flags, modes, taken, .. } = bank;
            if let Some(modes) = modes {
                let (mem, syn) = known.map_or_else(|| c.neuron(0).decays(d), |p| (p.mem, p.syn));
                *taken = (syn, mem);
                let span = d * c.inv_mem[0];
                any |= match waiting.take_if(|(member, _)| *member == m) {
                    Some((_, row)) => take_and_look(play.simd, span, guard, row, modes.parts_mut(), flags),
                    None => look(play.simd, span, guard, modes.parts(), flags),
                };
            } else if c.homogeneous {
                let p = known.unwrap_or_else(|| c.neuron(0).propagator(d));
                any |= pass_shared(play.simd, p, d * c.inv_mem[0], guard, add, u, i, next_u, next_i, flags);
            } else {
                any |= pass_each(play.simd, d, c, guard, add, u, i, next_u, next_i, flags);
            }
        }
        any
    }

    /// The same to an instant at which nothing arrives and before which nobody crosses.
    fn pass_to(&mut self, play: &Play<'_, '_, T>, d: f64) {
        if self.banks.iter().all(|bank| bank.modes.is_some()) {
            for (bank, member) in self.banks.iter_mut().zip(play.members) {
                let (mem, syn) = member.constants.neuron(0).decays(T::of(d));
                bank.taken = (syn, mem);
            }
        } else {
            self.pass(play, d, None, None, &mut None);
        }
    }

    /// The earliest crossings before `until`, if any: fills `fired`.
    #[inline(never)]
    fn cross(&mut self, play: &Play<'_, '_, T>, now: f64, until: f64) -> bool {
        let d = T::of(until - now);
        self.fired.clear();
        let mut first = f64::INFINITY;
        for (m, member) in play.members.iter().enumerate() {
            let c = member.constants;
            let bank = &self.banks[m];
            self.suspects.clear();
            for (block, _) in bank.flags.iter().enumerate().filter(|(_, flag)| **flag) {
                bank.suspects(play.simd, c, d, block_of(block, c.n), |unit| self.suspects.push(unit as u32));
            }
            for &unit in &self.suspects {
                let (neuron, l) = (c.neuron(unit as usize), unit as usize);
                let (u, i) = bank.get(l);
                // The tangent meets the threshold too early, never too late: who can't be the first needs no look.
                let steepest = (i.larger(T::ZERO) - u).larger(T::ZERO);
                let soonest = (bank.guard[l] - u) * neuron.tau_mem / (steepest * stretch::<T>());
                if now + soonest.f64() > first {
                    continue;
                }
                let end = bank.after(l, || i * (-(d * neuron.inv_syn)).exp_neg());
                if settled(i, end.0, end.1, neuron.theta) {
                    continue;
                }
                if let Some((s, current)) = first_crossing(neuron, (u, i), d, end) {
                    let time = (now + s.f64()).min(until);
                    first = first.min(time);
                    self.fired.push(Fired { time, member: m, unit, current });
                }
            }
        }
        self.fired.retain(|f| f.time == first);
        !self.fired.is_empty()
    }

    /// Lets those in `fired` spike together; returns when.
    #[inline(never)]
    fn fire(&mut self, play: &Play<'_, '_, T>, now: f64, out: &mut [Vec<Spike<T>>]) -> Result<f64> {
        let time = self.fired[0].time;
        let fired = std::mem::take(&mut self.fired);
        for (q, inlet) in play.inlets.iter().enumerate() {
            let Source::Member(sender) = inlet.source else { continue };
            for &Fired { unit, .. } in fired.iter().filter(|f| f.member == sender) {
                let RowDelay::Shared(delay) = inlet.synapses.row(unit as usize).delay else {
                    unreachable!("only rows that keep their order are played here")
                };
                let arrival = time + delay.f64();
                if arrival < play.duration {
                    self.inside.push(arrival, q as u32, unit, Pending::WHOLE_ROW);
                }
            }
        }
        self.pass_to(play, time - now);
        for (bank, member) in self.banks.iter_mut().zip(play.members) {
            bank.commit(member.constants);
        }
        for &Fired { member: m, unit, current, .. } in &fired {
            let neuron = play.members[m].constants.neuron(unit as usize);
            out[m].push(Spike { time, unit, current });
            play.limits[m].check(out[m].len(), time)?;
            let bank = &mut self.banks[m];
            bank.set(unit as usize, (neuron.u_reset, current));
            if neuron.t_ref > 0.0 {
                bank.guard[unit as usize] = T::INFINITY;
                if neuron.t_ref.is_finite() {
                    bank.held.push(unit);
                    self.hold(Release { time: time + neuron.t_ref, member: m, unit });
                }
            }
        }
        self.fired = fired;
        Ok(time)
    }

    fn hold(&mut self, release: Release) {
        let at = self.releases.partition_point(|r| r.time > release.time);
        self.releases.insert(at, release);
    }

    fn release(&mut self, members: &[Member<'_, T>]) {
        if let Some(Release { member, unit, .. }) = self.releases.pop() {
            let bank = &mut self.banks[member];
            bank.held.retain(|&other| other != unit);
            let neuron = members[member].constants.neuron(unit as usize);
            bank.guard[unit as usize] = neuron.guard();
            let (_, i) = bank.get(unit as usize);
            bank.set(unit as usize, (neuron.u_reset, i));
        }
    }
}

impl<'a, T: Real> Play<'a, '_, T> {
    fn row(&self, pending: Pending) -> Arriving<'a, T> {
        let inlet = &self.inlets[pending.projection as usize];
        let synapses: &Synapses<'a, T> = &inlet.synapses;
        Arriving { member: inlet.member, row: synapses.row(pending.sender as usize) }
    }
}

/// A state that started with current `i0 > 0` and at its end still rises below threshold did not cross: it is concave.
/// Rising is asked for with a margin: after a long span both have decayed to nothing, and nothing is not above nothing.
#[inline(always)]
fn settled<T: Real>(i0: T, end_u: T, end_i: T, theta: T) -> bool {
    let margin = T::ONE - T::of(32.0) * T::EPSILON;
    (i0 > T::ZERO) & (end_i * margin > end_u) & (end_u <= theta)
}
