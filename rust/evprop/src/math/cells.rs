//! Arrivals of a block of neurons, each added to, or looked up in, a cell of its own anywhere in a column.
//!
//! Addresses are single numbers, what happens there is not: two arrivals share a vector. The compiler does not find that
//! by itself, so that where AVX2 is at hand it is written out; every level gives the same bits.
use super::{Real, Simd};

/// What an arrival adds: to the modes of V and of the current; a third number that counts for nothing, there because two and
/// two are alike; and to the fourth what it adds to the second if that is positive.
pub type Cell<T> = [T; 4];

/// Both ways.
pub trait Cells: Sized + Copy {
    /// Adds `pairs * growth` to the cells `at`.
    ///
    /// # Safety
    ///
    /// All of `at` are less than the number of cells.
    unsafe fn scatter<const N: usize>(
        simd: Simd,
        cells: &mut [Cell<Self>],
        at: &[u32; N],
        pairs: &[[Self; 2]; N],
        growth: [Self; 2],
    );

    /// Adds what stands at `at`, times `growth`, and 0 where that is NaN. Returns whether it was anywhere.
    ///
    /// # Safety
    ///
    /// All of `at` are less than the number of items.
    unsafe fn gather<const N: usize>(
        simd: Simd,
        items: &[[Self; 2]],
        at: &[u16; N],
        growth: [Self; 2],
        into: Sums<'_, Self, N>,
    ) -> bool;
}

/// Where what has been looked up is added.
#[derive(Debug)]
pub struct Sums<'a, T, const N: usize> {
    /// As it is.
    pub plain: &'a mut [[T; 2]; N],
    /// Times factors of its own, if anyone asks.
    pub leaning: Option<Leaning<'a, T, N>>,
}

/// Factors, and where their products are added.
pub type Leaning<'a, T, const N: usize> = (&'a [[T; 2]; N], &'a mut [[T; 2]; N]);

/// Whether places lie among `n`; `last`: the largest of them, lane by lane.
#[inline(always)]
pub fn within<P: Copy + Ord + Default + Into<u32>, const N: usize>(last: &[P; N], n: usize) -> bool {
    let last: u32 = last.iter().fold(P::default(), |last, &at| last.max(at)).into();
    (last as usize) < n
}

/// What an arrival adds.
#[inline(always)]
pub fn cell<T: Real>(pair: [T; 2], growth: [T; 2]) -> Cell<T> {
    let [mem, syn] = [pair[0] * growth[0], pair[1] * growth[1]];
    [mem, syn, mem.larger(T::ZERO), syn.larger(T::ZERO)]
}

#[inline(always)]
fn scatter_plain<T: Real, const N: usize>(cells: &mut [Cell<T>], at: &[u32; N], pairs: &[[T; 2]; N], growth: [T; 2]) {
    for (&at, &pair) in at.iter().zip(pairs) {
        for (sum, more) in cells[at as usize].iter_mut().zip(cell(pair, growth)) {
            *sum += more;
        }
    }
}

#[inline(always)]
fn gather_plain<T: Real, const N: usize>(
    items: &[[T; 2]],
    at: &[u16; N],
    growth: [T; 2],
    mut into: Sums<'_, T, N>,
) -> bool {
    let mut lost = false;
    for (k, &at) in at.iter().enumerate() {
        for (l, &item) in items[at as usize].iter().enumerate() {
            lost |= item.is_nan();
            let found = if item.is_nan() { T::ZERO } else { item * growth[l] };
            into.plain[k][l] += found;
            if let Some((by, sums)) = &mut into.leaning {
                sums[k][l] += found * by[k][l];
            }
        }
    }
    lost
}

macro_rules! cells {
    ($t:ty, $wide:ident) => {
        impl Cells for $t {
            #[inline(always)]
            unsafe fn scatter<const N: usize>(
                simd: Simd,
                cells: &mut [Cell<Self>],
                at: &[u32; N],
                pairs: &[[Self; 2]; N],
                growth: [Self; 2],
            ) {
                match simd {
                    Simd::Baseline => scatter_plain(cells, at, pairs, growth),
                    // SAFETY: the value exists only where AVX2 was found; the caller vouches for `at`.
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx2 | Simd::Avx512 => unsafe { $wide::scatter(cells, at, pairs, growth) },
                }
            }

            #[inline(always)]
            unsafe fn gather<const N: usize>(
                simd: Simd,
                items: &[[Self; 2]],
                at: &[u16; N],
                growth: [Self; 2],
                into: Sums<'_, Self, N>,
            ) -> bool {
                match simd {
                    Simd::Baseline => gather_plain(items, at, growth, into),
                    // SAFETY: the value exists only where AVX2 was found; the caller vouches for `at`.
                    #[cfg(target_arch = "x86_64")]
                    Simd::Avx2 | Simd::Avx512 => unsafe { $wide::gather(items, at, growth, into) },
                }
            }
        }
    };
}

cells!(f32, single);
cells!(f64, double);

/// Four arrivals in a vector.
#[cfg(target_arch = "x86_64")]
mod single {
    use super::{Cell, Sums};
    use std::arch::x86_64::*;

    /// `growth` twice over.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn twice([mem, syn]: [f32; 2]) -> __m256 {
        _mm256_setr_ps(mem, syn, mem, syn, mem, syn, mem, syn)
    }

    /// # Safety
    ///
    /// All of `at` are less than the number of cells.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn scatter<const N: usize>(
        cells: &mut [Cell<f32>],
        at: &[u32; N],
        pairs: &[[f32; 2]; N],
        growth: [f32; 2],
    ) {
        const { assert!(N.is_multiple_of(4)) };
        let growth = twice(growth);
        let nothing = -f32::INFINITY;
        let least = _mm256_setr_ps(nothing, nothing, 0.0, 0.0, nothing, nothing, 0.0, 0.0);
        let start = cells.as_mut_ptr();
        for (at, four) in at.as_chunks::<4>().0.iter().zip(pairs.as_chunks::<4>().0) {
            // SAFETY: eight numbers are read.
            let all = unsafe { _mm256_loadu_ps(four.as_ptr().cast()) };
            let all = _mm256_castps_pd(_mm256_mul_ps(all, growth));
            // The first and the third of them; the second and the fourth.
            let odd = _mm256_max_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(all, all)), least);
            let even = _mm256_max_ps(_mm256_castpd_ps(_mm256_unpackhi_pd(all, all)), least);
            let more = [
                _mm256_castps256_ps128(odd),
                _mm256_castps256_ps128(even),
                _mm256_extractf128_ps::<1>(odd),
                _mm256_extractf128_ps::<1>(even),
            ];
            for (&at, more) in at.iter().zip(more) {
                // SAFETY: the caller vouches for `at`; a cell is four numbers.
                unsafe {
                    let cell = start.add(at as usize).cast::<f32>();
                    _mm_storeu_ps(cell, _mm_add_ps(_mm_loadu_ps(cell), more));
                }
            }
        }
    }

    /// # Safety
    ///
    /// All of `at` are less than the number of items.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn gather<const N: usize>(
        items: &[[f32; 2]],
        at: &[u16; N],
        growth: [f32; 2],
        Sums { plain, mut leaning }: Sums<'_, f32, N>,
    ) -> bool {
        const { assert!(N.is_multiple_of(4)) };
        let (growth, mut lost) = (twice(growth), _mm256_setzero_ps());
        // SAFETY: the caller vouches for `at`.
        let item = |at: u16| unsafe { items.as_ptr().add(at as usize).cast::<f64>() };
        for (k, (at, sums)) in at.as_chunks::<4>().0.iter().zip(plain.as_chunks_mut::<4>().0).enumerate() {
            // SAFETY: an item is as long as the number that is read; no address is asked to be a multiple of anything.
            let all = unsafe {
                let low = _mm_loadh_pd(_mm_load_sd(item(at[0])), item(at[1]));
                let high = _mm_loadh_pd(_mm_load_sd(item(at[2])), item(at[3]));
                _mm256_castpd_ps(_mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high))
            };
            let none = _mm256_cmp_ps::<_CMP_UNORD_Q>(all, all);
            lost = _mm256_or_ps(lost, none);
            let all = _mm256_andnot_ps(none, _mm256_mul_ps(all, growth));
            add(sums, all);
            if let Some((by, sums)) = &mut leaning {
                // SAFETY: eight numbers are read.
                let by = unsafe { _mm256_loadu_ps(by.as_chunks::<4>().0[k].as_ptr().cast()) };
                add(&mut sums.as_chunks_mut::<4>().0[k], _mm256_mul_ps(all, by));
            }
        }
        _mm256_movemask_ps(lost) != 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(sums: &mut [[f32; 2]; 4], more: __m256) {
        let sums = sums.as_mut_ptr().cast();
        // SAFETY: eight numbers are read and written.
        unsafe { _mm256_storeu_ps(sums, _mm256_add_ps(_mm256_loadu_ps(sums), more)) };
    }
}

/// Two arrivals in a vector, or one with its cell.
#[cfg(target_arch = "x86_64")]
mod double {
    use super::{Cell, Sums};
    use std::arch::x86_64::*;

    /// # Safety
    ///
    /// All of `at` are less than the number of cells.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn scatter<const N: usize>(
        cells: &mut [Cell<f64>],
        at: &[u32; N],
        pairs: &[[f64; 2]; N],
        [mem, syn]: [f64; 2],
    ) {
        let growth = _mm256_setr_pd(mem, syn, mem, syn);
        let least = _mm256_setr_pd(-f64::INFINITY, -f64::INFINITY, 0.0, 0.0);
        let start = cells.as_mut_ptr();
        for (&at, pair) in at.iter().zip(pairs) {
            // SAFETY: two numbers are read; the caller vouches for `at`; a cell is four numbers.
            unsafe {
                let pair = _mm_loadu_pd(pair.as_ptr());
                let pair = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(pair), pair);
                let more = _mm256_max_pd(_mm256_mul_pd(pair, growth), least);
                let cell = start.add(at as usize).cast::<f64>();
                _mm256_storeu_pd(cell, _mm256_add_pd(_mm256_loadu_pd(cell), more));
            }
        }
    }

    /// # Safety
    ///
    /// All of `at` are less than the number of items.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn gather<const N: usize>(
        items: &[[f64; 2]],
        at: &[u16; N],
        [mem, syn]: [f64; 2],
        Sums { plain, mut leaning }: Sums<'_, f64, N>,
    ) -> bool {
        const { assert!(N.is_multiple_of(2)) };
        let (growth, mut lost) = (_mm256_setr_pd(mem, syn, mem, syn), _mm256_setzero_pd());
        // SAFETY: the caller vouches for `at`; an item is two numbers.
        let item = |at: u16| unsafe { _mm_loadu_pd(items.as_ptr().add(at as usize).cast()) };
        for (k, (at, sums)) in at.as_chunks::<2>().0.iter().zip(plain.as_chunks_mut::<2>().0).enumerate() {
            let all = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(item(at[0])), item(at[1]));
            let none = _mm256_cmp_pd::<_CMP_UNORD_Q>(all, all);
            lost = _mm256_or_pd(lost, none);
            let all = _mm256_andnot_pd(none, _mm256_mul_pd(all, growth));
            add(sums, all);
            if let Some((by, sums)) = &mut leaning {
                // SAFETY: four numbers are read.
                let by = unsafe { _mm256_loadu_pd(by.as_chunks::<2>().0[k].as_ptr().cast()) };
                add(&mut sums.as_chunks_mut::<2>().0[k], _mm256_mul_pd(all, by));
            }
        }
        _mm256_movemask_pd(lost) != 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(sums: &mut [[f64; 2]; 2], more: __m256d) {
        let sums = sums.as_mut_ptr().cast();
        // SAFETY: four numbers are read and written.
        unsafe { _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), more)) };
    }
}

#[cfg(test)]
mod tests {
    use super::Sums;
    use crate::math::{Real, Simd};
    use crate::test_problems::Draw;

    const N: usize = 16;

    fn pairs<T: Real>(draw: &mut Draw) -> [[T; 2]; N] {
        std::array::from_fn(|_| [draw.uniform(-1.0, 1.0), draw.uniform(-1.0, 1.0)].map(T::of))
    }

    /// By hand, one by one.
    fn scattered<T: Real>() {
        let mut draw = Draw(3);
        let at: [u32; N] = std::array::from_fn(|k| ((k * 7 + 3) % 50) as u32);
        let (pairs, growth) = (pairs::<T>(&mut draw), [T::of(1.5), T::of(0.25)]);
        let before: Vec<_> = (0..50).map(|_| pairs[draw.below(N)]).map(|[a, b]| [a, b, a, b]).collect();
        for simd in Simd::available() {
            let mut cells = before.clone();
            // SAFETY: there are 50 cells.
            unsafe { T::scatter(simd, &mut cells, &at, &pairs, growth) };
            for (k, (cell, &before)) in cells.iter().zip(&before).enumerate() {
                let more = at.iter().position(|&at| at as usize == k).map_or([T::ZERO; 2], |n| {
                    let [mem, syn] = pairs[n];
                    [mem * growth[0], syn * growth[1]]
                });
                let up = |x: T| if x > T::ZERO { x } else { T::ZERO };
                let wanted = [before[0] + more[0], before[1] + more[1], before[2], before[3] + up(more[1])];
                let seen = [cell[0], cell[1], before[2], cell[3]];
                assert_eq!(seen, wanted, "{simd:?}, cell {k}");
            }
        }
    }

    /// The same where some can't be answered.
    fn looked_up<T: Real>() {
        let mut draw = Draw(5);
        for nowhere in [None, Some(0), Some(6), Some(N - 1)] {
            let mut items: Vec<_> = (0..4).flat_map(|_| pairs::<T>(&mut draw)).collect();
            let at: [u16; N] = std::array::from_fn(|k| ((k * 11 + 2) % 64) as u16);
            if let Some(k) = nowhere {
                items[at[k] as usize] = [T::of(f64::NAN); 2];
            }
            let growth = [T::of(0.5), T::of(3.0)];
            let by = pairs::<T>(&mut draw);
            for simd in Simd::available() {
                for asked in [false, true] {
                    let (mut plain, mut leaning) = ([[T::ONE; 2]; N], [[T::HALF; 2]; N]);
                    let into = Sums { plain: &mut plain, leaning: asked.then_some((&by, &mut leaning)) };
                    // SAFETY: there are 64 items.
                    let lost = unsafe { T::gather(simd, &items, &at, growth, into) };
                    assert_eq!(lost, nowhere.is_some(), "{simd:?}, {nowhere:?}");
                    for k in 0..N {
                        for l in 0..2 {
                            let item = items[at[k] as usize][l];
                            let found = if nowhere == Some(k) { T::ZERO } else { item * growth[l] };
                            assert_eq!(plain[k][l], T::ONE + found, "{simd:?}, {nowhere:?}, item {k}");
                            let leant = if asked { found * by[k][l] } else { T::ZERO };
                            assert_eq!(leaning[k][l], T::HALF + leant, "{simd:?}, {nowhere:?}, item {k}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_adds_to_the_cells_meant_and_to_no_other() {
        scattered::<f32>();
        scattered::<f64>();
    }

    #[test]
    fn every_level_finds_the_items_meant_and_tells_of_those_that_are_not_there() {
        looked_up::<f32>();
        looked_up::<f64>();
    }
}
