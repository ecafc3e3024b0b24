//! The network: populations and projections, checked once, immutable; and its parameters as slices.
use crate::error::{Error, Result};
use crate::math::Real;
use crate::neuron::Constants;
use crate::projection::{Connectivity, DelayKind, Synapses};

/// What the units of a population are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Spikes come from outside.
    Input,
    /// Leaky integrate-and-fire.
    Lif,
    /// Leaky integrator: no threshold, never spikes.
    Li,
}

impl Kind {
    /// Names of the neuron parameters, in layout order.
    pub fn constants(self) -> &'static [&'static str] {
        match self {
            Kind::Input => &[],
            Kind::Lif => &["tau_mem", "tau_syn", "v_th", "v_reset", "i_bias", "v_init", "t_ref"],
            Kind::Li => &["tau_mem", "tau_syn", "i_bias", "v_init"],
        }
    }
}

/// A population of alike units.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// Unique name.
    pub name: String,
    /// What its units are.
    pub kind: Kind,
    /// Number of units.
    pub size: usize,
}

/// A projection from population `pre` to population `post`.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Unique name.
    pub name: String,
    /// Index of the sending population.
    pub pre: usize,
    /// Index of the receiving population.
    pub post: usize,
    /// Who reaches whom.
    pub connectivity: Connectivity,
    /// What a delay belongs to.
    pub delay: DelayKind,
    /// Whether a unit may reach itself (matters where `pre == post`).
    pub self_connections: bool,
}

/// Populations that reach one another, in an order in which every other input is known before.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Members, ascending.
    pub populations: Vec<usize>,
    /// Whether any projection runs inside.
    pub recurrent: bool,
}

/// Where the parameters of the network lie in the flat list of arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// `population.constant` or `projection.weight`.
    pub name: String,
    /// Shape of the array.
    pub shape: Vec<usize>,
}

/// Populations and projections, checked.
#[derive(Debug, Clone)]
pub struct Network {
    populations: Vec<Population>,
    projections: Vec<Projection>,
    components: Vec<Component>,
    incoming: Vec<Vec<usize>>,
    layout: Vec<Slot>,
    population_slot: Vec<usize>,
    projection_slot: Vec<usize>,
}

impl Network {
    /// Checks and orders the network.
    pub fn new(populations: Vec<Population>, projections: Vec<Projection>) -> Result<Self> {
        for p in &populations {
            if p.size == 0 {
                return Err(Error::Network(format!("population '{}' has size 0; it needs at least one unit", p.name)));
            }
        }
        for q in &projections {
            check_projection(&populations, q)?;
        }
        let mut incoming = vec![Vec::new(); populations.len()];
        for (k, q) in projections.iter().enumerate() {
            incoming[q.post].push(k);
        }
        let components = components(populations.len(), &projections);
        let mut layout = Vec::new();
        let mut population_slot = Vec::new();
        for p in &populations {
            population_slot.push(layout.len());
            for constant in p.kind.constants() {
                layout.push(Slot { name: format!("{}.{constant}", p.name), shape: vec![p.size] });
            }
        }
        let mut projection_slot = Vec::new();
        for q in &projections {
            projection_slot.push(layout.len());
            let (n_pre, n_post) = (populations[q.pre].size, populations[q.post].size);
            let full = match &q.connectivity {
                Connectivity::Dense => vec![n_pre, n_post],
                Connectivity::Sparse { indices, .. } => vec![indices.len()],
            };
            let delay = match q.delay {
                DelayKind::None => None,
                DelayKind::Axonal => Some(vec![n_pre, 1]),
                DelayKind::Dendritic => Some(vec![1, n_post]),
                DelayKind::Synaptic => Some(full.clone()),
            };
            layout.push(Slot { name: format!("{}.weight", q.name), shape: full });
            if let Some(shape) = delay {
                layout.push(Slot { name: format!("{}.delay", q.name), shape });
            }
        }
        Ok(Self { populations, projections, components, incoming, layout, population_slot, projection_slot })
    }

    /// All populations.
    pub fn populations(&self) -> &[Population] {
        &self.populations
    }

    /// All projections.
    pub fn projections(&self) -> &[Projection] {
        &self.projections
    }

    /// Strongly connected components, senders first.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Indices of the projections onto population `p`, as listed.
    pub fn incoming(&self, p: usize) -> &[usize] {
        &self.incoming[p]
    }

    /// Name and shape of every parameter array, in order.
    pub fn layout(&self) -> &[Slot] {
        &self.layout
    }

    /// Slot of a neuron parameter of population `p`.
    pub fn constant_slot(&self, p: usize, constant: &str) -> Option<usize> {
        let k = self.populations[p].kind.constants().iter().position(|c| *c == constant)?;
        Some(self.population_slot[p] + k)
    }

    /// Slot of the weights of projection `q`.
    pub fn weight_slot(&self, q: usize) -> usize {
        self.projection_slot[q]
    }

    /// Slot of the delays of projection `q`.
    pub fn delay_slot(&self, q: usize) -> Option<usize> {
        (self.projections[q].delay != DelayKind::None).then(|| self.projection_slot[q] + 1)
    }

    /// Whether projection `q` runs inside a recurrent component.
    pub fn is_internal(&self, q: usize) -> bool {
        let Projection { pre, post, .. } = self.projections[q];
        self.components.iter().any(|c| c.populations.contains(&pre) && c.populations.contains(&post))
    }
}

fn check_projection(populations: &[Population], q: &Projection) -> Result<()> {
    let wrong = |what: String| Err(Error::Network(format!("projection '{}': {what}", q.name)));
    let n = populations.len();
    if q.pre >= n || q.post >= n {
        return wrong(format!("joins populations {} and {}, but there are {n}", q.pre, q.post));
    }
    let (pre, post) = (&populations[q.pre], &populations[q.post]);
    if pre.kind == Kind::Li {
        return wrong(format!("'{}' is a leaky integrator and never spikes; it can't send", pre.name));
    }
    if post.kind == Kind::Input {
        return wrong(format!("'{}' is an input; it can't receive", post.name));
    }
    if let Connectivity::Sparse { indptr, indices } = &q.connectivity {
        let sound = indptr.len() == pre.size + 1
            && indptr[0] == 0
            && indptr[pre.size] == indices.len()
            && indptr.windows(2).all(|w| w[0] <= w[1]);
        if !sound {
            return wrong(format!(
                "indptr must have {} entries that start at 0, never fall, and end at {} (the number of synapses)",
                pre.size + 1,
                indices.len()
            ));
        }
        for j in 0..pre.size {
            let row = &indices[indptr[j]..indptr[j + 1]];
            if let Some(&i) = row.iter().find(|&&i| i as usize >= post.size) {
                return wrong(format!(
                    "target {i} of sender {j} is out of range; '{}' has {} units",
                    post.name, post.size
                ));
            }
            if row.windows(2).any(|w| w[0] >= w[1]) {
                return wrong(format!(
                    "targets of sender {j} must ascend without repeats; sort them or merge duplicates"
                ));
            }
            if !q.self_connections && q.pre == q.post && row.contains(&(j as u32)) {
                return wrong(format!("unit {j} reaches itself although self_connections is False"));
            }
        }
    }
    Ok(())
}

/// Tarjan's strongly connected components (1972), returned senders first.
fn components(n: usize, projections: &[Projection]) -> Vec<Component> {
    struct State<'a> {
        targets: &'a [Vec<usize>],
        index: Vec<Option<usize>>,
        low: Vec<usize>,
        stack: Vec<usize>,
        count: usize,
        found: Vec<Vec<usize>>,
    }
    fn visit(s: &mut State<'_>, v: usize) {
        s.index[v] = Some(s.count);
        s.low[v] = s.count;
        s.count += 1;
        s.stack.push(v);
        for &w in &s.targets[v] {
            match s.index[w] {
                None => {
                    visit(s, w);
                    s.low[v] = s.low[v].min(s.low[w]);
                }
                Some(index) if s.stack.contains(&w) => s.low[v] = s.low[v].min(index),
                Some(_) => {}
            }
        }
        if Some(s.low[v]) == s.index[v]
            && let Some(at) = s.stack.iter().position(|&w| w == v)
        {
            let mut members = s.stack.split_off(at);
            members.sort_unstable();
            s.found.push(members);
        }
    }
    let mut targets = vec![Vec::new(); n];
    for q in projections {
        targets[q.pre].push(q.post);
    }
    let mut state = State {
        targets: &targets,
        index: vec![None; n],
        low: vec![0; n],
        stack: Vec::new(),
        count: 0,
        found: Vec::new(),
    };
    for v in 0..n {
        if state.index[v].is_none() {
            visit(&mut state, v);
        }
    }
    state.found.reverse();
    let recurrent = |c: &[usize]| projections.iter().any(|q| c.contains(&q.pre) && c.contains(&q.post));
    state.found.into_iter().map(|c| Component { recurrent: recurrent(&c), populations: c }).collect()
}

/// Parameter values in layout order, borrowed.
#[derive(Debug, Clone)]
pub struct Params<'a, T> {
    slots: Vec<&'a [T]>,
}

impl<'a, T: Real> Params<'a, T> {
    /// Takes the arrays in layout order and checks lengths and ranges.
    pub fn new(network: &Network, slots: Vec<&'a [T]>) -> Result<Self> {
        let layout = network.layout();
        if slots.len() != layout.len() {
            return Err(Error::Argument(format!("{} parameter arrays given, {} needed", slots.len(), layout.len())));
        }
        for (slot, values) in layout.iter().zip(&slots) {
            let n: usize = slot.shape.iter().product();
            if values.len() != n {
                return Err(Error::Argument(format!("{} has {} values, {n} needed", slot.name, values.len())));
            }
        }
        let params = Self { slots };
        params.check(network)?;
        Ok(params)
    }

    /// The values of one slot.
    #[inline(always)]
    pub fn slot(&self, k: usize) -> &'a [T] {
        self.slots[k]
    }

    /// Derived constants of population `p` (none for an input).
    pub fn constants(&self, network: &Network, p: usize) -> Constants<T> {
        let population = &network.populations[p];
        let n = if population.kind == Kind::Input { 0 } else { population.size };
        Constants::new(n, |constant| network.constant_slot(p, constant).map(|k| self.slots[k]))
    }

    /// Derived constants of all populations.
    pub fn all_constants(&self, network: &Network) -> Vec<Constants<T>> {
        (0..network.populations.len()).map(|p| self.constants(network, p)).collect()
    }

    /// Weights and delays of projection `q`.
    pub fn synapses<'n>(&self, network: &'n Network, q: usize) -> Synapses<'n, T>
    where
        'a: 'n,
    {
        let projection = &network.projections[q];
        Synapses {
            n_post: network.populations[projection.post].size,
            connectivity: &projection.connectivity,
            delay_kind: projection.delay,
            weight: self.slots[network.weight_slot(q)],
            delay: network.delay_slot(q).map_or(&[], |k| self.slots[k]),
        }
    }

    fn check(&self, network: &Network) -> Result<()> {
        for (slot, values) in network.layout.iter().zip(&self.slots) {
            let constant = slot.name.rsplit('.').next().unwrap_or_default();
            let (good, must): (fn(T) -> bool, _) = match constant {
                "tau_mem" | "tau_syn" => (|x| x > T::ZERO && x.is_finite(), "time constants must be finite and > 0 ms"),
                "delay" => (|x| x >= T::ZERO && x.is_finite(), "delays must be finite and >= 0 ms"),
                "t_ref" => (|x| x >= T::ZERO, "refractory times must be >= 0 ms (inf: at most one spike)"),
                _ => (|x| x.is_finite(), "must be finite"),
            };
            if let Some(index) = values.iter().position(|&x| !good(x)) {
                return Err(Error::Parameter { name: slot.name.clone(), index, value: values[index].f64(), must });
            }
        }
        for (p, population) in network.populations.iter().enumerate() {
            if population.kind != Kind::Lif {
                continue;
            }
            let of = |c| network.constant_slot(p, c).map_or(&[][..], |k| self.slots[k]);
            let v_th = of("v_th");
            for (constant, must) in [
                ("v_reset", "must be below v_th of the same neuron"),
                ("v_init", "must be below v_th of the same neuron"),
            ] {
                let values = of(constant);
                if let Some(index) = (0..population.size).find(|&i| values[i] >= v_th[i]) {
                    let name = format!("{}.{constant}", population.name);
                    return Err(Error::Parameter { name, index, value: values[index].f64(), must });
                }
            }
        }
        for (k, q) in network.projections.iter().enumerate() {
            if q.pre == q.post && !q.self_connections && q.connectivity == Connectivity::Dense {
                let n = network.populations[q.pre].size;
                let weight = self.slots[network.weight_slot(k)];
                if let Some(j) = (0..n).find(|&j| weight[j * n + j] != T::ZERO) {
                    let index = j * n + j;
                    return Err(Error::Parameter {
                        name: format!("{}.weight", q.name),
                        index,
                        value: weight[index].f64(),
                        must: "the diagonal must be 0 because self_connections is False",
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projection(pre: usize, post: usize) -> Projection {
        let (connectivity, delay) = (Connectivity::Dense, DelayKind::None);
        Projection { name: format!("{pre}_{post}"), pre, post, connectivity, delay, self_connections: true }
    }

    #[test]
    fn components_come_senders_first() {
        // 0 -> 1 -> 2 -> 1 (a loop of 1 and 2), 2 -> 3, 3 -> 3, 0 -> 4
        let edges = [(0, 1), (1, 2), (2, 1), (2, 3), (3, 3), (0, 4)];
        let projections: Vec<_> = edges.iter().map(|&(a, b)| projection(a, b)).collect();
        let found = components(5, &projections);
        let at = |p: usize| found.iter().position(|c| c.populations.contains(&p));
        assert!(at(0) < at(1) && at(1) == at(2) && at(2) < at(3) && at(0) < at(4));
        for c in &found {
            assert_eq!(c.recurrent, c.populations != [0] && c.populations != [4]);
        }
    }

    #[test]
    fn refuses_impossible_networks() {
        let population = |name: &str, kind, size| Population { name: name.into(), kind, size };
        let network = |kind_post, size, q| {
            Network::new(vec![population("a", Kind::Input, 2), population("b", kind_post, size)], vec![q])
        };
        assert!(network(Kind::Lif, 3, projection(0, 1)).is_ok());
        assert!(network(Kind::Lif, 0, projection(0, 1)).is_err());
        assert!(network(Kind::Lif, 3, projection(1, 0)).is_err());
        assert!(network(Kind::Li, 3, projection(1, 1)).is_err());
        assert!(network(Kind::Lif, 3, projection(0, 2)).is_err());
    }
}
