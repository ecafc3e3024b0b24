//! Sums in vectors, whose order of additions does not depend on the vector width.
use super::Real;

/// Adds the second half of a vector to the first, until `M` numbers are left. `N / M` is a power of 2.
#[inline(always)]
pub fn folded<T: Real, const N: usize, const M: usize>(mut sums: [T; N]) -> [T; M] {
    let mut width = N;
    while width > M {
        width /= 2;
        for k in 0..width {
            sums[k] += sums[k + width];
        }
    }
    std::array::from_fn(|k| sums[k])
}

/// Adds a block, or as much of it as there is room for.
#[inline(always)]
pub fn add<T: Real, const N: usize>(all: &mut [T], more: &[T; N]) {
    if let Some(all) = all.first_chunk_mut::<N>() {
        // Copied out and in, or the compiler does not see that the two lie apart.
        let mut sum = *all;
        for k in 0..N {
            sum[k] += more[k];
        }
        *all = sum;
    } else {
        for (sum, more) in all.iter_mut().zip(more) {
            *sum += *more;
        }
    }
}
