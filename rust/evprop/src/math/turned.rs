//! Bytes turned round, rows to columns: in vectors, which the compiler does not find by itself.

/// Eight rows of sixteen bytes -> sixteen columns, the first row in the lowest byte.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn turned(rows: &[[u8; 16]; 8]) -> [u64; 16] {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpackhi_epi16, _mm_unpackhi_epi32,
        _mm_unpacklo_epi8, _mm_unpacklo_epi16, _mm_unpacklo_epi32,
    };
    let mut columns = [0; 16];
    // SAFETY: sixteen bytes are read from each row, and sixteen times eight written to as many; SSE2 is part of x86-64.
    unsafe {
        let row = |k: usize| _mm_loadu_si128(rows[k].as_ptr().cast());
        let mut put = |k: usize, two: __m128i| _mm_storeu_si128(columns[2 * k..2 * k + 2].as_mut_ptr().cast(), two);
        let [a, b, c, d] = [0, 2, 4, 6].map(|k| (row(k), row(k + 1)));
        let low = [a, b, c, d].map(|(x, y)| _mm_unpacklo_epi8(x, y));
        let high = [a, b, c, d].map(|(x, y)| _mm_unpackhi_epi8(x, y));
        for (half, [a, b, c, d]) in [low, high].into_iter().enumerate() {
            let (first, last) = (
                (_mm_unpacklo_epi16(a, b), _mm_unpacklo_epi16(c, d)),
                (_mm_unpackhi_epi16(a, b), _mm_unpackhi_epi16(c, d)),
            );
            for (quarter, (x, y)) in [first, last].into_iter().enumerate() {
                let k = 4 * half + 2 * quarter;
                put(k, _mm_unpacklo_epi32(x, y));
                put(k + 1, _mm_unpackhi_epi32(x, y));
            }
        }
    }
    columns
}

/// Eight rows of sixteen bytes -> sixteen columns, the first row in the lowest byte.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn turned(rows: &[[u8; 16]; 8]) -> [u64; 16] {
    std::array::from_fn(|k| u64::from_le_bytes(rows.map(|row| row[k])))
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_hold_the_rows_in_order() {
        let rows: [[u8; 16]; 8] = std::array::from_fn(|r| std::array::from_fn(|k| (r * 16 + k) as u8));
        for (k, column) in super::turned(&rows).into_iter().enumerate() {
            assert_eq!(column.to_le_bytes(), rows.map(|row| row[k]), "column {k}");
        }
    }
}
