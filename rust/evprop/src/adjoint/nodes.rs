//! lambda of every neuron, as one exponential pair between nodes.
//!
//! A node is an instant at which lambda is known: a neuron's own spike, the release of its voltage, a readout that looks
//! at the voltage there, the end of the trial. Between nodes lambda is one exponential pair (plus sources), so an
//! arrival at `s` looks up the first node strictly after `s` and decays from there; arrivals never change lambda.
use crate::math::{Real, prefetch};
use crate::neuron::Constants;
use crate::neuron::constants::LANES;

/// What kind of instant a node is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node<T> {
    /// When, ms.
    pub time: f64,
    /// lambda_v just before.
    pub lambda_v: T,
    /// lambda_i just before.
    pub lambda_i: T,
    /// What the loss feels directly of V at this instant (not through later nodes of the same span).
    pub direct_v: T,
    /// Likewise of I.
    pub direct_i: T,
    /// V flows freely before the node (it is not held).
    pub free: bool,
    /// The node ends a span (own spike, release, trial end).
    pub ends_span: bool,
}

/// The nodes of all neurons of a population in one sample, each neuron's in ascending time; filled from the end.
#[derive(Debug, Clone, Default)]
pub struct Nodes<T> {
    offsets: Vec<usize>,
    head: Vec<usize>,
    nodes: Vec<Node<T>>,
    /// Lane by lane, the node that an arrival would use, as vectors; `previous` is the time of the node before it.
    pub time: Vec<f64>,
    /// See `time`.
    pub previous: Vec<f64>,
    /// See `time`.
    pub lambda_v: Vec<T>,
    /// See `time`.
    pub lambda_i: Vec<T>,
    /// See `time`.
    pub free: Vec<bool>,
    at: Vec<usize>,
}

impl<T: Real> Nodes<T> {
    /// Makes room for `capacity[i]` nodes of neuron `i` besides a last one at infinity, where lambda is 0.
    pub fn reset(&mut self, c: &Constants<T>, capacity: &[u32]) {
        let n = c.n;
        let beyond = Node {
            time: f64::INFINITY,
            lambda_v: T::ZERO,
            lambda_i: T::ZERO,
            direct_v: T::ZERO,
            direct_i: T::ZERO,
            free: false,
            ends_span: true,
        };
        self.offsets.clear();
        self.offsets.push(0);
        self.head.clear();
        let mut end = 0;
        for &room in capacity {
            end += room as usize + 1;
            self.offsets.push(end);
            self.head.push(end - 1);
        }
        self.nodes.clear();
        self.nodes.resize(end, beyond);
        let padded = c.padded();
        self.at.clear();
        self.at.extend_from_slice(&self.head);
        self.at.resize(padded, usize::MAX);
        self.time.clear();
        self.time.resize(padded, f64::INFINITY);
        self.previous.clear();
        self.previous.resize(padded, f64::NEG_INFINITY);
        for v in [&mut self.lambda_v, &mut self.lambda_i] {
            v.clear();
            v.resize(padded, T::ZERO);
        }
        self.free.clear();
        self.free.resize(padded, false);
        debug_assert_eq!(self.head.len(), n);
    }

    /// Puts a node before all others of neuron `i`.
    pub fn push(&mut self, i: usize, node: Node<T>) {
        self.head[i] -= 1;
        let head = self.head[i];
        debug_assert!(head >= self.offsets[i]);
        self.nodes[head] = node;
        self.select(i, head);
    }

    /// Asks for what the lane of neuron `i` shows ahead of use.
    #[inline(always)]
    pub fn fetch(&self, i: usize) {
        prefetch(&self.nodes, self.at[i]);
    }

    fn select(&mut self, i: usize, at: usize) {
        let node = self.nodes[at];
        self.at[i] = at;
        self.time[i] = node.time;
        self.previous[i] = if at > self.head[i] { self.nodes[at - 1].time } else { f64::NEG_INFINITY };
        self.lambda_v[i] = node.lambda_v;
        self.lambda_i[i] = node.lambda_i;
        self.free[i] = node.free;
    }

    /// Makes the lane of neuron `i` show the first node strictly after `s`.
    #[inline(always)]
    pub fn seek(&mut self, i: usize, s: f64) {
        if self.previous[i] <= s && s < self.time[i] {
            return;
        }
        self.seek_far(i, s);
    }

    /// [`Self::seek`] for the neurons `0..s.len()`, each at its own time; returns whether any lambda is not 0 there.
    #[inline(always)]
    pub fn seek_all(&mut self, s: &[f64]) -> bool {
        let mut felt = false;
        for first in (0..s.len()).step_by(LANES) {
            let lanes = first..(first + LANES).min(s.len());
            let astray = |l: usize| !((self.previous[l] <= s[l]) & (s[l] < self.time[l]));
            if lanes.clone().fold(false, |any, l| any | astray(l)) {
                for l in lanes.clone() {
                    self.seek(l, s[l]);
                }
            }
            let (v, i) = (&self.lambda_v[lanes.clone()], &self.lambda_i[lanes]);
            felt |= v.iter().zip(i).fold(false, |any, (&v, &i)| any | (v != T::ZERO) | (i != T::ZERO));
        }
        felt
    }

    #[inline(never)]
    fn seek_far(&mut self, i: usize, s: f64) {
        let mut at = self.at[i];
        while at > self.head[i] && self.nodes[at - 1].time > s {
            at -= 1;
        }
        while self.nodes[at].time <= s {
            at += 1;
        }
        self.select(i, at);
    }

    /// The earliest node of neuron `i` so far.
    pub fn first(&self, i: usize) -> Node<T> {
        self.nodes[self.head[i]]
    }

    /// The nodes of neuron `i` so far, and the one at infinity.
    fn own(&self, i: usize) -> &[Node<T>] {
        &self.nodes[self.head[i]..self.offsets[i + 1]]
    }

    /// The nodes of neuron `i` from the first strictly after `s` on.
    pub fn after(&self, i: usize, s: f64) -> &[Node<T>] {
        let own = self.own(i);
        &own[own.partition_point(|node| node.time <= s)..]
    }

    /// The first node of neuron `i` strictly after `s` (the last is at infinity), and when the one before it is.
    pub fn around(&self, i: usize, s: f64) -> (f64, Node<T>) {
        let own = self.own(i);
        let at = own.partition_point(|node| node.time <= s);
        (if at > 0 { own[at - 1].time } else { f64::NEG_INFINITY }, own[at])
    }

    /// Whether each node of neuron `i` ends a span.
    pub fn all_end_spans(&self, i: usize) -> bool {
        self.own(i).iter().all(|node| node.ends_span)
    }
}
