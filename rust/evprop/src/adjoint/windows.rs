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
use super::sweep::{Look, Shared, Sweep};
use crate::math::Real;
use crate::network::Component;
use crate::neuron::Constants;
use crate::neuron::constants::Neuron;
use crate::neuron::flow::propagator;
use crate::projection::{Connectivity, DelayKind, Row, RowDelay};
use crate::spikes::Train;
use crate::vectorised;

/// Synapses looked at together.
const CHUNK: usize = 16;

/// Windows in the table at least and at most; a power of two.
const WINDOWS: (usize, usize) = (16, 1024);

/// lambda at the ends of windows, and what a row needs besides.
#[derive(Debug, Clone, Default)]
pub struct Table<T> {
    lanes: usize,
    /// Number of windows, a power of two.
    windows: usize,
    step: f64,
    /// The window under way.
    now: i64,
    /// By (window, lane): lambda_v and lambda_i; NaN where a node lies in the window.
    items: Vec<[T; 2]>,
    v: Vec<T>,
    i: Vec<T>,
    /// Lanes with a node in the window under way.
    marked: Vec<u32>,
    /// First lane of each population, by population.
    base: Vec<usize>,
    /// Synapses of the row whose targets have a node near.
    near: Vec<u32>,
    /// Some lambda is not 0.
    felt: bool,
}

/// What a row's chunks have in common.
#[derive(Debug, Clone, Copy)]
struct Grid {
    inv_step: f64,
    step: f64,
    mask: u64,
    lanes: usize,
    first_lane: usize,
}

/// Gradients of a row, where they are wanted (empty: not).
struct Into<'a, T> {
    weight: &'a mut [T],
    delay: &'a mut [T],
}

impl<'a, T: Real> Sweep<'a, T> {
    /// Whether the component is played here: many arrivals, each with a delay of its own.
    pub(super) fn windows_fit(&self, component: &Component, trains: &[Train<'a>]) -> bool {
        let network = self.shared.network;
        let (mut arrivals, mut neurons, mut own) = (0, 0, false);
        for &p in &component.populations {
            let voltage = &self.voltage[p];
            if !voltage.kinks.is_empty() || !voltage.sources.is_empty() {
                return false;
            }
            neurons += self.shared.constants[p].n;
            for &q in network.incoming(p) {
                let projection = &network.projections()[q];
                if projection.delay == DelayKind::Dendritic && projection.connectivity != Connectivity::Dense {
                    return false;
                }
                own |= !network.projections()[q].delay.keeps_order();
                arrivals += trains[network.projections()[q].pre].len();
            }
        }
        own && neurons >= 16 && arrivals >= 64
    }

    /// Plays the component backwards; `prepare` has been called for its populations.
    pub(super) fn play_windows(
        &mut self,
        component: &Component,
        b: usize,
        trains: &[Train<'a>],
        out: &mut Gradients<T>,
    ) {
        let network = self.shared.network;
        let mut table = std::mem::take(&mut self.table);
        self.start_table(&mut table, component);
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
            self.close_windows(&mut table, component, time);
            if look == time && look > spike.1 {
                let Some((p, look)) = looks.pop() else { break };
                self.look(p, look, out);
                let neuron = match look {
                    Look::Voltage(jump) => jump.neuron,
                    Look::Release { neuron, .. } => neuron,
                };
                table.mark(p, neuron);
            } else if spike.1 == time {
                let (p, count) = &mut left[spike.0];
                *count -= 1;
                let (p, k) = (*p, *count);
                for &q in &internal[spike.0] {
                    let felt = self.spread(&mut table, q, trains[p].units[k], time, out);
                    self.dt[p][k] += felt.f64();
                }
                let i = trains[p].units[k] as usize;
                let head = self.at_head(p, i, time);
                let node = self.settle(p, b, k, trains[p], head, out);
                self.nodes[p].push(i, node);
                table.mark(p, i);
            } else {
                let (p, projections, count) = &mut senders[outside.0];
                *count -= 1;
                let (p, k) = (*p, *count);
                for &q in projections.iter() {
                    let felt = self.spread(&mut table, q, trains[p].units[k], time, out);
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

    fn start_table(&self, table: &mut Table<T>, component: &Component) {
        let Shared { network, params, constants, record, .. } = self.shared;
        table.base.clear();
        table.base.resize(network.populations().len(), 0);
        table.lanes = 0;
        let (mut longest, mut shortest) = (0.0f64, f64::INFINITY);
        for &p in &component.populations {
            table.base[p] = table.lanes;
            let c = &constants[p];
            table.lanes += c.padded();
            for i in 0..c.n {
                shortest = shortest.min(c.neuron(i).tau_mem.f64()).min(c.neuron(i).tau_syn.f64());
            }
            for &q in network.incoming(p) {
                for &d in params.synapses(network, q).delay {
                    longest = longest.max(d.f64());
                }
            }
        }
        // Some tenths of a millisecond: few neurons have a node in any one window.
        let wanted = longest.min(record.duration) / (shortest / 10.0);
        table.windows = (wanted.min(WINDOWS.1 as f64 / 2.0) as usize + 3).next_power_of_two().max(WINDOWS.0);
        table.step = (longest.min(record.duration) / (table.windows - 3) as f64).max(shortest / 16.0);
        table.now = (record.duration / table.step) as i64;
        table.items.clear();
        table.items.resize(table.windows * table.lanes, [T::ZERO; 2]);
        for column in [&mut table.v, &mut table.i] {
            column.clear();
            column.resize(table.lanes, T::ZERO);
        }
        table.marked.clear();
        table.felt = false;
    }

    /// Moves on to the window of `time`.
    fn close_windows(&mut self, table: &mut Table<T>, component: &Component, time: f64) {
        let until = (time / table.step) as i64;
        while table.now > until {
            if table.felt {
                for &p in &component.populations {
                    let c = &self.shared.constants[p];
                    let own = table.base[p]..table.base[p] + c.padded();
                    let (v, i) = (&mut table.v[own.clone()], &mut table.i[own]);
                    flow(self.shared.simd, T::of(table.step), c, v, i);
                }
                let start = table.now as f64 * table.step;
                for &lane in &table.marked {
                    let at = |p: &&usize| table.base[**p] <= lane as usize;
                    let Some(&p) = component.populations.iter().rev().find(at) else { continue };
                    let (v, i) = self.at_head(p, lane as usize - table.base[p], start);
                    (table.v[lane as usize], table.i[lane as usize]) = (v, i);
                }
            }
            table.marked.clear();
            table.now -= 1;
            table.fill();
        }
    }

    /// All arrivals of one spike at `t` through projection `q`; returns what they add to the sender's `dL/dt`.
    fn spread(&mut self, table: &mut Table<T>, q: usize, sender: u32, t: f64, out: &mut Gradients<T>) -> T {
        if !table.felt {
            return T::ZERO;
        }
        let Shared { network, params, constants, simd, record, .. } = self.shared;
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
        let grid = Grid {
            inv_step: 1.0 / table.step,
            step: table.step,
            mask: table.windows as u64 - 1,
            lanes: table.lanes,
            first_lane: table.base[p],
        };
        table.near.clear();
        let mut total = spread_row(simd, c, &row, t, grid, &table.items, &mut into, &mut table.near);
        // Those with a node near.
        for &k in &table.near {
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
    /// Lambda at the end of the window under way.
    fn fill(&mut self) {
        if !self.felt {
            return;
        }
        let at = (self.now as u64 & (self.windows as u64 - 1)) as usize * self.lanes;
        for (item, (&v, &i)) in self.items[at..at + self.lanes].iter_mut().zip(self.v.iter().zip(&self.i)) {
            *item = [v, i];
        }
    }

    /// Neuron `i` of population `p` has a node in the window under way.
    fn mark(&mut self, p: usize, i: usize) {
        self.felt = true;
        let lane = self.base[p] + i;
        let at = (self.now as u64 & (self.windows as u64 - 1)) as usize * self.lanes + lane;
        if self.items[at][0].is_nan() {
            return;
        }
        self.items[at] = [T::of(f64::NAN); 2];
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
    fn flow<T>(d: T, c: &Constants<T>, v: &mut [T], i: &mut [T]) {
        flow_lanes(d, &c.inv_slow, &c.rate, &c.gain, &c.lin, &c.mem_slow, v, i);
    }
}

vectorised! {
    /// A row of arrivals; `near` receives the synapses that the table can't answer. Returns the sum of `dL/ds`.
    fn spread_row<T>(
        c: &Constants<T>,
        row: &Row<'_, T>,
        t: f64,
        grid: Grid,
        table: &[[T; 2]],
        into: &mut Into<'_, T>,
        near: &mut Vec<u32>,
    ) -> T {
        let mut sums = [T::ZERO; CHUNK];
        let n = row.weight.len();
        let whole = if row.targets.is_none() { n - n % CHUNK } else { 0 };
        for first in (0..whole).step_by(CHUNK) {
            let delay = dense_delays(row, first);
            let weight = array(&row.weight[first..]);
            let constants = Lanes::dense(c, first);
            let lane = (grid.first_lane + first) as u64;
            let (v, i, y) = look_up(t, grid, table, &delay, |k| lane + k as u64);
            let (felt, slope) = constants.lambda(&v, &i, &y);
            gather(first, CHUNK, &felt, &slope, &weight, into, near, &mut sums);
        }
        for first in (whole..n).step_by(CHUNK) {
            let own = CHUNK.min(n - first);
            let (mut delay, mut weight, mut target) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK], [0; CHUNK]);
            for k in 0..own {
                delay[k] = T::of(row.delay_of(first + k));
                weight[k] = row.weight[first + k];
                target[k] = row.target(first + k);
            }
            let constants = Lanes::of(c, &target);
            let (v, i, y) = look_up(t, grid, table, &delay, |k| (grid.first_lane + target[k]) as u64);
            let (felt, slope) = constants.lambda(&v, &i, &y);
            gather(first, own, &felt, &slope, &weight, into, near, &mut sums);
        }
        let mut width = CHUNK;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                sums[k] += sums[k + width];
            }
        }
        sums[0]
    }
}

#[inline(always)]
fn array<T: Real>(column: &[T]) -> [T; CHUNK] {
    let mut own = [T::ZERO; CHUNK];
    own.copy_from_slice(&column[..CHUNK]);
    own
}

#[inline(always)]
fn dense_delays<T: Real>(row: &Row<'_, T>, first: usize) -> [T; CHUNK] {
    match row.delay {
        RowDelay::Shared(d) => [d; CHUNK],
        RowDelay::ByTarget(d) | RowDelay::BySynapse(d) => array(&d[first..]),
    }
}

/// lambda at the ends of the windows of the arrivals, and how long before those ends they arrive.
#[inline(always)]
fn look_up<T: Real>(
    t: f64,
    grid: Grid,
    table: &[[T; 2]],
    delay: &[T; CHUNK],
    lane: impl Fn(usize) -> u64,
) -> ([T; CHUNK], [T; CHUNK], [T; CHUNK]) {
    let (mut at, mut y) = ([0u64; CHUNK], [T::ZERO; CHUNK]);
    place(t, grid, delay, &mut at, &mut y);
    let (mut v, mut i) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK]);
    for k in 0..CHUNK {
        [v[k], i[k]] = table[(at[k] + lane(k)) as usize];
    }
    (v, i, y)
}

#[inline(always)]
fn place<T: Real>(t: f64, grid: Grid, delay: &[T; CHUNK], at: &mut [u64; CHUNK], y: &mut [T; CHUNK]) {
    // 1.5 * 2^52: adding it rounds to a whole number, which is left in the low bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    for k in 0..CHUNK {
        let s = t + delay[k].f64();
        let near = s * grid.inv_step - 0.5 + SHIFT;
        // Down to the window that `s` truly lies in, whatever the rounding.
        let whole = near - SHIFT;
        let whole = if s < whole * grid.step { whole - 1.0 } else { whole };
        let whole = if s >= (whole + 1.0) * grid.step { whole + 1.0 } else { whole };
        at[k] = ((whole + SHIFT).to_bits() & grid.mask) * grid.lanes as u64;
        y[k] = T::of((whole + 1.0) * grid.step - s);
    }
}

/// Constants of the targets of a chunk.
struct Lanes<T> {
    inv_mem: [T; CHUNK],
    inv_syn: [T; CHUNK],
    inv_slow: [T; CHUNK],
    rate: [T; CHUNK],
    gain: [T; CHUNK],
    lin: [T; CHUNK],
    mem_slow: [T; CHUNK],
}

impl<T: Real> Lanes<T> {
    #[inline(always)]
    fn dense(c: &Constants<T>, first: usize) -> Self {
        let of = |column: &[T]| array(&column[first..]);
        Self::each(c, of)
    }

    #[inline(always)]
    fn of(c: &Constants<T>, target: &[usize; CHUNK]) -> Self {
        let of = |column: &[T]| target.map(|i| column[i]);
        Self::each(c, of)
    }

    #[inline(always)]
    fn each(c: &Constants<T>, of: impl Fn(&[T]) -> [T; CHUNK]) -> Self {
        Self {
            inv_mem: of(&c.inv_mem),
            inv_syn: of(&c.inv_syn),
            inv_slow: of(&c.inv_slow),
            rate: of(&c.rate),
            gain: of(&c.gain),
            lin: of(&c.lin),
            mem_slow: of(&c.mem_slow),
        }
    }

    /// `lambda_i` and `lambda_i/tau_syn - lambda_v/tau_mem` a time `y` before lambda was `(v, i)`.
    #[inline(always)]
    fn lambda(&self, v: &[T; CHUNK], i: &[T; CHUNK], y: &[T; CHUNK]) -> ([T; CHUNK], [T; CHUNK]) {
        let (mut felt, mut slope) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK]);
        for k in 0..CHUNK {
            let (inv_slow, rate, gain, lin) = (self.inv_slow[k], self.rate[k], self.gain[k], self.lin[k]);
            let p = propagator(y[k], inv_slow, rate, gain, lin, self.mem_slow[k] > T::ZERO);
            let lambda_i = i[k] * p.syn + v[k] * p.kappa;
            felt[k] = lambda_i;
            slope[k] = lambda_i * self.inv_syn[k] - v[k] * p.mem * self.inv_mem[k];
        }
        (felt, slope)
    }
}

/// Adds the first `n` of a chunk up; those without an answer are left for later.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn gather<T: Real>(
    first: usize,
    n: usize,
    felt: &[T; CHUNK],
    slope: &[T; CHUNK],
    weight: &[T; CHUNK],
    into: &mut Into<'_, T>,
    near: &mut Vec<u32>,
    sums: &mut [T; CHUNK],
) {
    let mut unknown = false;
    let (mut known, mut timed) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK]);
    for k in 0..CHUNK {
        let there = !felt[k].is_nan();
        unknown |= !there;
        known[k] = if there { felt[k] } else { T::ZERO };
        timed[k] = if there { weight[k] * slope[k] } else { T::ZERO };
    }
    if unknown {
        near.extend((0..n).filter(|&k| felt[k].is_nan()).map(|k| (first + k) as u32));
    }
    if n == CHUNK {
        for k in 0..CHUNK {
            sums[k] += timed[k];
        }
        if !into.weight.is_empty() {
            add(&mut into.weight[first..first + CHUNK], &known);
        }
        if !into.delay.is_empty() {
            add(&mut into.delay[first..first + CHUNK], &timed);
        }
        return;
    }
    for k in 0..n {
        sums[k] += timed[k];
        if let Some(g) = into.weight.get_mut(first + k) {
            *g += known[k];
        }
        if let Some(g) = into.delay.get_mut(first + k) {
            *g += timed[k];
        }
    }
}

#[inline(always)]
fn add<T: Real>(all: &mut [T], more: &[T; CHUNK]) {
    let all = &mut all[..CHUNK];
    for k in 0..CHUNK {
        all[k] += more[k];
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
