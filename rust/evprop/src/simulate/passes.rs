//! All neurons from one event to the next: passes over columns, which tell by block whether anyone in it may have crossed. Who
//! it is, is looked up where someone may have: most often nobody has.
use crate::math::Real;
use crate::neuron::Constants;
use crate::neuron::flow::{Propagator, propagator};
use crate::neuron::modes::{Parts, PartsMut};
use crate::vectorised;
use std::ops::Range;

/// Neurons of a block: a length that the compiler knows.
pub const BLOCK: usize = 64;

/// The neurons of a block, of `n` in all.
#[inline(always)]
pub fn block_of(number: usize, n: usize) -> Range<usize> {
    number * BLOCK..((number + 1) * BLOCK).min(n)
}

/// Whether a state may cross within a span: false only if it surely does not.
#[inline(always)]
fn may_cross<T: Real>(u: T, i: T, span_over_tau: T, guard: T) -> bool {
    let steepest = (i.larger(T::ZERO) - u).larger(T::ZERO);
    u + span_over_tau * stretch::<T>() * steepest > guard
}

/// The same of a state in modes, below a threshold above rest: the tangent at the start of a span ends at `x X + z Z`.
///
/// Such a neuron crosses only while its current drives it up: where it does not, the tangent falls, and says so.
#[derive(Debug, Clone, Copy)]
struct Tangent<T> {
    of_x: T,
    of_z: T,
}

impl<T: Real> Tangent<T> {
    /// Over a span; `i` is `x of_x` and `u` is `x of_y.0 + z of_y.1`.
    #[inline(always)]
    fn new(span_over_tau: T, of_x: T, of_y: (T, T)) -> Self {
        let rest = T::ONE - span_over_tau;
        let (driven, drive) = (rest * of_y.0, span_over_tau * of_x);
        // Rounding of either term: the second is at most the first and a threshold, to whose guard it is compared.
        let margin = (stretch::<T>() - T::ONE) * (driven.abs() + drive);
        Self { of_x: driven + drive + margin, of_z: rest * of_y.1 }
    }

    /// Whether it may end above the guard.
    #[inline(always)]
    fn passes(self, x: T, z: T, guard: T) -> bool {
        x * self.of_x + z * self.of_z > guard
    }
}

/// Covers the rounding of the tangent's rise.
#[inline(always)]
pub fn stretch<T: Real>() -> T {
    T::ONE + T::of(64.0) * T::EPSILON
}

vectorised! {
    /// Adds a row, and looks who may cross then.
    pub fn take_and_look<T>(span: T, guard: &[T], row: &[T], parts: PartsMut<'_, T>, flags: &mut [bool]) -> bool {
        let PartsMut { x, z, by, of_x, of_y } = parts;
        let tangent = Tangent::new(span, of_x, of_y);
        let whole = guard.len() / BLOCK;
        let (guards, guard) = guard.as_chunks::<BLOCK>();
        let (rows, row) = row.as_chunks::<BLOCK>();
        let (xs, x) = x.as_chunks_mut::<BLOCK>();
        let (zs, z) = z.as_chunks_mut::<BLOCK>();
        let mut any = false;
        for ((((guard, row), x), z), flag) in guards.iter().zip(rows).zip(xs).zip(zs).zip(flags.iter_mut()) {
            *flag = take_lanes(BLOCK, tangent, guard, row, x, z, by);
            any |= *flag;
        }
        if let Some(flag) = flags.get_mut(whole) {
            *flag = take_lanes(guard.len(), tangent, guard, row, x, z, by);
            any |= *flag;
        }
        any
    }
}

vectorised! {
    /// Looks who may cross, of neurons in modes.
    pub fn look<T>(span: T, guard: &[T], parts: Parts<'_, T>, flags: &mut [bool]) -> bool {
        let Parts { x, z, of_x, of_y } = parts;
        let tangent = Tangent::new(span, of_x, of_y);
        let mut any = false;
        for ((guard, (x, z)), flag) in guard.chunks(BLOCK).zip(x.chunks(BLOCK).zip(z.chunks(BLOCK))).zip(flags) {
            *flag = match guard.len() {
                BLOCK => look_lanes(BLOCK, tangent, guard, x, z),
                rest => look_lanes(rest, tangent, guard, x, z),
            };
            any |= *flag;
        }
        any
    }
}

vectorised! {
    /// Who of the block that begins with neuron `first` may cross, of neurons in modes.
    pub fn suspects_in_modes<T>(span: T, guard: &[T], parts: Parts<'_, T>, first: usize, may: &mut [u8; BLOCK]) {
        let Parts { x, z, of_x, of_y } = parts;
        let tangent = Tangent::new(span, of_x, of_y);
        let n = guard.len().min(BLOCK);
        let (guard, x, z, may) = (&guard[..n], &x[first..first + n], &z[first..first + n], &mut may[..n]);
        for l in 0..n {
            may[l] = u8::from(tangent.passes(x[l], z[l], guard[l]));
        }
    }
}

vectorised! {
    /// Who of a block may cross.
    pub fn suspects_in_columns<T>(d: T, inv_mem: &[T], guard: &[T], u: &[T], i: &[T], may: &mut [u8; BLOCK]) {
        let n = guard.len().min(BLOCK);
        let (inv_mem, guard, u, i, may) = (&inv_mem[..n], &guard[..n], &u[..n], &i[..n], &mut may[..n]);
        for l in 0..n {
            may[l] = u8::from(may_cross(u[l], i[l], d * inv_mem[l], guard[l]));
        }
    }
}

vectorised! {
    /// One propagator for all.
    pub fn pass_shared<T>(
        p: Propagator<T>,
        span: T,
        guard: &[T],
        add: &[T],
        u0: &[T],
        i0: &[T],
        u1: &mut [T],
        i1: &mut [T],
        flags: &mut [bool],
    ) -> bool {
        let mut any = false;
        for (block, flag) in flags.iter_mut().enumerate() {
            let own = block_of(block, guard.len());
            let (guard, add, u0, i0) = (&guard[own.clone()], &add[own.clone()], &u0[own.clone()], &i0[own.clone()]);
            let (u1, i1) = (&mut u1[own.clone()], &mut i1[own]);
            *flag = match u1.len() {
                BLOCK => shared_lanes(BLOCK, p, span, guard, add, u0, i0, u1, i1),
                rest => shared_lanes(rest, p, span, guard, add, u0, i0, u1, i1),
            };
            any |= *flag;
        }
        any
    }
}

vectorised! {
    /// A propagator for each.
    pub fn pass_each<T>(
        d: T,
        c: &Constants<T>,
        guard: &[T],
        add: &[T],
        u0: &[T],
        i0: &[T],
        u1: &mut [T],
        i1: &mut [T],
        flags: &mut [bool],
    ) -> bool {
        let mut any = false;
        for (block, flag) in flags.iter_mut().enumerate() {
            let own = block_of(block, guard.len());
            let (inv_mem, inv_slow, rate) = (&c.inv_mem[own.clone()], &c.inv_slow[own.clone()], &c.rate[own.clone()]);
            let (gain, lin, mem_slow) = (&c.gain[own.clone()], &c.lin[own.clone()], &c.mem_slow[own.clone()]);
            let (guard, add, u0, i0) = (&guard[own.clone()], &add[own.clone()], &u0[own.clone()], &i0[own.clone()]);
            let (u1, i1) = (&mut u1[own.clone()], &mut i1[own]);
            *flag = each_lane(d, inv_mem, inv_slow, rate, gain, lin, mem_slow, guard, add, u0, i0, u1, i1);
            any |= *flag;
        }
        any
    }
}

vectorised! {
    /// Adds a row.
    pub fn add_row<T>(i: &mut [T], row: &[T]) {
        for (i, &w) in i.iter_mut().zip(row) {
            *i += w;
        }
    }
}

// The loops over lanes: every column is an argument of its own, because arguments do not alias.

#[inline(always)]
fn take_lanes<T: Real>(
    n: usize,
    tangent: Tangent<T>,
    guard: &[T],
    row: &[T],
    x: &mut [T],
    z: &mut [T],
    by: (T, T),
) -> bool {
    let (guard, row, x, z) = (&guard[..n], &row[..n], &mut x[..n], &mut z[..n]);
    let mut any = false;
    for l in 0..n {
        let (more_x, less_z) = (x[l] + row[l] * by.0, z[l] - row[l] * by.1);
        (x[l], z[l]) = (more_x, less_z);
        any |= tangent.passes(more_x, less_z, guard[l]);
    }
    any
}

#[inline(always)]
fn look_lanes<T: Real>(n: usize, tangent: Tangent<T>, guard: &[T], x: &[T], z: &[T]) -> bool {
    let (guard, x, z) = (&guard[..n], &x[..n], &z[..n]);
    let mut any = false;
    for l in 0..n {
        any |= tangent.passes(x[l], z[l], guard[l]);
    }
    any
}

/// [`pass_shared`] over `n` neurons.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn shared_lanes<T: Real>(
    n: usize,
    p: Propagator<T>,
    span: T,
    guard: &[T],
    add: &[T],
    u0: &[T],
    i0: &[T],
    u1: &mut [T],
    i1: &mut [T],
) -> bool {
    let (guard, add, u0, i0) = (&guard[..n], &add[..n], &u0[..n], &i0[..n]);
    let (u1, i1) = (&mut u1[..n], &mut i1[..n]);
    let mut any = false;
    for l in 0..n {
        let (u, i) = (u0[l], i0[l]);
        any |= may_cross(u, i, span, guard[l]);
        u1[l] = u * p.mem + i * p.kappa;
        i1[l] = i * p.syn + add[l];
    }
    any
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn each_lane<T: Real>(
    d: T,
    inv_mem: &[T],
    inv_slow: &[T],
    rate: &[T],
    gain: &[T],
    lin: &[T],
    mem_slow: &[T],
    guard: &[T],
    add: &[T],
    u0: &[T],
    i0: &[T],
    u1: &mut [T],
    i1: &mut [T],
) -> bool {
    let n = u1.len();
    let (inv_mem, inv_slow, rate, gain) = (&inv_mem[..n], &inv_slow[..n], &rate[..n], &gain[..n]);
    let (lin, mem_slow, guard, add) = (&lin[..n], &mem_slow[..n], &guard[..n], &add[..n]);
    let (u0, i0, i1) = (&u0[..n], &i0[..n], &mut i1[..n]);
    let mut any = false;
    for l in 0..n {
        let (u, i) = (u0[l], i0[l]);
        let p = propagator(d, inv_slow[l], rate[l], gain[l], lin[l], mem_slow[l] > T::ZERO);
        any |= may_cross(u, i, d * inv_mem[l], guard[l]);
        u1[l] = u * p.mem + i * p.kappa;
        i1[l] = i * p.syn + add[l];
    }
    any
}

#[cfg(test)]
mod tests {
    use super::Tangent;
    use crate::math::Real;
    use crate::neuron::constants::Neuron;
    use crate::test_problems::Draw;
    use std::f64::consts::LN_10;

    fn nobody_is_missed<T: Real>() {
        let mut draw = Draw(3);
        let (mut crossing, mut flagged) = (0, 0);
        for _ in 0..100_000 {
            let mut below = |high: f64, decades: f64| high * Real::exp_neg(-draw.uniform(0.0, decades * LN_10));
            let (theta, of_x, of_z) = (below(1e3, 6.0), below(1.0, 6.0), below(1.0, 6.0));
            // A tangent that ends near the threshold, and a current of up to a thousand times as much.
            let (span, i, near) = (below(10.0, 10.0), theta * below(1e3, 4.0), below(1.0, 7.0));
            let gamma = draw.uniform(-4.0, 4.0);
            let end = theta * (1.0 + draw.uniform(-near, near));
            let u = (end - span * i) / (1.0 - span);
            let (x, z) = (T::of(i / of_x), T::of((u + gamma * i) / of_z));
            let (of_x, of_y) = (T::of(of_x), (T::of(-gamma * of_x), T::of(of_z)));
            let (theta, span) = (T::of(theta), T::of(span));
            let (i, u) = (x * of_x, x * of_y.0 + z * of_y.1);
            let may = i > u && u + span * (i - u) > theta;
            let zero = T::ZERO;
            let neuron = Neuron::new(T::ONE, T::HALF, theta, zero, zero, zero, 0.0);
            let flag = Tangent::new(span, of_x, of_y).passes(x, z, neuron.guard());
            crossing += usize::from(may);
            flagged += usize::from(flag);
            assert!(flag || !may, "u {u:?}, i {i:?}, theta {theta:?}, span {span:?}");
        }
        assert!(crossing > 20_000 && flagged < 80_000, "{crossing} may cross, {flagged} flagged");
    }

    #[test]
    fn the_tangent_in_modes_misses_nobody() {
        nobody_is_missed::<f64>();
        nobody_is_missed::<f32>();
    }
}
