//! Windows of equal length, numbered from the trial's start, and instants in [`Ticks`]: parts of a window.
//!
//! A tick is some 1e-7 of a window in single precision and 1e-13 in double: less than rounding a delay.
use crate::math::{Real, Ticks};
use crate::neuron::Constants;
use crate::neuron::modes::Pace;

/// The shortest time constant over a window's length: what [`series`](crate::neuron::series) asks for.
const PER_TAU: f64 = 16.0;

/// Windows that delays may reach ahead: twice as many, and some, are told apart in ticks.
const REACH: f64 = 980.0;

/// The same where states are kept in modes: parts of windows are told apart in 16 bits.
const REACH_IN_MODES: f64 = 370.0;

/// Modes refer to an instant that lies so many windows back at most, and twice as many as delays reach.
const BACK: f64 = 300.0;

/// Arrivals in a window, at most.
const MANY: f64 = 1e6;

/// Their length.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grid {
    /// ms.
    pub step: f64,
    per_ms: f64,
}

impl Grid {
    /// Windows for a component, in which a neuron's state changes little and a neuron seldom spikes twice. `None` where
    /// delays are so long that there would be too many.
    pub fn of<'a, T: Real>(
        members: impl Iterator<Item = &'a Constants<T>>,
        duration: f64,
        longest: f64,
    ) -> Option<Self> {
        let taus = members.flat_map(|c| (0..c.n).map(|i| c.neuron(i)));
        let shortest = taus.map(|c| c.tau_mem.f64().min(c.tau_syn.f64())).fold(f64::MAX, f64::min);
        let step = (shortest / PER_TAU).min(duration);
        (longest.min(duration) <= REACH * step).then(|| Self::new::<T>(step))
    }

    /// Windows of length `step`.
    pub fn new<T: Real>(step: f64) -> Self {
        Self { step, per_ms: (1u64 << T::Ticks::FRACTION) as f64 / step }
    }

    /// Whether what arrives through synapses of such weights, with delays of up to `reach` ms, can be summed up in modes.
    pub fn carries<T: Real>(self, pace: Pace, weights: &[T], reach: f64) -> bool {
        let range = 2.0 * reach + BACK * self.step;
        reach <= REACH_IN_MODES * self.step && Self::in_range::<T>(pace, largest(weights), range)
    }

    /// Whether sums in modes stay numbers where no weight is larger than `largest`, and the last arrival comes `range` ms after
    /// the instant that they refer to.
    pub fn in_range<T: Real>(pace: Pace, largest: f64, range: f64) -> bool {
        let [mem, syn] = pace.growth::<f64>(range);
        T::of(MANY * largest * (1.0 + pace.gamma.abs()) * mem.max(syn)).is_finite()
    }

    /// When window `k` begins, ms.
    #[inline(always)]
    pub fn start(self, k: usize) -> f64 {
        k as f64 * self.step
    }

    /// The window of an instant, give or take rounding.
    #[inline(always)]
    pub fn window(self, time: f64) -> usize {
        (time / self.step) as usize
    }

    /// An instant or a delay in ticks.
    #[inline(always)]
    pub fn ticks<T: Real>(self, time: f64) -> T::Ticks {
        T::Ticks::of(time * self.per_ms)
    }

    /// The same for an instant that does not lie before window `k`.
    #[inline(always)]
    pub fn ticks_from<T: Real>(self, time: f64, k: usize) -> T::Ticks {
        T::Ticks::window(k).plus(self.ticks::<T>((time - self.start(k)).max(0.0)))
    }
}

/// The largest of some weights, whatever their signs; 0 if there is none.
pub fn largest<T: Real>(weights: &[T]) -> f64 {
    weights.iter().fold(T::ZERO, |most, w| most.larger(w.abs())).f64()
}

#[cfg(test)]
mod tests {
    use super::Grid;
    use crate::math::Ticks;
    use crate::neuron::modes::Pace;

    #[test]
    fn modes_carry_what_stays_a_number() {
        let grid = Grid::new::<f32>(5.0 / 16.0);
        let pace = Pace { gamma: 1.0 / 3.0, rates: [1.0 / 20.0, 1.0 / 5.0] };
        for reach in [0.0, 62.0, 115.0] {
            assert!(grid.carries::<f32>(pace, &[0.5, -3.0], reach));
            let [_, grown] = pace.growth::<f32>(2.0 * reach + 300.0 * grid.step);
            assert!((1e6 * 3.0 * grown).is_finite());
        }
        assert!(!grid.carries::<f32>(pace, &[0.5], 116.0), "more windows than 16 bits tell apart");
        assert!(!grid.carries::<f32>(pace, &[1e-3, -1e16], 62.0), "too large when grown");
        assert!(grid.carries::<f64>(pace, &[1e-3, -1e16], 62.0));
        assert!(!grid.carries::<f32>(pace, &[f32::INFINITY], 0.0));
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        for step in [0.1, 0.3, 0.496, 7.0] {
            let (single, double) = (Grid::new::<f32>(step), Grid::new::<f64>(step));
            for k in [0, 1, 2, 3, 999, 123_456] {
                let (start, next) = (double.start(k), double.start(k + 1));
                assert_eq!(double.ticks_from::<f64>(start, k), u64::window(k));
                assert_eq!(double.ticks_from::<f64>(next - 1e-9, k).whole(), k as u64);
                assert_eq!(double.window(0.5 * (start + next)), k);
                let middle = single.ticks_from::<f32>(0.5 * (start + next), k);
                assert_eq!(middle.minus(u32::window(k)).whole(), 0);
                assert!(middle.left().abs_diff(1 << 20) <= 1);
            }
        }
    }
}
