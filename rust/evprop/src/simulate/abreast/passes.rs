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

/// Covers the rounding of the tangent's rise.
#[inline(always)]
pub fn stretch<T: Real>() -> T {
    T::ONE + T::of(64.0) * T::EPSILON
}

vectorised! {
    /// Adds a row, and looks who may cross then.
    pub fn take_and_look<T>(span: T, guard: &[T], row: &[T], parts: PartsMut<'_, T>, flags: &mut [bool]) -> bool {
        let PartsMut { x, z, by, of_x, of_y } = parts;
        let whole = guard.len() / BLOCK;
        let (guards, guard) = guard.as_chunks::<BLOCK>();
        let (rows, row) = row.as_chunks::<BLOCK>();
        let (xs, x) = x.as_chunks_mut::<BLOCK>();
        let (zs, z) = z.as_chunks_mut::<BLOCK>();
        let mut any = false;
        for ((((guard, row), x), z), flag) in guards.iter().zip(rows).zip(xs).zip(zs).zip(flags.iter_mut()) {
            *flag = take_lanes(BLOCK, span, guard, row, x, z, by, of_x, of_y);
            any |= *flag;
        }
        if let Some(flag) = flags.get_mut(whole) {
            *flag = take_lanes(guard.len(), span, guard, row, x, z, by, of_x, of_y);
            any |= *flag;
        }
        any
    }
}

vectorised! {
    /// Looks who may cross, of neurons in modes.
    pub fn look<T>(span: T, guard: &[T], parts: Parts<'_, T>, flags: &mut [bool]) -> bool {
        let Parts { x, z, of_x, of_y } = parts;
        let mut any = false;
        for ((guard, (x, z)), flag) in guard.chunks(BLOCK).zip(x.chunks(BLOCK).zip(z.chunks(BLOCK))).zip(flags) {
            *flag = match guard.len() {
                BLOCK => look_lanes(BLOCK, span, guard, x, z, of_x, of_y),
                rest => look_lanes(rest, span, guard, x, z, of_x, of_y),
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
        let n = guard.len().min(BLOCK);
        let (guard, x, z, may) = (&guard[..n], &x[first..first + n], &z[first..first + n], &mut may[..n]);
        for l in 0..n {
            may[l] = u8::from(may_cross(x[l] * of_y.0 + z[l] * of_y.1, x[l] * of_x, span, guard[l]));
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
#[allow(clippy::too_many_arguments)]
fn take_lanes<T: Real>(
    n: usize,
    span: T,
    guard: &[T],
    row: &[T],
    x: &mut [T],
    z: &mut [T],
    by: (T, T),
    of_x: T,
    of_y: (T, T),
) -> bool {
    let (guard, row, x, z) = (&guard[..n], &row[..n], &mut x[..n], &mut z[..n]);
    let mut any = false;
    for l in 0..n {
        let (more_x, less_z) = (x[l] + row[l] * by.0, z[l] - row[l] * by.1);
        (x[l], z[l]) = (more_x, less_z);
        any |= may_cross(more_x * of_y.0 + less_z * of_y.1, more_x * of_x, span, guard[l]);
    }
    any
}

#[inline(always)]
fn look_lanes<T: Real>(n: usize, span: T, guard: &[T], x: &[T], z: &[T], of_x: T, of_y: (T, T)) -> bool {
    let (guard, x, z) = (&guard[..n], &x[..n], &z[..n]);
    let mut any = false;
    for l in 0..n {
        any |= may_cross(x[l] * of_y.0 + z[l] * of_y.1, x[l] * of_x, span, guard[l]);
    }
    any
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn shared_lanes<T: Real>(
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
