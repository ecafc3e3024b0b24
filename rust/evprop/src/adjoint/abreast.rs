//! Backwards where arrivals come in rows (no or axonal delays): lambda of all neurons flows back side by side, from event
//! to event, and each row of weight gradients takes one addition a synapse.
//!
//! ```text
//! lambda_i := lambda_i E_s + lambda_v kappa (+ sources)      lambda_v := lambda_v E_m (+ sources)
//! dL/dw += lambda_i          dL/ds = sum_w w (lambda_i/tau_syn - lambda_v/tau_mem)
//! ```
//!
//! Events are met in exactly the reverse of the forward order: at one instant arrivals, then spikes, then looks of a
//! readout. Nodes are still left at spikes and looks where the gradients of constants ask for them.
use super::gradients::Gradients;
use super::sources::Source;
use super::sweep::{Look, Shared, Sweep};
use super::windows::flow_lanes;
use crate::math::sums::folded;
use crate::math::{Real, Simd};
use crate::network::Component;
use crate::neuron::Constants;
use crate::neuron::flow::{Propagator, Propagators};
use crate::neuron::modes::{Modes, Parts, gamma};
use crate::projection::{RowDelay, Synapses};
use crate::record::buckets::Buckets;
use crate::spikes::Train;
use crate::vectorised;

/// lambda of one population at one instant.
#[derive(Debug, Clone, Default)]
pub struct Bank<T> {
    v: Vec<T>,
    i: Vec<T>,
    /// In their place, where time passes for all neurons alike.
    modes: Option<Modes<T>>,
}

impl<T: Real> Bank<T> {
    fn get(&self, l: usize) -> (T, T) {
        self.modes.as_ref().map_or_else(|| (self.v[l], self.i[l]), |modes| modes.get(l))
    }

    fn set(&mut self, l: usize, (v, i): (T, T)) {
        match &mut self.modes {
            Some(modes) => modes.set(l, (v, i)),
            None => (self.v[l], self.i[l]) = (v, i),
        }
    }
}

/// A row of weights that arrived.
#[derive(Debug, Clone, Copy)]
struct RowEvent {
    time: f64,
    inlet: u32,
    sender: u32,
    /// Which spike of the sender's train it was.
    spike: u32,
}

/// A projection into the component, and what is asked of its rows.
struct Inlet<'a, T> {
    synapses: Synapses<'a, T>,
    pre: usize,
    post: usize,
    /// Slot of its weights.
    weight: usize,
    /// Slot of its delays, where their gradient is asked for.
    delay: Option<usize>,
    /// Whether anyone asks when spikes set out.
    timed: bool,
}

/// Reusable storage.
#[derive(Debug, Default)]
pub struct Abreast<T> {
    /// By population.
    banks: Vec<Bank<T>>,
    rows: Vec<RowEvent>,
    buckets: Buckets<RowEvent>,
    /// Over the span from each row to the next, where one neuron stands for all.
    between: Propagators<T>,
    now: f64,
    /// When the row met last arrived.
    after: f64,
    /// Some lambda or source of the component is not 0.
    felt: bool,
}

impl<'a, T: Real> Sweep<'a, T> {
    /// Whether the component's arrivals can be played in rows here, and whether that pays: a row costs a pass over all
    /// neurons, and so does a spike.
    pub(super) fn rows_fit(&self, component: &Component, trains: &[Train<'a>]) -> bool {
        let network = self.shared.network;
        let (mut arrivals, mut spikes, mut neurons) = (0, 0, 0);
        for &p in &component.populations {
            let c = &self.shared.constants[p];
            let voltage = &self.voltage[p];
            let sources = !voltage.sources.is_empty();
            if c.holds || !voltage.kinks.is_empty() || (sources && (c.refractory || !c.homogeneous)) {
                return false;
            }
            for &q in network.incoming(p) {
                if !network.projections()[q].delay.keeps_order() {
                    return false;
                }
                arrivals += trains[network.projections()[q].pre].len();
            }
            spikes += trains[p].len();
            neurons += c.n;
        }
        neurons >= 16 && arrivals >= spikes
    }

    /// Plays the component backwards in rows; `prepare` has been called for its populations.
    pub(super) fn play_rows(&mut self, component: &Component, b: usize, trains: &[Train<'a>], out: &mut Gradients<T>) {
        let mut play = std::mem::take(&mut self.abreast);
        let inlets = self.start_rows(&mut play, component, trains);
        let mut looks = self.sorted_looks(component, trains);
        let mut rows = std::mem::take(&mut play.rows);
        let mut left: Vec<(usize, usize)> = component.populations.iter().map(|&p| (p, trains[p].len())).collect();
        loop {
            let look = looks.last().map_or(f64::NEG_INFINITY, |(_, look)| look.time());
            let latest = left.iter_mut().filter(|(_, count)| *count > 0);
            let latest = latest.max_by(|a, b| trains[a.0].times[a.1 - 1].total_cmp(&trains[b.0].times[b.1 - 1]));
            let spike = latest.as_ref().map_or(f64::NEG_INFINITY, |(p, count)| trains[*p].times[*count - 1]);
            while let Some(row) = rows.pop_if(|row| row.time >= spike.max(look)) {
                let known = if play.now == play.after { play.between.get(rows.len()) } else { None };
                play.after = row.time;
                self.row(&mut play, component, row, &inlets[row.inlet as usize], known, out);
            }
            if let Some((p, count)) = latest.filter(|_| spike >= look) {
                *count -= 1;
                let (p, k) = (*p, *count);
                self.flow_back(&mut play, component, spike);
                let i = trains[p].units[k] as usize;
                let node = self.settle(p, b, k, trains[p], play.banks[p].get(i), out);
                play.banks[p].set(i, (node.lambda_v, node.lambda_i));
                play.felt |= node.lambda_v != T::ZERO;
                self.leave(p, i, node);
            } else if let Some((p, look)) = looks.pop() {
                self.flow_back(&mut play, component, look.time());
                if let Look::Voltage(jump) = look {
                    let at = play.banks[p].get(jump.neuron);
                    if let Some(node) = self.voltage_seen(p, jump, at, out) {
                        play.banks[p].set(jump.neuron, (node.lambda_v, at.1));
                        play.felt = true;
                    }
                }
            } else {
                break;
            }
        }
        self.flow_back(&mut play, component, 0.0);
        for &p in &component.populations {
            for i in 0..self.shared.constants[p].n {
                self.initial(p, i, play.banks[p].get(i).0, out);
            }
        }
        play.rows = rows;
        self.looks = looks;
        self.abreast = play;
    }

    /// lambda is 0 at the trial's end; the rows that matter, ascending.
    fn start_rows(&self, play: &mut Abreast<T>, component: &Component, trains: &[Train<'a>]) -> Vec<Inlet<'a, T>> {
        let Shared { network, params, constants, record, request, .. } = self.shared;
        let mut inlets = Vec::new();
        play.banks.resize_with(network.populations().len(), Bank::default);
        play.now = record.duration;
        play.after = record.duration;
        play.felt = false;
        play.rows.clear();
        for &p in &component.populations {
            let Bank { v, i, modes } = &mut play.banks[p];
            let n = constants[p].n;
            match gamma(&constants[p]).filter(|_| self.voltage[p].sources.is_empty()) {
                Some(gamma) => modes.get_or_insert_default().reset(n, gamma),
                None => {
                    *modes = None;
                    for column in [v, i] {
                        column.clear();
                        column.resize(n, T::ZERO);
                    }
                }
            }
            play.felt |= !self.voltage[p].sources.is_empty();
            for &q in network.incoming(p) {
                let pre = network.projections()[q].pre;
                if !self.asked(q) && !component.populations.contains(&pre) {
                    continue;
                }
                let synapses = params.synapses(network, q);
                inlets.push(Inlet {
                    synapses,
                    pre,
                    post: p,
                    weight: network.weight_slot(q),
                    delay: network.delay_slot(q).filter(|&slot| request.wrt[slot]),
                    timed: request.asks_when(network, q),
                });
                for (k, (&t, &sender)) in trains[pre].times.iter().zip(trains[pre].units).enumerate() {
                    let RowDelay::Shared(delay) = synapses.row(sender as usize).delay else {
                        unreachable!("only rows that keep their order are played here")
                    };
                    let time = t + delay.f64();
                    if time < record.duration {
                        play.rows.push(RowEvent { time, inlet: inlets.len() as u32 - 1, sender, spike: k as u32 });
                    }
                }
            }
        }
        play.buckets.sort(&mut play.rows, |row| row.time);
        let after = play.rows.iter().skip(1).map(|row| row.time).chain([record.duration]);
        let spans = play.rows.iter().zip(after).map(|(row, after)| T::of(after - row.time));
        match component.populations[..] {
            [p] if constants[p].homogeneous => play.between.fill(self.shared.simd, constants[p].neuron(0), spans),
            _ => play.between = Propagators::default(),
        }
        inlets
    }

    /// All lambda of the component back to `time`.
    fn flow_back(&self, play: &mut Abreast<T>, component: &Component, time: f64) {
        let d = play.now - time;
        play.now = time;
        if !play.felt || d <= 0.0 {
            return;
        }
        for &p in &component.populations {
            let c = &self.shared.constants[p];
            let Bank { v, i, modes } = &mut play.banks[p];
            if let Some(modes) = modes {
                modes.flow(c.neuron(0).decays(T::of(d)));
                continue;
            }
            flow(self.shared.simd, c, T::of(d), None, v, i, &mut []);
            add_sources(c, &self.voltage[p].sources, time, d, v, i);
        }
    }

    /// One row of arrivals.
    fn row(
        &mut self,
        play: &mut Abreast<T>,
        component: &Component,
        RowEvent { time, sender, spike, .. }: RowEvent,
        inlet: &Inlet<'a, T>,
        known: Option<Propagator<T>>,
        out: &mut Gradients<T>,
    ) {
        let Shared { constants, simd, .. } = self.shared;
        if !play.felt {
            return;
        }
        let &Inlet { post: p, delay, timed, .. } = inlet;
        let row = inlet.synapses.row(sender as usize);
        let weights = self.own.as_mut().unwrap_or(out);
        let slot = &mut weights.slots[inlet.weight];
        let gradient = if slot.is_empty() { &mut [][..] } else { &mut slot[row.start..row.start + row.weight.len()] };
        let d = play.now - time;
        let fused = row.targets.is_none() && d > 0.0 && self.voltage[p].sources.is_empty();
        if d > 0.0 {
            play.now = time;
            for &other in &component.populations {
                let c = &constants[other];
                let Bank { v, i, modes } = &mut play.banks[other];
                if let Some(modes) = modes {
                    modes.flow(known.map_or_else(|| c.neuron(0).decays(T::of(d)), |p| (p.mem, p.syn)));
                    continue;
                }
                let sums = if fused && other == p { &mut *gradient } else { &mut [] };
                flow(simd, c, T::of(d), known, v, i, sums);
                add_sources(c, &self.voltage[other].sources, time, d, v, i);
            }
        }
        let Bank { v, i, modes } = &play.banks[p];
        if let Some(modes) = modes {
            let c = constants[p].neuron(0);
            let parts = modes.parts();
            // lambda_i/tau_syn - lambda_v/tau_mem
            let slope = (parts.of_y.0 * c.inv_syn - parts.of_x * c.inv_mem, parts.of_y.1 * c.inv_syn);
            let total = match row.targets {
                None if delay.is_none() && !timed => {
                    feel(simd, parts, gradient);
                    return;
                }
                None => feel_and_lean(simd, parts, slope, row.weight, gradient),
                Some(targets) => {
                    let mut total = T::ZERO;
                    for (k, &target) in targets.iter().enumerate() {
                        let (x, z) = (parts.x[target as usize], parts.z[target as usize]);
                        if let Some(g) = gradient.get_mut(k) {
                            *g += x * parts.of_y.0 + z * parts.of_y.1;
                        }
                        total += row.weight[k] * (x * slope.0 + z * slope.1);
                    }
                    total
                }
            };
            self.came_later(inlet, (sender, spike), total, out);
            return;
        }
        if !fused {
            match row.targets {
                None => {
                    for (g, &felt) in gradient.iter_mut().zip(i) {
                        *g += felt;
                    }
                }
                Some(targets) => {
                    for (g, &target) in gradient.iter_mut().zip(targets) {
                        *g += i[target as usize];
                    }
                }
            }
        }
        if delay.is_none() && !timed {
            return;
        }
        let c = &constants[p];
        let total = match row.targets {
            None => slopes(simd, c, row.weight, v, i),
            Some(targets) => {
                let slope = |(&w, &target): (&T, &u32)| {
                    let l = target as usize;
                    w * (i[l] * c.inv_syn[l] - v[l] * c.inv_mem[l])
                };
                row.weight.iter().zip(targets).map(slope).fold(T::ZERO, |sum, x| sum + x)
            }
        };
        self.came_later(inlet, (sender, spike), total, out);
    }

    /// What the loss gains as a row arrives later: to the sender's delay, and to when its spike set out.
    #[inline(always)]
    fn came_later(&mut self, inlet: &Inlet<'a, T>, (sender, spike): (u32, u32), total: T, out: &mut Gradients<T>) {
        if let Some(slot) = inlet.delay {
            out.slots[slot][sender as usize] += total;
        }
        if inlet.timed {
            self.dt[inlet.pre][spike as usize] += total.f64();
        }
    }
}

/// What integrals of V add over `[s, s + d]`, all neurons alike.
fn add_sources<T: Real>(c: &Constants<T>, sources: &[Source], s: f64, d: f64, v: &mut [T], i: &mut [T]) {
    for source in sources {
        let reach = source.weighting.reach(c.neuron(0), s, d);
        for ((v, i), &g) in v.iter_mut().zip(i.iter_mut()).zip(&source.g) {
            *v += T::of(g * reach.u);
            *i += T::of(g * reach.i);
        }
    }
}

/// lambda back over span `d`; `sums`, if not empty, takes lambda_i of each neuron in.
#[inline(always)]
fn flow<T: Real>(
    simd: Simd,
    c: &Constants<T>,
    d: T,
    known: Option<Propagator<T>>,
    v: &mut [T],
    i: &mut [T],
    sums: &mut [T],
) {
    if !c.homogeneous {
        flow_each(simd, d, c, v, i, sums);
        return;
    }
    let p = known.unwrap_or_else(|| c.neuron(0).propagator(d));
    if sums.is_empty() {
        flow_shared(simd, p, v, i);
    } else {
        flow_shared_into(simd, p, v, i, sums);
    }
}

vectorised! {
    fn flow_shared<T>(p: Propagator<T>, v: &mut [T], i: &mut [T]) {
        let n = v.len();
        let i = &mut i[..n];
        for l in 0..n {
            i[l] = i[l] * p.syn + v[l] * p.kappa;
            v[l] *= p.mem;
        }
    }
}

vectorised! {
    fn flow_shared_into<T>(p: Propagator<T>, v: &mut [T], i: &mut [T], sums: &mut [T]) {
        shared_into(p, v, i, sums);
    }
}

#[inline(always)]
fn shared_into<T: Real>(p: Propagator<T>, v: &mut [T], i: &mut [T], sums: &mut [T]) {
    let n = v.len();
    let (i, sums) = (&mut i[..n], &mut sums[..n]);
    for l in 0..n {
        let felt = i[l] * p.syn + v[l] * p.kappa;
        i[l] = felt;
        v[l] *= p.mem;
        sums[l] += felt;
    }
}

vectorised! {
    fn flow_each<T>(d: T, c: &Constants<T>, v: &mut [T], i: &mut [T], sums: &mut [T]) {
        flow_lanes(d, &c.inv_slow, &c.rate, &c.gain, &c.lin, &c.mem_slow, v, i);
        for (sum, &felt) in sums.iter_mut().zip(i.iter()) {
            *sum += felt;
        }
    }
}

vectorised! {
    /// A row of weight gradients, lambda in modes.
    fn feel<T>(parts: Parts<'_, T>, sums: &mut [T]) {
        let n = sums.len();
        let (x, z, (cx, cz)) = (&parts.x[..n], &parts.z[..n], parts.of_y);
        for l in 0..n {
            sums[l] += x[l] * cx + z[l] * cz;
        }
    }
}

vectorised! {
    /// The same, and the sum of `w dL/ds`, in an order that does not depend on the vector width.
    fn feel_and_lean<T>(parts: Parts<'_, T>, slope: (T, T), w: &[T], gradient: &mut [T]) -> T {
        let ((cx, cz), (sx, sz)) = (parts.of_y, slope);
        let mut sums = [T::ZERO; SUMS];
        let n = w.len();
        let (x, z) = (&parts.x[..n], &parts.z[..n]);
        let whole = n - n % SUMS;
        for first in (0..whole).step_by(SUMS) {
            let own = first..first + SUMS;
            let (w, x, z) = (&w[own.clone()], &x[own.clone()], &z[own.clone()]);
            for l in 0..SUMS {
                sums[l] += w[l] * (x[l] * sx + z[l] * sz);
            }
            if let Some(gradient) = gradient.get_mut(own) {
                for l in 0..SUMS {
                    gradient[l] += x[l] * cx + z[l] * cz;
                }
            }
        }
        for l in whole..n {
            sums[l - whole] += w[l] * (x[l] * sx + z[l] * sz);
            if let Some(g) = gradient.get_mut(l) {
                *g += x[l] * cx + z[l] * cz;
            }
        }
        let [total] = folded(sums);
        total
    }
}

/// Lanes of the sum in [`slopes`].
const SUMS: usize = 32;

vectorised! {
    /// `sum w (lambda_i/tau_syn - lambda_v/tau_mem)`, in an order that does not depend on the vector width.
    fn slopes<T>(c: &Constants<T>, w: &[T], v: &[T], i: &[T]) -> T {
        let n = w.len();
        let mut sums = [T::ZERO; SUMS];
        for first in (0..n).step_by(SUMS) {
            let own = first..(first + SUMS).min(n);
            let (inv_syn, inv_mem) = (&c.inv_syn[own.clone()], &c.inv_mem[own.clone()]);
            let (w, v, i) = (&w[own.clone()], &v[own.clone()], &i[own]);
            if w.len() == SUMS {
                slope_lanes(SUMS, w, v, i, inv_syn, inv_mem, &mut sums);
            } else {
                slope_lanes(w.len(), w, v, i, inv_syn, inv_mem, &mut sums);
            }
        }
        let [total] = folded(sums);
        total
    }
}

#[inline(always)]
fn slope_lanes<T: Real>(n: usize, w: &[T], v: &[T], i: &[T], inv_syn: &[T], inv_mem: &[T], sums: &mut [T; SUMS]) {
    let (w, v, i, inv_syn, inv_mem) = (&w[..n], &v[..n], &i[..n], &inv_syn[..n], &inv_mem[..n]);
    for l in 0..n {
        sums[l] += w[l] * (i[l] * inv_syn[l] - v[l] * inv_mem[l]);
    }
}
