//! lambda of all neurons, window by window, as far ahead as delays reach.
use super::plan::{Keeping, Plan};
use super::{modes, series};
use crate::math::{Real, Ticks};
use crate::record::inlets::BLOCK;

/// lambda_v and lambda_i of all lanes at the ends of windows, or their modes: by (block of lanes, window of the ring,
/// lane); NaN where a node lies in the window.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    /// The table.
    pub items: &'a [[T; 2]],
    /// First lane of the receiving population.
    pub first_lane: usize,
    /// Windows of the ring.
    pub windows: usize,
}

impl<'a, T> View<'a, T> {
    /// What the table knows of a block of the population.
    #[inline(always)]
    pub fn block(&self, first: usize) -> &'a [[T; 2]] {
        let size = self.windows * BLOCK;
        let at = (self.first_lane + first) / BLOCK * size;
        &self.items[at..at + size]
    }
}

/// An arrival that the table can't answer.
#[derive(Debug, Clone, Copy)]
pub struct Near {
    /// Which of the spikes in question.
    pub spike: usize,
    /// Place in its row.
    pub synapse: usize,
}

/// The table, and what a row needs besides.
#[derive(Debug, Clone, Default)]
pub struct Table<T: Real> {
    lanes: usize,
    /// Windows of the ring.
    windows: usize,
    /// The window under way.
    pub now: usize,
    /// Modes refer to the start of this window.
    origin: usize,
    /// See [`View`].
    items: Vec<[T; 2]>,
    /// The same for the window under way.
    pub v: Vec<T>,
    /// See `v`.
    pub i: Vec<T>,
    /// Lanes with a node in the window under way.
    pub marked: Vec<u32>,
    /// Lanes with a node so near its start that it counts for the window before, too.
    early: Vec<u32>,
    looks: series::Looks<T>,
    modes: modes::Looks<T>,
    /// Instants of spikes, from the ring's seam.
    pub since: Vec<T::Ticks>,
    /// From the instant that modes refer to, and the same in both modes.
    pub spans: Vec<f64>,
    /// See `spans`.
    pub growth: Vec<[T; 2]>,
    /// Some lambda is not 0.
    pub felt: bool,
}

impl<T: Real> Table<T> {
    /// Nothing is felt yet, at the trial's end.
    pub fn reset(&mut self, plan: &Plan<T>, duration: f64) {
        (self.lanes, self.windows, self.now) = (plan.lanes, plan.windows, plan.grid.window(duration));
        self.origin = self.now - self.now % plan.slab;
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

    /// Where a lane's entry of a window lies.
    fn at(&self, window: usize, lane: usize) -> usize {
        (lane / BLOCK * self.windows + window % self.windows) * BLOCK + lane % BLOCK
    }

    /// From the ring's seam to an instant in `window` or later.
    pub fn since_seam(&self, plan: &Plan<T>, t: f64, window: usize) -> T::Ticks {
        plan.grid.ticks_from::<T>(t, window).minus(T::Ticks::window(self.seam()))
    }

    /// What there is to see of population `p`, and scratch.
    pub fn view(&mut self, plan: &Plan<T>, p: usize) -> (View<'_, T>, &mut series::Looks<T>) {
        (View { items: &self.items, first_lane: plan.base[p], windows: self.windows }, &mut self.looks)
    }

    /// The same for one in modes.
    pub fn modes(&mut self, plan: &Plan<T>, p: usize) -> (View<'_, T>, &mut modes::Looks<T>) {
        (View { items: &self.items, first_lane: plan.base[p], windows: self.windows }, &mut self.modes)
    }

    /// From the instant that modes refer to to one that does not lie before it, ms.
    pub fn span(&self, plan: &Plan<T>, t: f64) -> f64 {
        (t - plan.grid.start(self.origin)).max(0.0)
    }

    /// Moves on to the window before; lambda at its end is known.
    pub fn step_back(&mut self) {
        self.marked.clear();
        self.now -= 1;
        self.fill();
        std::mem::swap(&mut self.marked, &mut self.early);
        for k in 0..self.marked.len() {
            let at = self.at(self.now, self.marked[k] as usize);
            self.items[at] = [T::of(f64::NAN); 2];
        }
    }

    /// Modes refer to an instant one slab earlier from now on.
    pub fn turn(&mut self, plan: &Plan<T>) {
        let earlier = self.origin.saturating_sub(plan.slab);
        let span = (self.origin - earlier) as f64 * plan.grid.step;
        self.origin = earlier;
        for (p, keeping) in plan.keeping.iter().enumerate().filter(|_| self.felt) {
            let Some(Keeping::Modes(pace)) = keeping else { continue };
            let [a, b] = pace.decay::<T>(span);
            let lanes = plan.lanes_of(p);
            for [x, y] in &mut self.items[lanes.start * self.windows..lanes.end * self.windows] {
                (*x, *y) = (*x * a, *y * b);
            }
            for (x, y) in self.v[lanes.clone()].iter_mut().zip(&mut self.i[lanes]) {
                (*x, *y) = (*x * a, *y * b);
            }
        }
    }

    /// Lambda at the end of the window under way.
    fn fill(&mut self) {
        if !self.felt {
            return;
        }
        for first in (0..self.lanes).step_by(BLOCK) {
            let at = self.at(self.now, first);
            let own = first..first + BLOCK;
            for (item, (&v, &i)) in
                self.items[at..at + BLOCK].iter_mut().zip(self.v[own.clone()].iter().zip(&self.i[own]))
            {
                *item = [v, i];
            }
        }
    }

    /// Neuron `i` of population `p` has a node at `time`, in the window under way.
    pub fn mark(&mut self, plan: &Plan<T>, p: usize, i: usize, time: f64) {
        self.felt = true;
        let lane = plan.base[p] + i;
        // Arrivals are placed to a tick or two: near a border they may be in the next window, or in the one before.
        let slack = plan.grid.step * 4.0 / (1u64 << T::Ticks::FRACTION) as f64;
        let nan = [T::of(f64::NAN); 2];
        if plan.grid.start(self.now + 1) - time < slack {
            let at = self.at(self.now + 1, lane);
            self.items[at] = nan;
        }
        // Those in modes are placed to two parts.
        let late = if matches!(plan.keeping[p], Some(Keeping::Modes(_))) {
            slack + plan.grid.step * modes::SLACK
        } else {
            slack
        };
        if time - plan.grid.start(self.now) < late && !self.early.contains(&(lane as u32)) {
            self.early.push(lane as u32);
        }
        let at = self.at(self.now, lane);
        if self.items[at][0].is_nan() && self.marked.contains(&(lane as u32)) {
            return;
        }
        self.items[at] = nan;
        self.marked.push(lane as u32);
    }
}
