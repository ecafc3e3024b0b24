//! What is still to come: pending arrivals in a heap, and each neuron's next possible crossing in a tournament.
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A delivery under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pending {
    /// Arrival time, ms.
    pub time: f64,
    /// Order of sending: breaks ties, so that equal times are played in a fixed order.
    pub order: u64,
    /// Projection.
    pub projection: u32,
    /// Sending unit.
    pub sender: u32,
    /// Synapse within the row, or [`Pending::WHOLE_ROW`].
    pub synapse: u32,
}

impl Pending {
    /// All synapses of the row arrive at once.
    pub const WHOLE_ROW: u32 = u32::MAX;
}

impl Eq for Pending {}

impl Ord for Pending {
    /// Reversed, because the heap pops the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.time.total_cmp(&self.time).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Deliveries under way, earliest first.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    heap: BinaryHeap<Pending>,
    sent: u64,
}

impl Queue {
    /// Empties the queue.
    pub fn clear(&mut self) {
        self.heap.clear();
        self.sent = 0;
    }

    /// Sends a delivery.
    pub fn push(&mut self, time: f64, projection: u32, sender: u32, synapse: u32) {
        self.heap.push(Pending { time, order: self.sent, projection, sender, synapse });
        self.sent += 1;
    }

    /// Time of the next arrival, infinite if none.
    pub fn next_time(&self) -> f64 {
        self.heap.peek().map_or(f64::INFINITY, |p| p.time)
    }

    /// The next arrival, left where it is.
    pub fn next(&self) -> Option<Pending> {
        self.heap.peek().copied()
    }

    /// Takes the next arrival.
    pub fn pop(&mut self) -> Option<Pending> {
        self.heap.pop()
    }
}

/// The smallest of `n` keys, each changeable: a complete binary tree of winners. Ties go to the lower index.
#[derive(Debug, Clone, Default)]
pub struct Tournament {
    leaves: usize,
    keys: Vec<f64>,
    winner: Vec<u32>,
}

impl Tournament {
    /// `n` keys, all infinite.
    pub fn reset(&mut self, n: usize) {
        self.leaves = n.next_power_of_two().max(1);
        self.keys.clear();
        self.keys.resize(self.leaves, f64::INFINITY);
        self.winner.clear();
        self.winner.resize(2 * self.leaves, 0);
        for l in 0..self.leaves {
            self.winner[self.leaves + l] = l as u32;
        }
        for node in (1..self.leaves).rev() {
            self.winner[node] = self.winner[2 * node];
        }
    }

    /// Changes one key.
    #[inline(always)]
    pub fn set(&mut self, index: usize, key: f64) {
        if self.keys[index] == key {
            return;
        }
        self.keys[index] = key;
        let mut node = (self.leaves + index) / 2;
        while node >= 1 {
            let (a, b) = (self.winner[2 * node], self.winner[2 * node + 1]);
            self.winner[node] = if self.keys[b as usize] < self.keys[a as usize] { b } else { a };
            node /= 2;
        }
    }

    /// Index and value of the smallest key.
    #[inline(always)]
    pub fn min(&self) -> (usize, f64) {
        let index = self.winner[1] as usize;
        (index, self.keys[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tournament_follows_changes() {
        for n in [1, 2, 5, 8] {
            let mut t = Tournament::default();
            t.reset(n);
            let mut keys = vec![f64::INFINITY; n];
            for step in 0..200u64 {
                let index = (step * 7 % n as u64) as usize;
                let key = (step.wrapping_mul(2_654_435_761) % 17) as f64;
                keys[index] = key;
                t.set(index, key);
                let want = (0..n).min_by(|&a, &b| keys[a].total_cmp(&keys[b]).then(a.cmp(&b)));
                assert_eq!(Some(t.min().0), want);
            }
        }
    }

    #[test]
    fn queue_breaks_ties_by_order_of_sending() {
        let mut q = Queue::default();
        for (time, sender) in [(2.0, 0), (1.0, 1), (2.0, 2), (1.0, 3)] {
            q.push(time, 0, sender, Pending::WHOLE_ROW);
        }
        let order: Vec<u32> = std::iter::from_fn(|| q.pop().map(|p| p.sender)).collect();
        assert_eq!(order, [1, 3, 0, 2]);
    }
}
