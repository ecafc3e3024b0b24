//! What whole rows of arrivals feel of the time constants of their targets: all targets of a row abreast.
//!
//! Where the span in which an arrival falls has one node, at `e`, and the time constants are well apart,
//!
//! ```text
//! dkappa/dtau_mem = gamma (d/tau_mem^2 E_m - (E_m - E_s) / (tau_mem - tau_syn))                    d = e - s
//! dkappa/dtau_syn = gamma (tau_mem/tau_syn (E_m - E_s) / (tau_mem - tau_syn) - d/tau_syn^2 E_s)
//! ```
//!
//! are two exponentials, and take no look at the node but for its time and for what the loss feels there. Other neurons
//! are left to [`Lives::arrival`].
use super::{Lives, Pair};
use crate::math::{Real, Simd};
use crate::neuron::constants::Neuron;
use crate::neuron::modes::gamma_of;
use crate::projection::Row;
use crate::vectorised;

/// Neuron by neuron: its constants, and the node that an arrival would use.
#[derive(Debug, Clone, Default)]
struct Columns<T> {
    inv_mem: Vec<T>,
    inv_syn: Vec<T>,
    /// `gamma / tau_mem^2` and `gamma / tau_syn^2`.
    slope_mem: Vec<T>,
    slope_syn: Vec<T>,
    /// `gamma / (tau_mem - tau_syn)`, and that times `tau_mem / tau_syn`.
    lean_mem: Vec<T>,
    lean_syn: Vec<T>,
    /// `1 / tau_syn^2`
    fade: Vec<T>,
    /// When, ms; minus infinity where nothing is felt any more.
    end: Vec<f64>,
    direct_v: Vec<T>,
    direct_i: Vec<T>,
}

/// All neurons of a population in one sample.
#[derive(Debug, Clone, Default)]
pub struct Rows<T> {
    columns: Columns<T>,
    /// Arrivals from `previous` on and before `time` use the node in the columns.
    previous: Vec<f64>,
    time: Vec<f64>,
    /// When a row arrives.
    s: Vec<f64>,
    /// Sums of what is felt.
    mem: Vec<f64>,
    syn: Vec<f64>,
    /// Neurons that are looked at one by one.
    others: Vec<usize>,
}

impl<T: Real> Rows<T> {
    /// Nothing has arrived yet.
    pub fn new(lives: &Lives<'_, T>) -> Self {
        let n = lives.constants.n;
        let mut rows = Self {
            previous: vec![f64::NEG_INFINITY; n],
            time: vec![f64::INFINITY; n],
            s: vec![0.0; n],
            mem: vec![0.0; n],
            syn: vec![0.0; n],
            ..Self::default()
        };
        let columns = &mut rows.columns;
        (columns.end, columns.direct_v, columns.direct_i) =
            (vec![f64::NEG_INFINITY; n], vec![T::ZERO; n], vec![T::ZERO; n]);
        for i in 0..n {
            let c = lives.constants.neuron(i);
            let gamma = gamma_of(c);
            rows.columns.push(c, gamma.unwrap_or(0.0));
            if gamma.is_some() && lives.sources.is_empty() && lives.nodes.all_end_spans(i) {
                // The first arrival looks for its node.
                rows.time[i] = f64::NEG_INFINITY;
            } else {
                rows.others.push(i);
            }
        }
        rows
    }

    /// Neurons that are looked at one by one.
    pub fn others(&self) -> &[usize] {
        &self.others
    }

    /// A dense row whose spike sets out at `t`.
    pub fn arrive(&mut self, simd: Simd, lives: &Lives<'_, T>, t: f64, row: &Row<'_, T>) {
        if self.others.len() == self.s.len() {
            return;
        }
        for (k, s) in self.s.iter_mut().enumerate() {
            *s = t + row.delay_of(k);
        }
        for i in 0..self.s.len() {
            if !((self.previous[i] <= self.s[i]) & (self.s[i] < self.time[i])) {
                self.seek(lives, i);
            }
        }
        feel(simd, &self.columns, &self.s, row.weight, &mut self.mem, &mut self.syn);
    }

    #[inline(never)]
    fn seek(&mut self, lives: &Lives<'_, T>, i: usize) {
        let (previous, node) = lives.nodes.around(i, self.s[i]);
        (self.previous[i], self.time[i]) = (previous, node.time);
        let Columns { end, direct_v, direct_i, .. } = &mut self.columns;
        end[i] = if node.time.is_finite() { node.time } else { f64::NEG_INFINITY };
        (direct_v[i], direct_i[i]) = (node.direct_v, node.direct_i);
    }

    /// What has been felt.
    pub fn add_to(&self, tau: &mut [Pair]) {
        for (tau, (mem, syn)) in tau.iter_mut().zip(self.mem.iter().zip(&self.syn)) {
            *tau = (tau.0 + mem, tau.1 + syn);
        }
    }
}

impl<T: Real> Columns<T> {
    fn push(&mut self, c: &Neuron<T>, gamma: f64) {
        let (tm, ts) = (c.tau_mem.f64(), c.tau_syn.f64());
        // gamma = tau_syn/(tau_mem - tau_syn)
        let lean = gamma * gamma / ts;
        self.inv_mem.push(c.inv_mem);
        self.inv_syn.push(c.inv_syn);
        self.slope_mem.push(T::of(gamma / (tm * tm)));
        self.slope_syn.push(T::of(gamma / (ts * ts)));
        self.lean_mem.push(T::of(lean));
        self.lean_syn.push(T::of(lean * tm / ts));
        self.fade.push(T::of(1.0 / (ts * ts)));
    }
}

vectorised! {
    /// What a row feels, times its weights.
    fn feel<T>(c: &Columns<T>, s: &[f64], weight: &[T], mem: &mut [f64], syn: &mut [f64]) {
        let n = s.len();
        let (inv_mem, inv_syn, fade) = (&c.inv_mem[..n], &c.inv_syn[..n], &c.fade[..n]);
        let (slope_mem, slope_syn) = (&c.slope_mem[..n], &c.slope_syn[..n]);
        let (lean_mem, lean_syn) = (&c.lean_mem[..n], &c.lean_syn[..n]);
        let (end, direct_v, direct_i) = (&c.end[..n], &c.direct_v[..n], &c.direct_i[..n]);
        let (weight, mem, syn) = (&weight[..n], &mut mem[..n], &mut syn[..n]);
        for l in 0..n {
            let d = T::of(end[l] - s[l]).larger(T::ZERO);
            let (of_mem, of_syn) = ((-(d * inv_mem[l])).exp_neg(), (-(d * inv_syn[l])).exp_neg());
            let (apart, late) = (of_mem - of_syn, d * of_syn);
            let (gv, gi) = (weight[l] * direct_v[l], weight[l] * direct_i[l]);
            mem[l] += (gv * (slope_mem[l] * (d * of_mem) - lean_mem[l] * apart)).f64();
            syn[l] += (gv * (lean_syn[l] * apart - slope_syn[l] * late) + gi * (fade[l] * late)).f64();
        }
    }
}
