//! Spikes that are found after the steps: those of populations whose neurons spike at most once.
//!
//! After its only spike nothing of a neuron is felt, so no step has to wait for the time of an earlier spike. States that
//! may have crossed are noted as they come, and all of them are solved side by side: a step has few of them, and one by
//! one the root finder would wait for itself. A neuron that has surely crossed takes no further part; one of which
//! that is not sure goes on as if it had not, and of its noted states the first with a crossing counts.
use super::order::Order;
use super::suspects::for_each;
use super::{Limits, Spike};
use crate::error::Result;
use crate::math::Real;
use crate::neuron::Constants;
use crate::neuron::roots::{Problem, Roots};
use crate::vectorised;

/// Notes of this many times the population are solved together.
const ROOM: usize = 4;

/// States that may have crossed.
#[derive(Debug, Clone, Default)]
pub struct Late<T> {
    roots: Roots<T>,
    order: Order<T>,
    fired: Vec<bool>,
}

/// Whether a state that ends at `end_u` has surely crossed. What rounding may take from the maximum that the root finder
/// looks at is covered by a margin.
#[inline(always)]
fn surely_crossed<T: Real>(u: T, i: T, end_u: T, theta: T) -> bool {
    end_u > theta + T::of(32.0) * T::EPSILON * (u.abs() + i.abs() + theta.abs())
}

impl<T: Real> Late<T> {
    /// Nothing noted, nobody has fired.
    pub fn reset(&mut self, c: &Constants<T>) {
        self.fired.clear();
        self.fired.resize(c.n, false);
        self.roots.clear(ROOM * c.padded());
    }

    /// Whether the notes of one more step may not fit.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.roots.len() > (ROOM - 1) * self.fired.len()
    }

    /// Notes the suspects of the step `(from, until, length)`, which took them from `(u0, i0)` to `u`; a neuron that has surely
    /// crossed is set to -infinity, from where no sum of arrivals reaches the threshold again. Returns how many have.
    #[inline(always)]
    pub fn note(
        &mut self,
        c: &Constants<T>,
        (from, until, d): (f64, f64, T),
        suspect: &[u8],
        u0: &[T],
        i0: &[T],
        u: &mut [T],
    ) -> usize {
        let mut spent = 0;
        for_each(suspect, |neuron| {
            let (theta, u0, i0, u) = (c.theta[neuron], u0[neuron], i0[neuron], &mut u[neuron]);
            self.roots.ask(Problem { lane: neuron as u32, start: from, end: until, d, u: u0, i: i0, theta });
            if surely_crossed(u0, i0, *u, theta) {
                *u = -T::INFINITY;
                spent += 1;
            }
        });
        spent
    }
}

vectorised! {
    /// Appends the spikes of all that was noted, step by step; their neurons are set to -infinity. Returns how many were not
    /// so far.
    pub fn settle<T>(
        c: &Constants<T>,
        late: &mut Late<T>,
        u: &mut [T],
        limits: &Limits<'_>,
        out: &mut Vec<Spike<T>>,
    ) -> Result<usize> {
        let Late { roots, order, fired } = late;
        let mut spent = 0;
        let (mut step, mut end) = (out.len(), f64::NAN);
        roots.solve(c);
        for k in 0..roots.len() {
            let Some(crossing) = roots.answer(k) else { continue };
            let neuron = crossing.lane as usize;
            if std::mem::replace(&mut fired[neuron], true) {
                continue;
            }
            if u[neuron] != -T::INFINITY {
                u[neuron] = -T::INFINITY;
                spent += 1;
            }
            if crossing.end != end {
                order.sort(&mut out[step..]);
                (step, end) = (out.len(), crossing.end);
            }
            out.push(Spike { time: crossing.time, unit: crossing.lane, current: crossing.current });
        }
        order.sort(&mut out[step..]);
        roots.keep(0);
        limits.check(out.len(), out.last().map_or(0.0, |s| s.time))?;
        Ok(spent)
    }
}
