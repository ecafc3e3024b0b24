//! What arrives in the windows ahead, summed up: a ring of windows that reaches as far ahead as delays do.
//!
//! A cell holds what its arrivals add to `u` and `i` at the end of its window ([`values`]) or, where neurons are alike, to
//! two modes with respect to an instant that moves on now and then ([`modes`]): there an arrival costs no more than to be added.
mod modes;
mod values;

use super::notes::Notes;
use crate::math::{Cell, Real, Simd, Ticks};
use crate::neuron::series::Series;
use crate::record::inlets::{BLOCK, Inlet, InletRows};
pub use values::Falls;

/// Cells by (block of lanes, window of the ring, lane): what one block takes in lies together.
#[derive(Debug, Clone, Default)]
pub struct Ring<T: Real> {
    cells: Vec<Cell<T>>,
    /// Windows it holds.
    pub windows: usize,
    /// Number of the window at the ring's seam.
    pub seam: usize,
    /// Modes refer to the start of this window, at the seam of this turn or of an earlier one.
    pub origin: usize,
    /// No window from here on has an arrival.
    pub filled: usize,
}

impl<T: Real> Ring<T> {
    /// Empty, from window 0 on.
    pub fn reset(&mut self, windows: usize, lanes: usize) {
        self.cells.clear();
        self.cells.resize(windows * lanes, [T::ZERO; 4]);
        (self.windows, self.seam, self.origin, self.filled) = (windows, 0, 0, 0);
    }

    /// Windows before `now` are over: the ring may turn. After so many turns modes refer to the new seam: by how many
    /// windows that is later.
    pub fn advance(&mut self, now: usize, turns: usize) -> usize {
        self.seam = now - now % self.windows;
        let passed = self.seam - self.origin;
        if passed < turns * self.windows {
            return 0;
        }
        self.origin = self.seam;
        passed
    }

    /// Makes the cells of a block of lanes refer to a later instant: factors of both modes.
    pub fn fade(&mut self, first_lane: usize, [mem, syn]: [T; 2]) {
        let by = [mem, syn, T::ONE, syn];
        for cell in self.column(first_lane).cells {
            for l in 0..4 {
                cell[l] *= by[l];
            }
        }
    }

    /// The cells of a block of lanes in window `number`.
    #[inline(always)]
    pub fn block(&mut self, first_lane: usize, number: usize) -> &mut [Cell<T>; BLOCK] {
        let at = first_lane * self.windows / BLOCK + number % self.windows;
        &mut self.cells.as_chunks_mut().0[at]
    }

    /// All cells of a block of lanes.
    #[inline(always)]
    fn column(&mut self, first_lane: usize) -> Column<'_, T> {
        let at = first_lane * self.windows;
        Column { cells: &mut self.cells[at..at + BLOCK * self.windows] }
    }

    /// A spike at `t` in window `now` or later will arrive.
    pub fn reach(&mut self, now: usize, t: T::Ticks, inlet: &Inlet<'_, T>) {
        let since = t.minus(T::Ticks::window(now));
        self.filled = self.filled.max(now + since.plus(inlet.longest_ticks).whole().u32() as usize + 1);
    }

    /// What notes call a window.
    pub fn name(&self, number: usize) -> u8 {
        (number % self.windows) as u8
    }

    /// The seam's instant, and the ring's size.
    #[inline(always)]
    fn turn(&self) -> Turn<T> {
        Turn { seam: T::Ticks::window(self.seam), windows: T::Ticks::window(self.windows).whole() }
    }
}

/// The cells of a block of lanes.
struct Column<'a, T> {
    cells: &'a mut [Cell<T>],
}

impl<T: Real> Column<'_, T> {
    /// Adds to one of them.
    #[inline(always)]
    fn add(&mut self, at: u32, more: &Cell<T>) {
        let cell = &mut self.cells[at as usize];
        // Written so that it is one vector.
        let (a, b) = (*cell, *more);
        *cell = [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]];
    }
}

/// Where the ring stands.
#[derive(Debug, Clone, Copy)]
struct Turn<T: Real> {
    seam: T::Ticks,
    windows: T::Ticks,
}

impl<T: Real> Turn<T> {
    /// The cell of lane `k` of a block in the window that lies `ahead` windows after the seam.
    #[inline(always)]
    fn at(self, ahead: T::Ticks, k: usize) -> u32 {
        // Where `ahead` does not reach round the ring, the difference is a huge number.
        ahead.min(ahead.minus(self.windows)).u32() * BLOCK as u32 + k as u32
    }
}

/// Spikes that set out.
#[derive(Debug, Clone, Copy)]
pub struct Departures<'a, T: Real> {
    /// Number of the first among all of their population.
    pub first: usize,
    /// Instants, in ticks.
    pub ticks: &'a [T::Ticks],
    /// Senders.
    pub units: &'a [u32],
    /// From the instant that modes refer to, in both: `e^{t/tau}`. Empty where nobody asks.
    pub growth: &'a [[T; 2]],
}

/// One of them, in window `now`.
#[derive(Debug, Clone, Copy)]
pub struct Departure<T: Real> {
    /// Number among all of its population.
    pub number: usize,
    /// Instant, in ticks.
    pub ticks: T::Ticks,
    /// Sender.
    pub unit: u32,
    /// See [`Departures`].
    pub growth: [T; 2],
    /// The window.
    pub now: usize,
}

/// Gives the windows ahead all that some spikes bring through the synapses of one inlet; where rows are dense, notes say
/// when.
pub fn admit<T: Real>(
    simd: Simd,
    ring: &mut Ring<T>,
    series: &Series<T>,
    inlet: &Inlet<'_, T>,
    spikes: Departures<'_, T>,
    falls: &mut Falls<T>,
    notes: &mut Notes,
) {
    let nothing = T::Ticks::default();
    match &inlet.rows {
        InletRows::Dense(rows) => values::admit(simd, ring, series, inlet, rows, spikes, falls, notes),
        InletRows::DenseModes(_, rows) => modes::admit(simd, ring, inlet, rows, spikes, falls, notes),
        InletRows::Sparse(delay) => {
            for (&t, &unit) in spikes.ticks.iter().zip(spikes.units) {
                values::sparse_row(simd, ring, series, inlet, delay, t, unit, nothing, falls, &mut Vec::new());
            }
        }
        InletRows::SparseModes(_, delay, pairs) => {
            for ((&t, &unit), &growth) in spikes.ticks.iter().zip(spikes.units).zip(spikes.growth) {
                modes::sparse_row(ring, inlet, (delay, pairs), t, unit, growth, nothing, &mut Vec::new());
            }
        }
    }
}

/// The same for one spike within a window under way: `late` receives the synapses of those that arrive in that very window.
#[allow(clippy::too_many_arguments)]
pub fn spread<T: Real>(
    simd: Simd,
    ring: &mut Ring<T>,
    series: &Series<T>,
    inlet: &Inlet<'_, T>,
    spike: Departure<T>,
    falls: &mut Falls<T>,
    notes: &mut Notes,
    late: &mut Vec<u32>,
) {
    let Departure { ticks, unit, growth, now, .. } = spike;
    let early = T::Ticks::window(now + 1).minus(T::Ticks::window(ring.seam)).whole();
    match &inlet.rows {
        InletRows::Dense(rows) => values::spread(simd, ring, series, inlet, rows, spike, early, falls, notes, late),
        InletRows::DenseModes(_, rows) => modes::spread(simd, ring, inlet, rows, spike, early, falls, notes, late),
        InletRows::Sparse(delay) => {
            values::sparse_row(simd, ring, series, inlet, delay, ticks, unit, early, falls, late);
        }
        InletRows::SparseModes(_, delay, pairs) => {
            modes::sparse_row(ring, inlet, (delay, pairs), ticks, unit, growth, early, late);
        }
    }
}
