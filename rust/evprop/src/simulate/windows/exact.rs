//! The neurons of a window that may cross: their arrivals in order, one by one.
use super::Window;
use crate::math::Real;
use crate::neuron::constants::Neuron;
use crate::neuron::crossing::first_crossing;

/// A state at time `x` from the window's start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State<T> {
    pub u: T,
    pub i: T,
    pub x: T,
}

/// A crossing that comes if nothing else arrives before.
#[derive(Debug, Clone, Copy)]
struct Crossing<T> {
    /// When, from the window's start.
    x: T,
    /// Synaptic current then.
    current: T,
    /// The first arrival that comes after it.
    next: usize,
}

/// A spike within the window.
#[derive(Debug, Clone, Copy)]
pub struct Fired<T> {
    pub lane: usize,
    /// ms.
    pub time: f64,
    /// The same from the window's start.
    pub x: T,
    pub current: T,
}

/// A neuron under way.
#[derive(Debug, Clone)]
struct Track<T> {
    lane: usize,
    /// Arrivals in the window, ascending.
    arrivals: Vec<(T, T)>,
    /// State after the last spike, or at the window's start.
    from: State<T>,
    /// The first arrival that `from` has not taken in.
    next: usize,
    /// Until when V is held, ms.
    hold: f64,
    /// Its next crossing, if there is one in the window.
    crossing: Option<Crossing<T>>,
    /// State at the end of the window if it does not cross.
    end: (T, T),
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct Exact<T> {
    tracks: Vec<Track<T>>,
    /// Those in use.
    used: usize,
    /// Track of each lane in use, else `NONE`.
    of: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<T: Real> Exact<T> {
    /// Forgets the window.
    pub fn clear(&mut self) {
        for track in &self.tracks[..self.used] {
            self.of[track.lane] = NONE;
        }
        self.used = 0;
    }

    /// Takes a neuron in, with all of its arrivals in the window.
    pub fn take(&mut self, lane: usize, c: &Neuron<T>, from: State<T>, hold: f64, window: &Window, all: &[(T, T)]) {
        if self.used == self.tracks.len() {
            let nothing = (T::ZERO, T::ZERO);
            let arrivals = Vec::new();
            self.tracks.push(Track { lane, arrivals, from, next: 0, hold, crossing: None, end: nothing });
        }
        if self.of.len() <= lane {
            self.of.resize(lane + 1, NONE);
        }
        self.of[lane] = self.used as u32;
        let track = &mut self.tracks[self.used];
        self.used += 1;
        (track.lane, track.from, track.hold) = (lane, from, hold);
        track.arrivals.clear();
        track.next = 0;
        for &arrival in all {
            track.insert(arrival);
        }
        track.seek(c, window);
    }

    /// Gives a neuron another arrival; false if it is not among those taken in.
    pub fn arrive(&mut self, lane: usize, c: &Neuron<T>, x: T, w: T, window: &Window) -> bool {
        let Some(&at) = self.of.get(lane).filter(|&&at| at != NONE) else { return false };
        let track = &mut self.tracks[at as usize];
        track.insert((x, w));
        // A crossing at the very instant of an arrival comes before it.
        if track.crossing.is_none_or(|crossing| crossing.x > x) {
            track.seek(c, window);
        }
        true
    }

    /// The earliest crossing: resets that neuron.
    pub fn fire(&mut self, neurons: &[Neuron<T>], hold: &mut [f64], window: &Window) -> Option<Fired<T>> {
        let mut first: Option<(T, usize)> = None;
        for (k, track) in self.tracks[..self.used].iter().enumerate() {
            if let Some(Crossing { x, .. }) = track.crossing
                && first.is_none_or(|(best, at)| x < best || (x == best && track.lane < self.tracks[at].lane))
            {
                first = Some((x, k));
            }
        }
        let track = &mut self.tracks[first?.1];
        let Crossing { x, current, next } = track.crossing?;
        let (lane, c) = (track.lane, &neurons[track.lane]);
        let time = (window.start + x.f64()).min(window.start + window.len);
        (track.from, track.next) = (State { u: c.u_reset, i: current, x }, next);
        track.hold = time + c.t_ref;
        hold[lane] = track.hold;
        track.seek(c, window);
        Some(Fired { lane, time, x, current })
    }

    /// States at the end of the window: `visit(lane, u, i)`.
    pub fn ends(&self, mut visit: impl FnMut(usize, T, T)) {
        for track in &self.tracks[..self.used] {
            visit(track.lane, track.end.0, track.end.1);
        }
    }
}

impl<T: Real> Track<T> {
    /// Keeps the order; arrivals at one instant stay in the order in which they came, none goes before the last spike.
    fn insert(&mut self, arrival: (T, T)) {
        let mut at = self.arrivals.len();
        while at > self.next && self.arrivals[at - 1].0 > arrival.0 {
            at -= 1;
        }
        self.arrivals.insert(at, arrival);
    }

    /// Plays the arrivals from the last spike on, to the next crossing or to the end of the window.
    fn seek(&mut self, c: &Neuron<T>, window: &Window) {
        let end = T::of(window.len);
        let State { mut u, mut i, mut x } = self.from;
        self.crossing = None;
        let release = T::of((self.hold - window.start).min(window.len));
        for k in self.next..=self.arrivals.len() {
            let (until, w) = self.arrivals.get(k).copied().unwrap_or((end, T::ZERO));
            if x < release {
                let free = release.smaller(until);
                i *= (-((free - x) * c.inv_syn)).exp_neg();
                x = free;
            }
            if until > x {
                let d = until - x;
                let p = c.propagator(d);
                let ends = (u * p.mem + i * p.kappa, i * p.syn);
                if may_cross(c, u, i, d)
                    && !settled(c, i, ends)
                    && let Some((s, current)) = first_crossing(c, (u, i), d, ends)
                {
                    self.crossing = Some(Crossing { x: (x + s).smaller(until), current, next: k });
                    return;
                }
                (u, i) = ends;
                x = until;
            }
            i += w;
        }
        self.end = (u, i);
    }
}

/// Whether a state may cross within a span without arrivals: false only if it surely does not.
fn may_cross<T: Real>(c: &Neuron<T>, u: T, i: T, d: T) -> bool {
    let rise = d * c.inv_mem * (i.larger(T::ZERO) - u).larger(T::ZERO);
    u + rise + T::of(64.0) * T::EPSILON * (u.abs() + i.abs()) > c.theta
}

/// A state that started with current `i0 > 0` and at its end still rises below threshold did not cross: it is concave.
fn settled<T: Real>(c: &Neuron<T>, i0: T, (end_u, end_i): (T, T)) -> bool {
    let margin = T::ONE - T::of(32.0) * T::EPSILON;
    (i0 > T::ZERO) & (end_i * margin > end_u) & (end_u <= c.theta)
}
