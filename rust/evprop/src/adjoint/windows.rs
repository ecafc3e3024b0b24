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
//! Where it has one, the entry is NaN, and the nodes themselves are asked. Spikes of the component, looks of readouts,
//! releases and spikes from outside are taken together, latest first, so everything after an instant is known when its
//! turn comes. Memory holds windows over the longest delay, whatever the duration.
use super::gradients::Gradients;
use super::nodes::Nodes;
use super::row::span;
use super::spread::{Arrivals, Into, Looks, Target, View, spread_row};
use super::sweep::{Look, Shared, Sweep};
use crate::math::{Real, Ticks};
use crate::network::{Component, Network, Params};
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::neuron::flow::propagator;
use crate::neuron::series::Whole;
use crate::projection::{Connectivity, DelayKind};
use crate::record::grid::Grid;
use crate::record::inlets::{BLOCK, Rows, longest};
use crate::spikes::Train;
use crate::vectorised;

/// lambda at the ends of windows, and what a row needs besides.
#[derive(Debug, Clone, Default)]
pub struct Table<T: Real> {
    lanes: usize,
    /// Windows of the ring.
    windows: usize,
    /// The window under way.
    now: usize,
    /// By (window of the ring, lane): lambda_v and lambda_i; NaN where a node lies in the window.
    items: Vec<[T; 2]>,
    v: Vec<T>,
    i: Vec<T>,
    /// Lanes with a node in the window under way.
    marked: Vec<u32>,
    /// Lanes with a node so near its start that it counts for the window before, too.
    early: Vec<u32>,
    looks: Looks<T>,
    /// Some lambda is not 0.
    felt: bool,
}

/// What all workers need of a component that is played here.
#[derive(Debug, Clone)]
pub struct Plan<T: Real> {
    grid: Grid,
    /// Windows of the ring.
    windows: usize,
    /// First lane of each population of the component, and number of lanes.
    base: Vec<usize>,
    lanes: usize,
    /// By population; `None` outside the component.
    targets: Vec<Option<Target<T>>>,
    /// By projection, where it runs into the component: delays in ticks, and rows with them.
    delay: Vec<Vec<T::Ticks>>,
    rows: Vec<Option<Rows<T>>>,
}

impl<T: Real> Plan<T> {
    /// `None` where the component has no delays of its neurons' or synapses' own, or where they are too long for windows.
    pub fn new(
        network: &Network,
        params: &Params<'_, T>,
        constants: &[Constants<T>],
        component: &Component,
        duration: f64,
    ) -> Option<Self> {
        let incoming: Vec<_> = component.populations.iter().flat_map(|&p| network.incoming(p)).copied().collect();
        let neurons: usize = component.populations.iter().map(|&p| constants[p].n).sum();
        let kind = |q: usize| network.projections()[q].delay;
        let own = incoming.iter().any(|&q| !kind(q).keeps_order());
        let sparse = |q: usize| network.projections()[q].connectivity != Connectivity::Dense;
        if !own || neurons < 16 || incoming.iter().any(|&q| kind(q) == DelayKind::Dendritic && sparse(q)) {
            return None;
        }
        let longest = incoming.iter().map(|&q| longest(params.synapses(network, q).delay)).fold(0.0, f64::max);
        let grid = Grid::of(component.populations.iter().map(|&p| &constants[p]), duration, longest)?;
        let over = duration + grid.step;
        let windows = (longest.min(over) / grid.step) as usize + 3;
        let (mut base, mut lanes) = (vec![0; network.populations().len()], 0);
        let mut targets = vec![None; network.populations().len()];
        for &p in &component.populations {
            base[p] = lanes;
            lanes += constants[p].n.next_multiple_of(BLOCK);
            targets[p] = Some(Target::new(&constants[p], grid.step));
        }
        let mut delay = vec![Vec::new(); network.projections().len()];
        let mut rows = vec![None; network.projections().len()];
        for q in incoming {
            let ticks = |d: &T| grid.ticks::<T>(d.f64().min(over));
            let (synapses, pre) = (params.synapses(network, q), network.projections()[q].pre);
            delay[q] = synapses.delay.iter().map(ticks).collect();
            rows[q] = Some(Rows::new(&synapses, network.populations()[pre].size, &delay[q]));
        }
        Some(Self { grid, windows, base, lanes, targets, delay, rows })
    }
}

impl<'a, T: Real> Sweep<'a, T> {
    /// Whether the sample is played here: many arrivals, and no readout that asks for more than lambda.
    pub(super) fn windows_fit(&self, component: &Component, trains: &[Train<'a>]) -> bool {
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
        // Each sending population from outside, with the projections that matter.
        let mut senders: Vec<(usize, Vec<usize>, usize)> = Vec::new();
        for &q in component.populations.iter().flat_map(|&p| network.incoming(p)) {
            let pre = network.projections()[q].pre;
            if inside(pre) || !self.asked(q) {
                continue;
            }
            match senders.iter_mut().find(|sender| sender.0 == pre) {
                Some(sender) => sender.1.push(q),
                None => senders.push((pre, vec![q], trains[pre].len())),
            }
        }
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
            let outside = latest(senders.iter().map(|&(p, _, count)| last(p, count)));
            let look = looks.last().map_or(f64::NEG_INFINITY, |(_, look)| look.time());
            let time = spike.1.max(outside.1).max(look);
            if time == f64::NEG_INFINITY {
                break;
            }
            self.close_windows(&mut table, plan, component, time);
            if look == time && look > spike.1 {
                let Some((p, look)) = looks.pop() else { break };
                self.look(p, look, out);
                let neuron = match look {
                    Look::Voltage(jump) => jump.neuron,
                    Look::Release { neuron, .. } => neuron,
                };
                table.mark(plan, p, neuron, time);
            } else if spike.1 == time {
                let (p, count) = &mut left[spike.0];
                *count -= 1;
                let (p, k) = (*p, *count);
                for &q in &internal[spike.0] {
                    let felt = self.spread(&mut table, plan, q, trains[p], k, out);
                    self.dt[p][k] += felt.f64();
                }
                let i = trains[p].units[k] as usize;
                let head = self.at_head(p, i, time);
                let node = self.settle(p, b, k, trains[p], head, out);
                self.nodes[p].push(i, node);
                table.mark(plan, p, i, time);
            } else {
                let (p, projections, count) = &mut senders[outside.0];
                *count -= 1;
                let (p, k) = (*p, *count);
                for &q in projections.iter() {
                    let felt = self.spread(&mut table, plan, q, trains[p], k, out);
                    self.dt[p][k] += felt.f64();
                }
            }
        }
        for &p in &component.populations {
            for i in 0..self.shared.constants[p].n {
                let (lambda_v, _) = self.at_head(p, i, 0.0);
                self.initial(p, i, lambda_v, out);
            }
        }
        self.looks = looks;
        self.table = table;
    }

    /// Moves on to the window of `time`.
    fn close_windows(&mut self, table: &mut Table<T>, plan: &Plan<T>, component: &Component, time: f64) {
        let until = plan.grid.window(time);
        while table.now > until {
            if table.felt {
                for &p in &component.populations {
                    let Some(target) = &plan.targets[p] else { continue };
                    let own = plan.base[p]..plan.base[p] + target.whole.mem.len();
                    let (v, i) = (&mut table.v[own.clone()], &mut table.i[own]);
                    flow(self.shared.simd, &target.whole, v, i);
                }
                let start = plan.grid.start(table.now);
                for &lane in &table.marked {
                    let at = |p: &&usize| plan.base[**p] <= lane as usize;
                    let Some(&p) = component.populations.iter().rev().find(at) else { continue };
                    let (v, i) = self.at_head(p, lane as usize - plan.base[p], start);
                    (table.v[lane as usize], table.i[lane as usize]) = (v, i);
                }
            }
            table.marked.clear();
            table.now -= 1;
            table.fill();
            std::mem::swap(&mut table.marked, &mut table.early);
            for k in 0..table.marked.len() {
                let at = table.at(table.now) + table.marked[k] as usize;
                table.items[at] = [T::of(f64::NAN); 2];
            }
        }
    }

    /// All arrivals of spike `k` of the senders through projection `q`; returns what they add to its `dL/dt`.
    fn spread(
        &mut self,
        table: &mut Table<T>,
        plan: &Plan<T>,
        q: usize,
        senders: Train<'a>,
        k: usize,
        out: &mut Gradients<T>,
    ) -> T {
        if !table.felt {
            return T::ZERO;
        }
        let Shared { network, params, constants, simd, record, .. } = self.shared;
        let (sender, t) = (senders.units[k], senders.times[k]);
        let projection = &network.projections()[q];
        let p = projection.post;
        let c = &constants[p];
        let row = params.synapses(network, q).row(sender as usize);
        let n = row.weight.len();
        let delay_slot = network.delay_slot(q).filter(|&slot| !out.slots[slot].is_empty());
        let mut delays = delay_slot.map_or_else(Vec::new, |slot| std::mem::take(&mut out.slots[slot]));
        let weights = self.own.as_mut().unwrap_or(out);
        let mut into = Into { weight: &mut weights.slots[network.weight_slot(q)][..], delay: &mut [] };
        if !into.weight.is_empty() {
            into.weight = &mut into.weight[row.start..row.start + n];
        }
        if projection.delay == DelayKind::Synaptic && !delays.is_empty() {
            into.delay = &mut delays[row.start..row.start + n];
        } else if projection.delay == DelayKind::Dendritic {
            // One a target, and the row is dense.
            into.delay = &mut delays[..];
        }
        let Some(target) = &plan.targets[p] else { return T::ZERO };
        let since = plan.grid.ticks_from::<T>(t, table.now).minus(T::Ticks::window(table.seam()));
        let delay = params.synapses(network, q).delays_of(&plan.delay[q], sender as usize);
        let blocks = match &plan.rows[q] {
            Some(rows) if row.targets.is_none() => rows.of(sender as usize),
            _ => &[],
        };
        let arrivals = Arrivals { row, delay, blocks, since };
        let Table { items, looks, lanes, windows, .. } = table;
        let view = View { items, lanes: *lanes, first_lane: plan.base[p], windows: *windows };
        let mut total = spread_row(simd, target, &arrivals, view, &mut into, looks);
        // Those with a node near.
        for &k in &table.looks.near {
            let k = k as usize;
            let (s, i) = (t + row.delay_of(k), row.target(k));
            if s >= record.duration {
                continue;
            }
            let (felt, slope) = lambda_at(c.neuron(i), &mut self.nodes[p], i, s);
            let slope = row.weight[k] * slope;
            if let Some(g) = into.weight.get_mut(k) {
                *g += felt;
            }
            if let Some(g) = into.delay.get_mut(k) {
                *g += slope;
            }
            total += slope;
        }
        if let Some(slot) = delay_slot {
            if projection.delay == DelayKind::Axonal {
                delays[sender as usize] += total;
            }
            out.slots[slot] = delays;
        }
        total
    }
}

impl<T: Real> Table<T> {
    /// Nothing is felt yet, at the trial's end.
    fn reset(&mut self, plan: &Plan<T>, duration: f64) {
        (self.lanes, self.windows, self.now) = (plan.lanes, plan.windows, plan.grid.window(duration));
        self.items.clear();
        self.items.resize(self.windows * self.lanes, [T::ZERO; 2]);
        for column in [&mut self.v, &mut self.i] {
            column.clear();
            column.resize(self.lanes, T::ZERO);
        }
        self.marked.clear();
        self.early.clear();
        self.felt = false;
    }

    /// The window at the ring's seam.
    fn seam(&self) -> usize {
        self.now - self.now % self.windows
    }

    /// Where a window lies.
    fn at(&self, window: usize) -> usize {
        window % self.windows * self.lanes
    }

    /// Lambda at the end of the window under way.
    fn fill(&mut self) {
        if !self.felt {
            return;
        }
        let at = self.at(self.now);
        for (item, (&v, &i)) in self.items[at..at + self.lanes].iter_mut().zip(self.v.iter().zip(&self.i)) {
            *item = [v, i];
        }
    }

    /// Neuron `i` of population `p` has a node at `time`, in the window under way.
    fn mark(&mut self, plan: &Plan<T>, p: usize, i: usize, time: f64) {
        self.felt = true;
        let lane = plan.base[p] + i;
        // Arrivals are placed to a tick or two: near a border they may be in the next window, or in the one before.
        let slack = plan.grid.step * 4.0 / (1u64 << T::Ticks::FRACTION) as f64;
        let nan = [T::of(f64::NAN); 2];
        if plan.grid.start(self.now + 1) - time < slack {
            let at = self.at(self.now + 1) + lane;
            self.items[at] = nan;
        }
        if time - plan.grid.start(self.now) < slack && !self.early.contains(&(lane as u32)) {
            self.early.push(lane as u32);
        }
        let at = self.at(self.now) + lane;
        if self.items[at][0].is_nan() && self.marked.contains(&(lane as u32)) {
            return;
        }
        self.items[at] = nan;
        self.marked.push(lane as u32);
    }
}

/// `lambda_i` and `lambda_i/tau_syn - lambda_v/tau_mem` of neuron `i` at `s`, from its first node strictly after `s`.
fn lambda_at<T: Real>(c: &Neuron<T>, nodes: &mut Nodes<T>, i: usize, s: f64) -> (T, T) {
    nodes.seek(i, s);
    let flow = c.propagator(span::<T>(nodes.time[i], s));
    let lambda_v = nodes.lambda_v[i] * flow.mem;
    let lambda_i = nodes.lambda_i[i] * flow.syn + nodes.lambda_v[i] * flow.kappa;
    (lambda_i, lambda_i * c.inv_syn - lambda_v * c.inv_mem)
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
