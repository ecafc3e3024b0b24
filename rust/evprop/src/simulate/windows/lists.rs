//! The single arrivals of the few lanes that are played one by one: found by asking the spikes under way.
//!
//! Asking is cheap in 64ths of a window: a lane keeps when, about, each spike under way arrives, and looks up exact times
//! and weights of those alone that fall into the window in question.
use super::{Play, Spike};
use crate::math::{Real, Ticks};
use crate::simulate::eventwise::Source;
use crate::vectorised;

/// 64ths of a window.
const PARTS: u16 = 64;

/// Arrivals looked at together.
const CHUNK: usize = 32;

/// Arrivals of spikes that are over, kept at most.
const STALE: usize = 512;

/// The spikes of one inlet that have set out.
#[derive(Debug, Clone, Default)]
pub struct Sent<K> {
    /// The first that may still arrive.
    pub first: usize,
    /// When.
    pub ticks: Vec<K>,
    marks: Vec<Mark>,
}

/// A spike, as small as may be: all that are under way are looked through.
#[derive(Debug, Clone, Copy)]
struct Mark {
    unit: u32,
    /// In 64ths of a window.
    at: u16,
}

impl<K: Ticks> Sent<K> {
    /// None has set out.
    pub fn reset(&mut self) {
        self.first = 0;
        self.ticks.clear();
        self.marks.clear();
    }

    /// One more sets out.
    pub fn push(&mut self, ticks: K, unit: u32) {
        self.ticks.push(ticks);
        self.marks.push(Mark { unit, at: ticks.coarse() });
    }
}

impl<K> Sent<K> {
    /// How many have set out.
    pub fn len(&self) -> usize {
        self.marks.len()
    }
}

/// When the spikes of one inlet reach one lane.
#[derive(Debug, Clone, Default)]
struct List {
    /// The spike that `at` begins with.
    first: usize,
    /// In 64ths of a window; too early by one at most.
    at: Vec<u16>,
}

impl List {
    /// Forgets the spikes before `first`, when they are many.
    fn forget(&mut self, first: usize) {
        let over = first - self.first;
        if over >= self.at.len() {
            self.first = first;
            self.at.clear();
        } else if over > STALE {
            self.first = first;
            self.at.drain(..over);
        }
    }

    /// The first spike that has not been asked.
    fn next(&self) -> usize {
        self.first + self.at.len()
    }
}

/// Lists by lane and inlet.
#[derive(Debug, Clone, Default)]
pub struct Lists<T> {
    of: Vec<List>,
    hits: Vec<u32>,
    arrivals: Vec<(T, T)>,
}

impl<T: Real> Lists<T> {
    /// Forgets all.
    pub fn reset(&mut self, lanes: usize, inlets: usize) {
        self.of.resize_with(lanes * inlets, List::default);
        for list in &mut self.of {
            list.first = 0;
            list.at.clear();
        }
    }

    /// Arrivals of a lane in window `now`: time from its start, and weight.
    pub fn arrivals(
        &mut self,
        play: &Play<'_, T>,
        lane: usize,
        now: usize,
        sent: &[Sent<T::Ticks>],
        out: &[Vec<Spike<T>>],
    ) -> &[(T, T)] {
        let Self { of, hits, arrivals } = self;
        let inlets = play.inlets;
        let base = inlets.base[inlets.member(lane)];
        let target = lane - base;
        let start = T::Ticks::window(now);
        let (begin, step) = (inlets.grid.start(now), inlets.grid.step);
        arrivals.clear();
        for (q, (inlet, sent)) in inlets.all.iter().zip(sent).enumerate() {
            if inlet.base != base {
                continue;
            }
            let list = &mut of[lane * inlets.all.len() + q];
            list.forget(sent.first);
            let fresh = &sent.marks[list.next()..];
            if let Some(column) = inlet.column(target) {
                if fresh.len() > CHUNK {
                    column.fetch();
                }
                list.at.extend(fresh.iter().map(|mark| mark.at.wrapping_add(column.of(mark.unit))));
            } else {
                // Where there is no synapse any time will do: none is found in the end.
                let delay = |mark: &Mark| inlet.synapse(mark.unit as usize, target).map_or(0, |(_, d, _)| d.coarse());
                list.at.extend(fresh.iter().map(|mark| mark.at.wrapping_add(delay(mark))));
            }
            hits.clear();
            find::<T>(play.simd, &list.at[sent.first - list.first..], start.coarse().wrapping_sub(1), hits);
            for &k in hits.iter() {
                inlet.fetch(sent.marks[sent.first + k as usize].unit as usize, target);
            }
            for &k in hits.iter() {
                let k = sent.first + k as usize;
                let Some((delay, ticks, w)) = inlet.synapse(sent.marks[k].unit as usize, target) else { continue };
                let time = match play.sources[q] {
                    Source::Outside(train) => train.times[k],
                    Source::Member(m) => out[m][k].time,
                };
                let x = time + delay - begin;
                // Ticks decide, as they did when the spike set out; but they repeat.
                let here = sent.ticks[k].plus(ticks).minus(start).whole() == T::Ticks::default();
                if here && x.abs() < 2.0 * step && time + delay < play.limits[0].duration {
                    arrivals.push((T::of(x.clamp(0.0, step)), w));
                }
            }
        }
        arrivals
    }
}

vectorised! {
    /// Which of `at` lie within a window that begins at `from`, or one part beside it.
    fn find<T>(at: &[u16], from: u16, hits: &mut Vec<u32>) {
        for (first, chunk) in at.chunks(CHUNK).enumerate() {
            let mut any = 0;
            for &at in chunk {
                any |= u16::from(at.wrapping_sub(from) <= PARTS);
            }
            if any != 0 {
                // Without a branch that nobody can foresee.
                let (mut some, mut n) = ([0; CHUNK + 1], 0);
                for (k, &at) in chunk.iter().enumerate() {
                    some[n] = (first * CHUNK + k) as u32;
                    n += usize::from(at.wrapping_sub(from) <= PARTS);
                }
                hits.extend_from_slice(&some[..n]);
            }
        }
    }
}
