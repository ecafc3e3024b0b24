//! A serial link: so many events a millisecond, and room for so many that wait.
//!
//! An event of `size` packets that comes at `t` sets out at `s = max(t, free)` and keeps the link busy until
//! `s + size interval`. It is late if `s > t`. It is lost if more than `room` packets wait before it.

/// What became of the events, over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Traffic {
    /// Events handed to the link, lost ones included.
    pub events: u64,
    /// Events that had to wait.
    pub late: u64,
    /// Events that found no room.
    pub lost: u64,
    /// The longest wait, ms.
    pub longest_wait: f64,
}

impl Traffic {
    /// Adds what another part of the batch saw.
    pub fn add(&mut self, other: &Traffic) {
        self.events += other.events;
        self.late += other.late;
        self.lost += other.lost;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

/// A link's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Between two packets, ms; 0: no limit.
    pub interval: f64,
    /// Packets that may wait; `None`: any number.
    pub room: Option<u32>,
}

/// A link at work in one trial.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    link: &'a Link,
    free: f64,
}

impl Link {
    /// The link at the start of a trial: nothing waits.
    pub fn start(&self) -> Passing<'_> {
        Passing { link: self, free: 0.0 }
    }
}

impl Passing<'_> {
    /// When an event of `size` packets that comes at `t` sets out; `None`: it is lost. Events come in the order of time.
    pub fn pass(&mut self, t: f64, size: u32, traffic: &mut Traffic) -> Option<f64> {
        traffic.events += 1;
        let Link { interval, room } = *self.link;
        if interval == 0.0 {
            return Some(t);
        }
        let wait = (self.free - t).max(0.0);
        if room.is_some_and(|room| wait > f64::from(room) * interval) {
            traffic.lost += 1;
            return None;
        }
        if wait > 0.0 {
            traffic.late += 1;
            traffic.longest_wait = traffic.longest_wait.max(wait);
        }
        let start = if wait > 0.0 { self.free } else { t };
        self.free = start + f64::from(size) * interval;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(link: &Link, events: &[(f64, u32)]) -> (Vec<Option<f64>>, Traffic) {
        let mut traffic = Traffic::default();
        let mut passing = link.start();
        let out = events.iter().map(|&(t, size)| passing.pass(t, size, &mut traffic)).collect();
        (out, traffic)
    }

    #[test]
    fn events_queue_up_and_none_is_lost_without_a_limit() {
        let link = Link { interval: 0.5, room: None };
        let (out, traffic) = play(&link, &[(1.0, 1), (1.0, 2), (1.25, 1), (9.0, 1)]);
        assert_eq!(out, [Some(1.0), Some(1.5), Some(2.5), Some(9.0)]);
        assert_eq!(traffic, Traffic { events: 4, late: 2, lost: 0, longest_wait: 1.25 });
    }

    #[test]
    fn a_full_queue_loses_events() {
        let link = Link { interval: 1.0, room: Some(1) };
        let (out, traffic) = play(&link, &[(0.0, 1), (0.0, 1), (0.0, 1), (1.5, 1)]);
        assert_eq!(out, [Some(0.0), Some(1.0), None, Some(2.0)]);
        assert_eq!((traffic.late, traffic.lost), (2, 1));
    }

    #[test]
    fn without_an_interval_nothing_waits() {
        let (out, traffic) = play(&Link { interval: 0.0, room: Some(0) }, &[(1.0, 5), (1.0, 5)]);
        assert_eq!(out, [Some(1.0); 2]);
        assert_eq!((traffic.late, traffic.lost), (0, 0));
    }
}
