//! One worker's backward pass: samples in, gradients added up.
//!
//! Components are taken receivers first. Within one, the populations' own spikes are played in exactly the reverse
//! order; each leaves a node from which lambda is known further back. Arrivals from outside only read lambda, so they
//! come afterwards, row by row.
use super::abreast::Abreast;
use super::constants::{Lives, Wanted};
use super::drop_large::add_small;
use super::gradients::Gradients;
use super::lean::{Lean, Plan};
use super::linear::Linear;
use super::nodes::{Node, Nodes};
use super::row::{RowScratch, span};
use super::sources::{Jump, VoltageCotangents};
use super::windows::Table;
use super::{Request, Sources};
use crate::error::{Error, Result};
use crate::math::{Real, Simd};
use crate::network::{Component, Kind, Network, Params};
use crate::neuron::Constants;
use crate::parallel::CancelFlag;
use crate::projection::DelayKind;
use crate::record::Record;
use crate::record::sample::{afferents, releases};
use crate::record::spans::Spans;
use crate::spikes::{SpikeBatch, Train};

/// What happens to a neuron between its spikes, as far as its lambda is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// A readout looks at V.
    Voltage(Jump),
    /// V is released after spike number `spike`.
    Release {
        /// When, ms.
        time: f64,
        /// Whose.
        neuron: usize,
        /// Which spike of the sample it follows.
        spike: usize,
    },
}

impl Look {
    pub(super) fn time(self) -> f64 {
        match self {
            Self::Voltage(jump) => jump.time,
            Self::Release { time, .. } => time,
        }
    }
}

/// What all workers share.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a, T: Real> {
    /// By component: how it is played in windows, if it is.
    pub windows: &'a [Option<super::windows::Plan<T>>],
    /// The network.
    pub network: &'a Network,
    /// Its parameters, as in the forward pass.
    pub params: &'a Params<'a, T>,
    /// Derived constants.
    pub constants: &'a [Constants<T>],
    /// Input spikes.
    pub inputs: &'a [SpikeBatch<'a>],
    /// The forward pass.
    pub record: &'a Record<T>,
    /// What is asked.
    pub request: &'a Request<'a>,
    /// Vector width.
    pub simd: Simd,
    /// Set from outside to stop.
    pub cancel: &'a CancelFlag,
}

/// Reusable storage of one worker.
#[derive(Debug)]
pub struct Sweep<'a, T: Real> {
    pub(super) shared: Shared<'a, T>,
    /// `dL/dt` of every spike of the sample, by population.
    pub(super) dt: Vec<Vec<f64>>,
    pub(super) nodes: Vec<Nodes<T>>,
    /// By population: whether nodes are asked for in this sample.
    remembers: Vec<bool>,
    /// By population: slots of v_th and v_reset, where they are asked for.
    resets: Vec<[Option<usize>; 2]>,
    wanted: Vec<Wanted>,
    spans: Vec<Spans<T>>,
    pub(super) voltage: Vec<VoltageCotangents>,
    capacity: Vec<u32>,
    row: RowScratch<T>,
    /// By component: how it can go spike by spike, if it can.
    plans: Vec<Option<Plan>>,
    lean: Lean<T>,
    /// Weight gradients of this sample alone, where `max_dw_norm` looks at them.
    pub(super) own: Option<Gradients<T>>,
    largest: Vec<T>,
    /// What happens between spikes, ascending.
    pub(super) looks: Vec<(usize, Look)>,
    pub(super) abreast: Abreast<T>,
    pub(super) table: Table<T>,
    pub(super) linear: Linear,
    /// lambda_v at the release after each spike, by population (only where V is held for a while).
    released: Vec<Vec<T>>,
}

impl<'a, T: Real> Sweep<'a, T> {
    /// Empty storage.
    pub fn new(shared: Shared<'a, T>) -> Self {
        let Shared { network, constants, request, .. } = shared;
        let n = network.populations().len();
        let own = request.max_dw_norm.map(|_| {
            let mut weights = vec![false; network.layout().len()];
            for q in 0..network.projections().len() {
                let slot = network.weight_slot(q);
                weights[slot] = request.wrt[slot];
            }
            Gradients::zeros(network, &weights)
        });
        let slot = |p, constant| network.constant_slot(p, constant).filter(|&slot| request.wrt[slot]);
        Self {
            shared,
            dt: vec![Vec::new(); n],
            nodes: vec![Nodes::default(); n],
            remembers: vec![false; n],
            resets: (0..n).map(|p| [slot(p, "v_th"), slot(p, "v_reset")]).collect(),
            wanted: (0..n).map(|p| Wanted::new(network, request.wrt, p)).collect(),
            spans: vec![Spans::default(); n],
            voltage: vec![VoltageCotangents::default(); n],
            capacity: Vec::new(),
            row: RowScratch::default(),
            plans: network.components().iter().map(|c| Plan::new(network, constants, c, request)).collect(),
            lean: Lean::default(),
            own,
            largest: Vec::new(),
            looks: Vec::new(),
            abreast: Abreast::default(),
            table: Table::default(),
            linear: Linear::default(),
            released: vec![Vec::new(); n],
        }
    }

    /// Adds the gradients of sample `b` to `out`; `input_times` receives `dL/dt` of its input spikes, one vector an
    /// input population, appended.
    pub fn sample(&mut self, b: usize, out: &mut Gradients<T>, input_times: &mut [Vec<f64>]) -> Result<()> {
        let Shared { network, record, request, cancel, .. } = self.shared;
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let trains = crate::record::sample::trains(network, self.shared.inputs, b, &record.populations, b);
        for (p, train) in trains.iter().enumerate() {
            let dt = &mut self.dt[p];
            dt.clear();
            match request.spike_times[p] {
                Some(given) => dt.extend_from_slice(&given[record.populations[p].range(b)]),
                None => dt.resize(train.len(), 0.0),
            }
        }
        self.read_cotangents(b);
        if let Some(own) = &mut self.own {
            own.clear();
        }
        for (k, component) in network.components().iter().enumerate().rev() {
            if self.spike_by_spike(k, component, b, &trains, out) {
                continue;
            }
            if network.populations()[component.populations[0]].kind != Kind::Input {
                self.component(k, component, b, &trains, out);
            }
        }
        if request.input_times {
            let inputs = (0..trains.len()).filter(|&p| network.populations()[p].kind == Kind::Input);
            for (all, p) in input_times.iter_mut().zip(inputs) {
                all.extend_from_slice(&self.dt[p]);
            }
        }
        if let (Some(own), Some(limit)) = (&self.own, request.max_dw_norm) {
            let Shared { network, simd, .. } = self.shared;
            add_small(simd, network, request.wrt, limit, own, &mut self.largest, out);
        }
        Ok(())
    }

    /// Sorts the readouts' cotangents of sample `b` by population.
    fn read_cotangents(&mut self, b: usize) {
        let Shared { network, record, request, .. } = self.shared;
        for voltage in &mut self.voltage {
            voltage.clear();
        }
        for ((asked, values), given) in record.requests.iter().zip(&record.readouts).zip(request.readouts) {
            let Some(given) = given else { continue };
            let n = network.populations()[asked.population].size;
            let width = asked.readout.width() * n;
            let given = &given[b * width..(b + 1) * width];
            let peaks = if values.peaks.is_empty() { &[][..] } else { &values.peaks[b * n..(b + 1) * n] };
            Sources { readout: &asked.readout, given, peaks, duration: record.duration }
                .sort(n, &mut self.voltage[asked.population]);
        }
    }

    /// The component of that number, if it can go spike by spike.
    fn spike_by_spike(
        &mut self,
        number: usize,
        component: &Component,
        b: usize,
        trains: &[Train<'a>],
        out: &mut Gradients<T>,
    ) -> bool {
        let p = component.populations[0];
        let Self { shared, dt, voltage, plans, lean, own, .. } = self;
        let Some(plan) = &plans[number] else { return false };
        voltage[p].is_empty() && lean.run(shared, plan, p, b, trains, dt, own.as_mut(), out)
    }

    fn component(
        &mut self,
        number: usize,
        component: &Component,
        b: usize,
        trains: &[Train<'a>],
        out: &mut Gradients<T>,
    ) {
        let Shared { network, params, constants, record, .. } = self.shared;
        if self.linear_fits(component) {
            self.play_linear(component, trains, out);
            return;
        }
        let plan = self.shared.windows[number].as_ref();
        let in_rows = self.rows_fit(component, trains);
        for &p in &component.populations {
            // In rows lambda is at hand; nodes are for the gradients of constants.
            self.remembers[p] = !in_rows || self.wanted[p].any();
            self.prepare(p, b, trains[p], out);
        }
        if in_rows {
            self.play_rows(component, b, trains, out);
        } else if let Some(plan) = plan.filter(|plan| self.windows_fit(component, plan, trains)) {
            self.play_windows(component, plan, b, trains, out);
        } else {
            self.own_spikes(component, b, trains, out);
            self.outside_arrivals(component, trains, out);
            for &p in &component.populations {
                for i in 0..constants[p].n {
                    let (lambda_v, _) = self.at_head(p, i, 0.0);
                    self.initial(p, i, lambda_v, out);
                }
            }
        }
        for &p in &component.populations {
            let wanted = self.wanted[p];
            if wanted.any() {
                let afferents = afferents(network, params, p, trains);
                let lives = Lives {
                    constants: &constants[p],
                    nodes: &self.nodes[p],
                    spans: &self.spans[p],
                    afferents: &afferents,
                    sources: &self.voltage[p].sources,
                    duration: record.duration,
                    simd: self.shared.simd,
                };
                lives.gradients(wanted, out);
            }
        }
    }

    /// Whether the arrivals of projection `q` from outside the component matter to anyone.
    pub(super) fn asked(&self, q: usize) -> bool {
        let Shared { network, request, .. } = self.shared;
        request.wrt[network.weight_slot(q)]
            || network.delay_slot(q).is_some_and(|slot| request.wrt[slot])
            || request.asks_when(network, q)
    }

    /// Arrivals from outside only read lambda, which is known by now.
    fn outside_arrivals(&mut self, component: &Component, trains: &[Train<'a>], out: &mut Gradients<T>) {
        let network = self.shared.network;
        for &p in &component.populations {
            for &q in network.incoming(p) {
                let pre = network.projections()[q].pre;
                if component.populations.contains(&pre) || !self.asked(q) {
                    continue;
                }
                for k in (0..trains[pre].len()).rev() {
                    let felt = self.arrivals(q, trains[pre].units[k], trains[pre].times[k], out);
                    self.dt[pre][k] += felt.f64();
                }
            }
        }
    }

    /// lambda_v of neuron `i` at the trial's start.
    pub(super) fn initial(&self, p: usize, i: usize, lambda_v: T, out: &mut Gradients<T>) {
        if let Some(slot) = self.shared.network.constant_slot(p, "v_init") {
            out.add(slot, i, lambda_v);
        }
    }

    /// Spans, room for nodes, and the node at the trial's end of every neuron of population `p`.
    fn prepare(&mut self, p: usize, b: usize, train: Train<'_>, out: &mut Gradients<T>) {
        let Shared { network, constants, record, .. } = self.shared;
        let c = &constants[p];
        let own = &record.populations[p];
        let range = own.range(b);
        let release = if own.release.is_empty() { &[][..] } else { &own.release[range.clone()] };
        let voltage = &self.voltage[p];
        let needs_spans =
            c.refractory || !voltage.jumps.is_empty() || !voltage.sources.is_empty() || self.wanted[p].any();
        if needs_spans {
            self.spans[p].fill(c, train, &own.current[range], release, record.duration);
        }
        if self.remembers[p] {
            self.room_for_nodes(p, train);
        }
        let voltage = &self.voltage[p];
        if let Some(slot) = network.constant_slot(p, "v_th") {
            for &(i, g) in &voltage.thresholds {
                out.add(slot, i, T::of(g));
            }
        }
        if let Some(slot) = network.constant_slot(p, "v_reset")
            && c.refractory
        {
            // While V is held, an integral sees v_reset.
            for source in &voltage.sources {
                for i in 0..c.n {
                    for held in self.spans[p].of(i).iter().filter(|span| span.held) {
                        let reach = source.weighting.reach(c.neuron(i), held.start, held.end - held.start);
                        out.add(slot, i, T::of(source.g[i] * reach.one));
                    }
                }
            }
        }
    }

    /// Room for the nodes of population `p`, and those at the trial's end.
    fn room_for_nodes(&mut self, p: usize, train: Train<'_>) {
        let Shared { constants, record, .. } = self.shared;
        let (c, voltage) = (&constants[p], &self.voltage[p]);
        // Only an integral looks at V up to the trial's end; otherwise nothing is felt after a neuron's last node.
        let ends = !voltage.sources.is_empty();
        self.capacity.clear();
        self.capacity.resize(c.n, u32::from(ends));
        let per_spike = if c.holds { 2 } else { 1 };
        for &unit in train.units {
            self.capacity[unit as usize] += per_spike;
        }
        for jump in &voltage.jumps {
            self.capacity[jump.neuron] += 1;
        }
        self.nodes[p].reset(c, &self.capacity);
        for i in (0..c.n).filter(|_| ends) {
            let held = c.refractory && self.spans[p].of(i).last().is_some_and(|span| span.held);
            let end = Node {
                time: record.duration,
                lambda_v: T::ZERO,
                lambda_i: T::ZERO,
                direct_v: T::ZERO,
                direct_i: T::ZERO,
                free: !held,
                ends_span: true,
            };
            self.nodes[p].push(i, end);
        }
    }

    /// A node before all others of neuron `i`, if anyone asks for nodes.
    pub(super) fn leave(&mut self, p: usize, i: usize, node: Node<T>) {
        if self.remembers[p] {
            self.nodes[p].push(i, node);
        }
    }

    /// The component's own spikes, the releases after them, and the readouts' looks at voltages, latest first.
    fn own_spikes(&mut self, component: &Component, b: usize, trains: &[Train<'a>], out: &mut Gradients<T>) {
        let mut looks = self.sorted_looks(component, trains);
        let mut left: Vec<(usize, usize)> = component.populations.iter().map(|&p| (p, trains[p].len())).collect();
        loop {
            let latest = left
                .iter_mut()
                .filter(|(_, count)| *count > 0)
                .max_by(|a, b| trains[a.0].times[a.1 - 1].total_cmp(&trains[b.0].times[b.1 - 1]));
            let Some((p, count)) = latest else { break };
            *count -= 1;
            let (p, k) = (*p, *count);
            while let Some(&(q, look)) = looks.last().filter(|(_, look)| look.time() > trains[p].times[k]) {
                self.look(q, look, out);
                looks.pop();
            }
            self.spike(component, p, b, k, trains[p], out);
        }
        while let Some((q, look)) = looks.pop() {
            self.look(q, look, out);
        }
        self.looks = looks;
    }

    /// Releases and the readouts' looks at voltages, ascending.
    pub(super) fn sorted_looks(&mut self, component: &Component, trains: &[Train<'a>]) -> Vec<(usize, Look)> {
        let Shared { constants, record, .. } = self.shared;
        let mut looks = std::mem::take(&mut self.looks);
        looks.clear();
        for &p in &component.populations {
            looks.extend(self.voltage[p].jumps.iter().map(|&jump| (p, Look::Voltage(jump))));
            if constants[p].holds {
                self.released[p].clear();
                self.released[p].resize(trains[p].len(), T::ZERO);
                for (spike, (neuron, time)) in releases(&constants[p], trains[p]).into_iter().enumerate() {
                    let held = constants[p].neuron(neuron as usize).t_ref > 0.0;
                    if held && time < record.duration {
                        looks.push((p, Look::Release { time, neuron: neuron as usize, spike }));
                    }
                }
            }
        }
        looks.sort_by(|a, b| a.1.time().total_cmp(&b.1.time()));
        looks
    }

    /// lambda of neuron `i` at `t`, which lies before all its nodes so far.
    pub(super) fn at_head(&mut self, p: usize, i: usize, t: f64) -> (T, T) {
        let c = self.shared.constants[p].neuron(i);
        let nodes = &mut self.nodes[p];
        let head = nodes.first(i);
        if !head.free && head.lambda_v == T::ZERO && head.lambda_i == T::ZERO {
            return (T::ZERO, T::ZERO);
        }
        let d = head.time - t;
        let flow = c.propagator(span::<T>(head.time, t));
        let mut lambda_v = head.lambda_v * flow.mem;
        let mut lambda_i = head.lambda_i * flow.syn + head.lambda_v * flow.kappa;
        if head.free {
            for source in &self.voltage[p].sources {
                let g = source.g[i];
                if g != 0.0 {
                    let reach = source.weighting.reach(c, t, d);
                    lambda_v += T::of(g * reach.u);
                    lambda_i += T::of(g * reach.i);
                }
            }
        }
        (lambda_v, lambda_i)
    }

    pub(super) fn look(&mut self, p: usize, look: Look, out: &mut Gradients<T>) {
        match look {
            Look::Voltage(jump) => {
                let head = self.at_head(p, jump.neuron, jump.time);
                self.voltage_seen(p, jump, head, out);
            }
            Look::Release { time, neuron, spike } => {
                let (lambda_v, lambda_i) = self.at_head(p, neuron, time);
                self.released[p][spike] = lambda_v;
                let node = Node {
                    time,
                    lambda_v: T::ZERO,
                    lambda_i,
                    direct_v: T::ZERO,
                    direct_i: lambda_i,
                    free: false,
                    ends_span: true,
                };
                self.leave(p, neuron, node);
            }
        }
    }

    /// A readout looks at V; the node that this leaves, unless a constant alone is seen.
    pub(super) fn voltage_seen(
        &mut self,
        p: usize,
        jump: Jump,
        (lambda_v, lambda_i): (T, T),
        out: &mut Gradients<T>,
    ) -> Option<Node<T>> {
        let network = self.shared.network;
        let (i, g) = (jump.neuron, T::of(jump.g));
        let slot = |constant| network.constant_slot(p, constant);
        if self.spans[p].seen_at(i, jump.time).held {
            if let Some(slot) = slot("v_reset") {
                out.add(slot, i, g);
            }
        } else if jump.time <= 0.0 {
            if let Some(slot) = slot("v_init") {
                out.add(slot, i, g);
            }
        } else {
            let node = Node {
                time: jump.time,
                lambda_v: lambda_v + g,
                lambda_i,
                direct_v: g,
                direct_i: T::ZERO,
                free: true,
                ends_span: false,
            };
            self.leave(p, i, node);
            return Some(node);
        }
        None
    }

    /// Spike `k` of population `p`.
    fn spike(&mut self, component: &Component, p: usize, b: usize, k: usize, train: Train<'_>, out: &mut Gradients<T>) {
        let network = self.shared.network;
        let (time, i) = (train.times[k], train.units[k] as usize);
        for q in 0..network.projections().len() {
            let projection = &network.projections()[q];
            if projection.pre == p && component.populations.contains(&projection.post) {
                self.dt[p][k] += self.arrivals(q, i as u32, time, out).f64();
            }
        }
        let head = self.at_head(p, i, time);
        let node = self.settle(p, b, k, train, head, out);
        self.leave(p, i, node);
    }

    /// Spike `k` of population `p`, all of whose arrivals are in `dt`, from lambda just after it: the node that it leaves.
    pub(super) fn settle(
        &mut self,
        p: usize,
        b: usize,
        k: usize,
        train: Train<'_>,
        (mut lambda_v, lambda_i): (T, T),
        out: &mut Gradients<T>,
    ) -> Node<T> {
        let Shared { constants, record, request, .. } = self.shared;
        let (time, i) = (train.times[k], train.units[k] as usize);
        let c = *constants[p].neuron(i);
        let own = &record.populations[p];
        let at = own.range(b).start + k;
        let current = own.current[at];
        // Where V is held, what counts is lambda and the slope of V at its release.
        let mut slope = (current - c.u_reset) * c.inv_mem;
        if c.t_ref > 0.0 {
            let released = time + c.t_ref < record.duration;
            lambda_v = if released { self.released[p][k] } else { T::ZERO };
            slope = if released { (own.release[at] - c.u_reset) * c.inv_mem } else { T::ZERO };
        }
        let mut total = self.dt[p][k];
        // An integral of V loses the drop at the reset as soon as the spike comes.
        for source in &self.voltage[p].sources {
            total += source.g[i] * source.weighting.at(time) * (c.theta - c.u_reset).f64();
        }
        let total = T::of(total) - slope * lambda_v;
        self.dt[p][k] = total.f64();
        let vdot = (current - c.theta) * c.inv_mem;
        out.min_vdot = out.min_vdot.min(vdot.f64());
        let floor = request.min_vdot.map(T::of);
        let vdot = match floor {
            Some(floor) if vdot < floor => {
                out.floored += 1;
                floor
            }
            _ => vdot,
        };
        let push = total / vdot;
        for (slot, value) in self.resets[p].iter().zip([push, lambda_v]) {
            if let Some(slot) = *slot {
                out.add(slot, i, value);
            }
        }
        Node { time, lambda_v: -push, lambda_i, direct_v: -push, direct_i: lambda_i, free: true, ends_span: true }
    }

    /// All arrivals of one spike through projection `q`; returns what they add to the sender's `dL/dt`.
    fn arrivals(&mut self, q: usize, sender: u32, t: f64, out: &mut Gradients<T>) -> T {
        let Shared { network, params, constants, simd, .. } = self.shared;
        let projection = &network.projections()[q];
        let p = projection.post;
        let row = params.synapses(network, q).row(sender as usize);
        let total = self.row.run(simd, &constants[p], &mut self.nodes[p], &row, t, &mut self.voltage[p]);
        if self.row.weight.is_empty() {
            return total;
        }
        let weights = self.own.as_mut().unwrap_or(out);
        let slot = &mut weights.slots[network.weight_slot(q)];
        if !slot.is_empty() {
            for (x, &g) in slot[row.start..].iter_mut().zip(&self.row.weight) {
                *x += g;
            }
        }
        if let Some(slot) = network.delay_slot(q) {
            let slot = &mut out.slots[slot];
            if !slot.is_empty() {
                match projection.delay {
                    DelayKind::None => {}
                    DelayKind::Axonal => slot[sender as usize] += total,
                    DelayKind::Dendritic => {
                        for (k, &g) in self.row.time.iter().enumerate() {
                            slot[row.target(k)] += g;
                        }
                    }
                    DelayKind::Synaptic => {
                        for (x, &g) in slot[row.start..].iter_mut().zip(&self.row.time) {
                            *x += g;
                        }
                    }
                }
            }
        }
        total
    }
}
