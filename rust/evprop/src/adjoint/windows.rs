//! Backwards where delays differ from synapse to synapse: a row of arrivals is spread over time, and each of them needs
//! lambda of its target at its own instant `s`.
//!
//! lambda is kept for all neurons at the ends `e` of short windows, as far ahead as delays reach. Where the neuron has no
//! node in `(s, e]`, that is all an arrival needs:
//!
//! ```text
//! lambda_v(s) = lambda_v(e) E_m(e - s)          lambda_i(s) = lambda_i(e) E_s(e - s) + lambda_v(e) kappa(e - s)
//! dL/dw += lambda_i(s)          dL/dd += w (lambda_i(s)/tau_syn - lambda_v(s)/tau_mem)
//! ```
//!
//! (Where neurons are alike it is kept as two modes that do not change between nodes, and this is less than half of the work:
//! [`modes`].) Where it has one, the entry is NaN, and the nodes themselves are asked. Spikes of the component, looks of readouts and
//! releases are taken together, latest first, so everything after an instant is known when its turn comes. Spikes from
//! outside only read lambda: they are taken some windows at a time. Memory holds windows over the longest delay, whatever
//! the duration.
mod modes;
mod plan;
mod series;
mod table;

use super::gradients::Gradients;
use super::nodes::Nodes;
use super::row::span;
use super::sweep::{Look, Shared, Sweep};
use crate::math::{Lines, Real, prefetch};
use crate::network::Component;
use crate::neuron::constants::Neuron;
use crate::neuron::flow::propagator;
use crate::neuron::modes::growths;
use crate::neuron::series::Whole;
use crate::projection::DelayKind;
use crate::record::inlets::{RowBlock, Rows};
use crate::spikes::Train;
use crate::vectorised;
pub use plan::Plan;
use plan::{Keeping, Synapses};
use series::{Arrivals, Gathered, RowTicks, Spikes, spread_blocks, spread_row};
use std::ops::Range;
use table::Near;
pub use table::Table;

/// So many arrivals ahead of their turn the synapses of those with a node near are asked for.
const AHEAD: usize = 8;

/// Spikes on their way through a projection.
#[derive(Debug, Clone, Copy)]
struct Leaving<'a> {
    q: usize,
    senders: Train<'a>,
    /// They set out in this window or later.
    window: usize,
}

/// A sending population from outside the component.
struct Outside {
    p: usize,
    /// Those that matter.
    projections: Vec<usize>,
    /// How many of its spikes have not been taken.
    left: usize,
}

impl<'a, T: Real> Sweep<'a, T> {
    /// Whether the sample is played here: many arrivals, and no readout that asks for more than lambda.
    pub(super) fn windows_fit(&self, component: &Component, plan: &Plan<T>, trains: &[Train<'a>]) -> bool {
        if plan.in_modes() {
            return true;
        }
        let network = self.shared.network;
        let quiet = |&p: &usize| self.voltage[p].kinks.is_empty() && self.voltage[p].sources.is_empty();
        let arrivals = |&q: &usize| trains[network.projections()[q].pre].len();
        component.populations.iter().all(quiet)
            && component.populations.iter().flat_map(|&p| network.incoming(p)).map(arrivals).sum::<usize>() >= 64
    }

    /// Plays the component backwards; `prepare` has been called for its populations.
    pub(super) fn play_windows(
        &mut self,
        component: &Component,
        plan: &Plan<T>,
        b: usize,
        trains: &[Train<'a>],
        out: &mut Gradients<T>,
    ) {
        let network = self.shared.network;
        let mut table = std::mem::take(&mut self.table);
        table.reset(plan, self.shared.record.duration);
        let mut looks = self.sorted_looks(component, trains);
        let inside = |p: usize| component.populations.contains(&p);
        let mut left: Vec<(usize, usize)> = component.populations.iter().map(|&p| (p, trains[p].len())).collect();
        let mut outside = self.outside(component, trains);
        let internal: Vec<Vec<usize>> = component
            .populations
            .iter()
            .map(|&p| {
                let sent = |&q: &usize| network.projections()[q].pre == p && inside(network.projections()[q].post);
                (0..network.projections().len()).filter(sent).collect()
            })
            .collect();
        loop {
            let last = |p: usize, count: usize| if count > 0 { trains[p].times[count - 1] } else { f64::NEG_INFINITY };
            let spike = latest(left.iter().map(|&(p, count)| last(p, count)));
            let look = looks.last().map_or(f64::NEG_INFINITY, |(_, look)| look.time());
            let time = spike.1.max(look);
            while table.now > plan.grid.window(time) {
                self.close_window(&mut table, plan, component);
                let from = table.now + 1;
                if from.is_multiple_of(plan.slab) {
                    self.arrivals_from(from, &mut table, plan, &mut outside, trains, out);
                    table.turn(plan);
                }
            }
            if time == f64::NEG_INFINITY {
                break;
            }
            if look == time && look > spike.1 {
                let Some((p, look)) = looks.pop() else { break };
                self.look(p, look, out);
                let neuron = match look {
                    Look::Voltage(jump) => jump.neuron,
                    Look::Release { neuron, .. } => neuron,
                };
                table.mark(plan, p, neuron, time);
            } else {
                let (p, count) = &mut left[spike.0];
                *count -= 1;
                let (p, k, window) = (*p, *count, table.now);
                for &q in &internal[spike.0] {
                    let felt = self.spread(&mut table, plan, Leaving { q, senders: trains[p], window }, k, out);
                    self.dt[p][k] += felt.f64();
                }
                let i = trains[p].units[k] as usize;
                let head = self.at_head(p, i, time);
                let node = self.settle(p, b, k, trains[p], head, out);
                self.leave(p, i, node);
                table.mark(plan, p, i, time);
            }
        }
        self.arrivals_from(0, &mut table, plan, &mut outside, trains, out);
        for &p in &component.populations {
            for i in 0..self.shared.constants[p].n {
                let (lambda_v, _) = self.at_head(p, i, 0.0);
                self.initial(p, i, lambda_v, out);
            }
        }
        self.looks = looks;
        self.table = table;
    }

    /// Each sending population from outside, with the projections that matter and the number of spikes.
    fn outside(&self, component: &Component, trains: &[Train<'a>]) -> Vec<Outside> {
        let network = self.shared.network;
        let mut all: Vec<Outside> = Vec::new();
        for &q in component.populations.iter().flat_map(|&p| network.incoming(p)) {
            let p = network.projections()[q].pre;
            if component.populations.contains(&p) || !self.asked(q) {
                continue;
            }
            match all.iter_mut().find(|outside| outside.p == p) {
                Some(outside) => outside.projections.push(q),
                None => all.push(Outside { p, projections: vec![q], left: trains[p].len() }),
            }
        }
        all
    }

    /// Moves on to the window before.
    fn close_window(&mut self, table: &mut Table<T>, plan: &Plan<T>, component: &Component) {
        if table.felt {
            for &p in &component.populations {
                if let Some(Keeping::Values(target)) = &plan.keeping[p] {
                    let own = plan.lanes_of(p);
                    let (v, i) = (&mut table.v[own.clone()], &mut table.i[own]);
                    flow(self.shared.simd, &target.whole, v, i);
                }
            }
            let start = plan.grid.start(table.now);
            for k in 0..table.marked.len() {
                let lane = table.marked[k] as usize;
                let at = |p: &&usize| plan.base[**p] <= lane;
                let Some(&p) = component.populations.iter().rev().find(at) else { continue };
                let (v, i) = self.at_head(p, lane - plan.base[p], start);
                (table.v[lane], table.i[lane]) = match plan.keeping[p] {
                    Some(Keeping::Modes(pace)) => modes::of_lambda(pace, (v, i), table.span(plan, start)),
                    _ => (v, i),
                };
            }
        }
        table.step_back();
    }

    /// All that spikes from outside feel that set out in window `from` or later: every node after them is known.
    fn arrivals_from(
        &mut self,
        from: usize,
        table: &mut Table<T>,
        plan: &Plan<T>,
        outside: &mut [Outside],
        trains: &[Train<'a>],
        out: &mut Gradients<T>,
    ) {
        for Outside { p, projections, left } in outside {
            let train = trains[*p];
            let first = train.times[..*left].partition_point(|&t| plan.grid.window(t) < from);
            let own = first..*left;
            *left = first;
            for &q in projections.iter() {
                let leaving = Leaving { q, senders: train, window: from };
                match &plan.synapses[q] {
                    _ if !table.felt => {}
                    Some(Synapses::Modes(rows)) => self.gather_outside(table, plan, rows, leaving, own.clone(), out),
                    Some(Synapses::Dense(rows)) => self.spread_outside(table, plan, rows, leaving, own.clone(), out),
                    _ => {
                        for k in own.clone().rev() {
                            let felt = self.spread(table, plan, leaving, k, out);
                            self.dt[*p][k] += felt.f64();
                        }
                    }
                }
            }
        }
    }

    /// All arrivals of spike `k`; returns what they add to its `dL/dt`.
    fn spread(
        &mut self,
        table: &mut Table<T>,
        plan: &Plan<T>,
        Leaving { q, senders, window }: Leaving<'a>,
        k: usize,
        out: &mut Gradients<T>,
    ) -> T {
        let Shared { network, params, simd, .. } = self.shared;
        let post = network.projections()[q].post;
        let (Some(keeping), Some(ticks), true) = (&plan.keeping[post], &plan.synapses[q], table.felt) else {
            return T::ZERO;
        };
        let sender = senders.units[k] as usize;
        let synapses = params.synapses(network, q);
        let row = synapses.row(sender);
        let (target, delay) = match (keeping, ticks) {
            (Keeping::Values(target), Synapses::Dense(rows)) => (target, RowTicks::Dense(rows.of(sender))),
            (Keeping::Values(target), Synapses::Sparse(delay)) => {
                (target, RowTicks::Sparse(synapses.delays_of(delay, sender)))
            }
            (_, Synapses::Modes(rows)) => {
                return self.gather(table, plan, rows, Leaving { q, senders, window }, k, out);
            }
            (Keeping::Modes(_), _) => return T::ZERO,
        };
        let mut taken = self.take_gradients(q, out);
        let since = table.since_seam(plan, senders.times[k], window);
        let (view, looks) = table.view(plan, post);
        let mut into = taken.gathered(synapses.delay_kind);
        spread_row(simd, target, &Arrivals { row, delay, since }, view, &mut into, looks);
        let mut total = looks.total(0);
        self.ask_nodes(&looks.near, q, senders, k, &mut into, |_, slope| total += slope);
        if synapses.delay_kind == DelayKind::Axonal && !taken.delay.is_empty() {
            taken.delay[sender] += total;
        }
        self.return_gradients(q, taken, out);
        total
    }

    /// The same for a range of spikes through dense rows, all together.
    fn spread_outside(
        &mut self,
        table: &mut Table<T>,
        plan: &Plan<T>,
        rows: &Rows<RowBlock<T>>,
        Leaving { q, senders, window }: Leaving<'a>,
        own: Range<usize>,
        out: &mut Gradients<T>,
    ) {
        let Shared { network, params, simd, .. } = self.shared;
        let (pre, post) = (network.projections()[q].pre, network.projections()[q].post);
        let Some(Keeping::Values(target)) = &plan.keeping[post] else { return };
        let mut taken = self.take_gradients(q, out);
        let synapses = params.synapses(network, q);
        let mut since = std::mem::take(&mut table.since);
        since.clear();
        since.extend(senders.times[own.clone()].iter().map(|&t| table.since_seam(plan, t, window)));
        let units = &senders.units[own.clone()];
        let (view, looks) = table.view(plan, post);
        let mut into = taken.gathered(synapses.delay_kind);
        let spikes = Spikes { units, since: &since, rows, n_post: synapses.n_post };
        spread_blocks(simd, target, spikes, view, &mut into, looks);
        let (dt, axonal) = (&mut vec![0.0; own.len()], synapses.delay_kind == DelayKind::Axonal);
        self.ask_nodes(&looks.near, q, senders, own.start, &mut into, |k, slope| dt[k] += slope.f64());
        for (k, &unit) in units.iter().enumerate() {
            let total = looks.total(k) + T::of(dt[k]);
            self.dt[pre][own.start + k] += total.f64();
            if axonal && !taken.delay.is_empty() {
                taken.delay[unit as usize] += total;
            }
        }
        table.since = since;
        self.return_gradients(q, taken, out);
    }

    /// All arrivals of spike `k`, where lambda is kept in modes; returns what they add to its `dL/dt`.
    fn gather(
        &mut self,
        table: &mut Table<T>,
        plan: &Plan<T>,
        rows: &modes::Rows<T>,
        Leaving { q, senders, window }: Leaving<'a>,
        k: usize,
        out: &mut Gradients<T>,
    ) -> T {
        let (time, unit) = (senders.times[k], senders.units[k]);
        let growth = rows.pace().growth(table.span(plan, time));
        let spike = modes::Spike { unit, since: table.since_seam(plan, time, window), growth };
        let Shared { network, params, simd, .. } = self.shared;
        if let Some(before) = k.checked_sub(1) {
            rows.fetch_row(senders.units[before] as usize, &out.modes[q]);
        }
        let (view, looks) = table.modes(plan, network.projections()[q].post);
        modes::gather_row(simd, rows, &params.synapses(network, q), spike, view, &mut out.modes[q], looks);
        let mut total = looks.total(0, rows.pace());
        self.gather_near(&looks.near, q, rows, (senders, k), out, |_, slope| total += slope);
        total
    }

    /// The same for a range of spikes, all together.
    fn gather_outside(
        &mut self,
        table: &mut Table<T>,
        plan: &Plan<T>,
        rows: &modes::Rows<T>,
        Leaving { q, senders, window }: Leaving<'a>,
        own: Range<usize>,
        out: &mut Gradients<T>,
    ) {
        let Shared { network, params, simd, .. } = self.shared;
        let (pre, post) = (network.projections()[q].pre, network.projections()[q].post);
        let (mut since, mut spans) = (std::mem::take(&mut table.since), std::mem::take(&mut table.spans));
        let mut growth = std::mem::take(&mut table.growth);
        since.clear();
        spans.clear();
        for &t in &senders.times[own.clone()] {
            since.push(table.since_seam(plan, t, window));
            spans.push(table.span(plan, t));
        }
        growths(simd, rows.pace(), &spans, &mut growth);
        let spikes = modes::Spikes { units: &senders.units[own.clone()], since: &since, growth: &growth };
        let (view, looks) = table.modes(plan, post);
        modes::gather_blocks(simd, rows, &params.synapses(network, q), spikes, view, &mut out.modes[q], looks);
        let dt = &mut self.dt[pre][own.clone()];
        if rows.times() {
            for (k, dt) in dt.iter_mut().enumerate() {
                *dt += looks.total(k, rows.pace()).f64();
            }
        }
        let mut dt = std::mem::take(&mut self.dt[pre]);
        let add = |k: usize, slope: T| dt[own.start + k] += slope.f64();
        self.gather_near(&looks.near, q, rows, (senders, own.start), out, add);
        self.dt[pre] = dt;
        (table.since, table.spans, table.growth) = (since, spans, growth);
    }

    /// Arrivals with a node near ask the nodes themselves. `first`: the spike that the others are counted from; `add`
    /// receives a spike, and what it feels besides.
    fn gather_near(
        &mut self,
        near: &[Near],
        q: usize,
        rows: &modes::Rows<T>,
        (senders, first): (Train<'a>, usize),
        out: &mut Gradients<T>,
        mut add: impl FnMut(usize, T),
    ) {
        let Shared { network, params, record, .. } = self.shared;
        let p = network.projections()[q].post;
        let synapses = params.synapses(network, q);
        let sender = |near: &Near| senders.units[first + near.spike] as usize;
        for (n, near_now @ &Near { spike, synapse: k }) in near.iter().enumerate() {
            if let Some(later) = near.get(n + AHEAD) {
                self.nodes[p].fetch(later.synapse);
                prefetch(&out.modes[q], synapses.row(sender(later)).start + later.synapse);
            }
            let (unit, t) = (sender(near_now), senders.times[first + spike]);
            let row = synapses.row(unit);
            let s = t + row.delay_of(k);
            if s >= record.duration {
                continue;
            }
            let nodes = &mut self.nodes[p];
            nodes.seek(k, s);
            let (time, lambda) = (nodes.time[k], (nodes.lambda_v[k], nodes.lambda_i[k]));
            if time.is_finite() {
                // Modes that refer to the spike are what it gathers.
                let more = modes::of_lambda(rows.pace(), lambda, time - t);
                if let Some(sums) = out.modes[q].get_mut(row.start + k) {
                    *sums = [sums[0] + more.0, sums[1] + more.1];
                }
                add(spike, rows.slope(unit, k, more));
            }
        }
    }

    /// Arrivals with a node near ask the nodes themselves. `first`: the spike that the others are counted from; `add`
    /// receives a spike, and what it feels besides.
    fn ask_nodes(
        &mut self,
        near: &[Near],
        q: usize,
        senders: Train<'a>,
        first: usize,
        into: &mut Gathered<'_, T>,
        mut add: impl FnMut(usize, T),
    ) {
        let Shared { network, params, constants, record, .. } = self.shared;
        let p = network.projections()[q].post;
        let synapses = params.synapses(network, q);
        for &Near { spike, synapse: k } in near {
            let row = synapses.row(senders.units[first + spike] as usize);
            let (s, i) = (senders.times[first + spike] + row.delay_of(k), row.target(k));
            if s >= record.duration {
                continue;
            }
            let c = constants[p].neuron(i);
            let (lambda_v, felt) = lambda_at(c, &mut self.nodes[p], i, s);
            let slope = row.weight[k] * (felt * c.inv_syn - lambda_v * c.inv_mem);
            into.add(row.start, k, felt, slope);
            add(spike, slope);
        }
    }

    /// Takes the gradients of a projection out of where they are gathered.
    fn take_gradients(&mut self, q: usize, out: &mut Gradients<T>) -> Taken<T> {
        let network = self.shared.network;
        let delay = network.delay_slot(q).map_or_else(Lines::default, |slot| std::mem::take(&mut out.slots[slot]));
        let weights = self.own.as_mut().unwrap_or(out);
        Taken { weight: std::mem::take(&mut weights.slots[network.weight_slot(q)]), delay }
    }

    fn return_gradients(&mut self, q: usize, taken: Taken<T>, out: &mut Gradients<T>) {
        let network = self.shared.network;
        if let Some(slot) = network.delay_slot(q) {
            out.slots[slot] = taken.delay;
        }
        self.own.as_mut().unwrap_or(out).slots[network.weight_slot(q)] = taken.weight;
    }
}

/// Gradients of one projection; empty where not asked for.
struct Taken<T> {
    weight: Lines<T>,
    delay: Lines<T>,
}

impl<T: Real> Taken<T> {
    /// Where a row's arrivals go: the delays of synapses and of targets; those of senders are for the caller.
    fn gathered(&mut self, kind: DelayKind) -> Gathered<'_, T> {
        let delay = match kind {
            DelayKind::Synaptic | DelayKind::Dendritic => &mut self.delay[..],
            DelayKind::None | DelayKind::Axonal => &mut [],
        };
        Gathered { weight: &mut self.weight, delay, by_sender: kind == DelayKind::Synaptic }
    }
}

/// `lambda_v` and `lambda_i` of neuron `i` at `s`, from its first node strictly after `s`.
fn lambda_at<T: Real>(c: &Neuron<T>, nodes: &mut Nodes<T>, i: usize, s: f64) -> (T, T) {
    nodes.seek(i, s);
    let flow = c.propagator(span::<T>(nodes.time[i], s));
    let lambda_v = nodes.lambda_v[i] * flow.mem;
    let lambda_i = nodes.lambda_i[i] * flow.syn + nodes.lambda_v[i] * flow.kappa;
    (lambda_v, lambda_i)
}

/// The largest of some times, and which it is (the first of equal ones).
fn latest(times: impl Iterator<Item = f64>) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (k, time) in times.enumerate() {
        if time > best.1 {
            best = (k, time);
        }
    }
    best
}

vectorised! {
    /// lambda back over a window.
    fn flow<T>(whole: &Whole<T>, v: &mut [T], i: &mut [T]) {
        let n = v.len();
        let (mem, syn, kappa, i) = (&whole.mem[..n], &whole.syn[..n], &whole.kappa[..n], &mut i[..n]);
        for l in 0..n {
            i[l] = i[l] + (i[l] * syn[l] + v[l] * kappa[l]);
            v[l] = v[l] + v[l] * mem[l];
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn flow_lanes<T: Real>(
    d: T,
    inv_slow: &[T],
    rate: &[T],
    gain: &[T],
    lin: &[T],
    mem_slow: &[T],
    v: &mut [T],
    i: &mut [T],
) {
    let n = v.len();
    let (inv_slow, rate, gain, lin) = (&inv_slow[..n], &rate[..n], &gain[..n], &lin[..n]);
    let (mem_slow, i) = (&mem_slow[..n], &mut i[..n]);
    for l in 0..n {
        let p = propagator(d, inv_slow[l], rate[l], gain[l], lin[l], mem_slow[l] > T::ZERO);
        i[l] = i[l] * p.syn + v[l] * p.kappa;
        v[l] *= p.mem;
    }
}
