//! The scalar the state is kept in: `f64` or `f32`.
//!
//! `exp`, `expm1` and `ln_1p` are our own: branch-free, built of additions, multiplications and one division,
//! never fused, so that every CPU and every vector width gives the same bits, and the compiler can vectorise them.
//!
//! exp: Cody & Waite 1980 reduction `x = n ln 2 + r`, `|r| <= ln 2 / 2`, then a polynomial of `(e^r - 1)`.
//! ln_1p: reduction to `m in [sqrt(1/2), sqrt(2))`, then the atanh series in `(m - 1) / (m + 1)` (fdlibm's scheme).
use super::cells::Cells;
use super::ticks::Ticks;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A floating-point type of the engine.
pub trait Real:
    Copy
    + Cells
    + Default
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + std::iter::Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// 1/2.
    const HALF: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Distance from 1 to the next larger number.
    const EPSILON: Self;
    /// Whole numbers of the same size.
    type Ticks: Ticks;
    /// Terms of a power series in `x <= 1/16` with coefficients like those of exp, to half a unit in the last place.
    const TERMS: usize;
    /// Name of the NumPy dtype.
    const NAME: &'static str;
    /// Rounds a double to this type.
    fn of(x: f64) -> Self;
    /// A number of ticks within a window (exact).
    fn of_ticks(ticks: Self::Ticks) -> Self;
    /// Widens to a double (exact).
    fn f64(self) -> f64;
    /// The larger of two numbers (neither is NaN).
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    /// The smaller of two numbers (neither is NaN).
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    /// Absolute value.
    fn abs(self) -> Self;
    /// Square root (correctly rounded, as IEEE 754 demands).
    fn sqrt(self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Not a number.
    fn is_nan(self) -> bool;
    /// `(e^x, e^x - 1)` from one reduction, each to about one unit in the last place, for `x <= 0`.
    /// Below the smallest normal number `e^x` is 0.
    fn exp_expm1(self) -> (Self, Self);
    /// `e^x` for `x <= 0`.
    #[inline(always)]
    fn exp_neg(self) -> Self {
        self.exp_expm1().0
    }
    /// `e^{-x}` for `0 <= x <= 1/16`, to half a unit in the last place but for the last rounding: no reduction, a short chain.
    fn exp_of_short(self) -> Self;
    /// `ln(1 + x)` for `x > -1`; `x <= -1` gives a number without meaning, never a trap.
    fn ln_1p(self) -> Self;
    /// Rows of four -> four columns.
    #[inline(always)]
    fn columns<const N: usize>(rows: &[[Self; 4]; N]) -> [[Self; N]; 4] {
        let mut columns = [[Self::ZERO; N]; 4];
        for (k, row) in rows.iter().enumerate() {
            for (column, &x) in columns.iter_mut().zip(row) {
                column[k] = x;
            }
        }
        columns
    }
}

impl Real for f64 {
    type Ticks = u64;
    const TERMS: usize = 9;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    const INFINITY: Self = f64::INFINITY;
    const EPSILON: Self = f64::EPSILON;
    const NAME: &'static str = "float64";

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn of_ticks(ticks: u64) -> Self {
        // 2^52: below it, the low bits of the mantissa are the number.
        const SHIFT: f64 = 4_503_599_627_370_496.0;
        f64::from_bits(ticks | SHIFT.to_bits()) - SHIFT
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    #[inline(always)]
    fn exp_expm1(self) -> (Self, Self) {
        const LOG2_E: f64 = std::f64::consts::LOG2_E;
        // ln 2 in two parts: the first has 11 trailing zero bits, so n * LN2_HI is exact.
        const LN2_HI: f64 = 6.931_471_803_691_238_164_90e-01;
        const LN2_LO: f64 = 1.908_214_929_270_587_700_02e-10;
        // 1.5 * 2^52: adding it leaves round(x) in the low mantissa bits.
        const SHIFT: f64 = 6_755_399_441_055_744.0;
        const LOWEST: f64 = -708.0;
        let x = if self > LOWEST { self } else { LOWEST };
        let shifted = x * LOG2_E + SHIFT;
        let n = shifted - SHIFT;
        let r = (x - n * LN2_HI) - n * LN2_LO;
        // 2^n through the exponent bits (n >= -1022 here, so the result is a normal number).
        let two_n = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0f64.to_bits()));
        // Taylor of (e^r - 1 - r)/r^2 to r^11: the truncation is below 2^-55 of e^r - 1 for |r| <= 0.347. Estrin's order,
        // because a vector unit waits for a chain of 12 dependent steps, not for arithmetic.
        let r2 = r * r;
        let r4 = r2 * r2;
        let p01 = 0.5 + r * (1.0 / 6.0);
        let p23 = 1.0 / 24.0 + r * (1.0 / 120.0);
        let p45 = 1.0 / 720.0 + r * (1.0 / 5_040.0);
        let p67 = 1.0 / 40_320.0 + r * (1.0 / 362_880.0);
        let p89 = 1.0 / 3_628_800.0 + r * (1.0 / 39_916_800.0);
        let pab = 1.0 / 479_001_600.0 + r * (1.0 / 6_227_020_800.0);
        let p = (p01 + r2 * p23) + r4 * ((p45 + r2 * p67) + r4 * (p89 + r2 * pab));
        let em1 = r + r2 * p;
        let e = two_n + two_n * em1;
        let em1 = (two_n - 1.0) + two_n * em1;
        if self > LOWEST { (e, em1) } else { (0.0, -1.0) }
    }
    #[inline(always)]
    fn exp_of_short(self) -> Self {
        // Taylor to x^8, whose next term is below 4e-17, in Estrin's order.
        let x = self;
        let (x2, p23) = (x * x, 1.0 / 2.0 - x * (1.0 / 6.0));
        let (p45, p67) = (1.0 / 24.0 - x * (1.0 / 120.0), 1.0 / 720.0 - x * (1.0 / 5_040.0));
        let x4 = x2 * x2;
        1.0 - (x - x2 * (p23 + (x2 * p45 + x4 * (p67 + x2 * (1.0 / 40_320.0)))))
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        const LN2_HI: f64 = 6.931_471_803_691_238_164_90e-01;
        const LN2_LO: f64 = 1.908_214_929_270_587_700_02e-10;
        let x = self;
        let u = 1.0 + x;
        // Exponent and mantissa of u with the mantissa in [sqrt(1/2), sqrt(2)).
        const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;
        let bits = u.to_bits().wrapping_sub(SQRT_HALF_BITS);
        // Arithmetic shift of a 64-bit lane is slow before AVX-512; an unsigned shift of a biased value is not.
        let biased = bits.wrapping_add(1024 << 52) >> 52;
        let k = f64::from_bits(biased | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1024.0);
        let m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF_BITS));
        // What rounding 1 + x lost, relative to u (exact where |x| <= 1 or x >= 1 by Sterbenz / Fast2Sum).
        let lost = if x < 1.0 { x - (u - 1.0) } else { 1.0 - (u - x) };
        let c = lost / u;
        // For k = 0 keep f = x exactly.
        let f = if k == 0.0 { x } else { m - 1.0 };
        let c = if k == 0.0 { 0.0 } else { c };
        let s = f / (2.0 + f);
        let z = s * s;
        let mut r = 1.479_819_860_511_658_6e-01;
        r = r * z + 1.531_383_769_920_937_3e-01;
        r = r * z + 1.818_357_216_161_805_0e-01;
        r = r * z + 2.222_219_843_214_978_4e-01;
        r = r * z + 2.857_142_874_366_239_1e-01;
        r = r * z + 3.999_999_999_940_941_9e-01;
        r = r * z + 6.666_666_666_666_735_1e-01;
        let r = r * z;
        let half = 0.5 * f * f;
        k * LN2_HI - ((half - (s * (half + r) + (k * LN2_LO + c))) - f)
    }
}

impl Real for f32 {
    type Ticks = u32;
    const TERMS: usize = 5;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    const INFINITY: Self = f32::INFINITY;
    const EPSILON: Self = f32::EPSILON;
    const NAME: &'static str = "float32";

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn of_ticks(ticks: u32) -> Self {
        ticks as i32 as f32
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    #[inline(always)]
    fn exp_expm1(self) -> (Self, Self) {
        const LOG2_E: f32 = std::f32::consts::LOG2_E;
        // 0.693359375 has 9 significant bits: n * LN2_HI is exact.
        const LN2_HI: f32 = 0.693_359_375;
        const LN2_LO: f32 = -2.121_944_4e-4;
        // 1.5 * 2^23.
        const SHIFT: f32 = 12_582_912.0;
        const LOWEST: f32 = -87.0;
        let x = if self > LOWEST { self } else { LOWEST };
        let shifted = x * LOG2_E + SHIFT;
        let n = shifted - SHIFT;
        let r = (x - n * LN2_HI) - n * LN2_LO;
        let two_n = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
        let mut p = 1.0 / 5_040.0;
        p = p * r + 1.0 / 720.0;
        p = p * r + 1.0 / 120.0;
        p = p * r + 1.0 / 24.0;
        p = p * r + 1.0 / 6.0;
        p = p * r + 0.5;
        let em1 = r + (r * r) * p;
        let e = two_n + two_n * em1;
        let em1 = (two_n - 1.0) + two_n * em1;
        if self > LOWEST { (e, em1) } else { (0.0, -1.0) }
    }
    #[inline(always)]
    fn exp_of_short(self) -> Self {
        // Taylor to x^4, whose next term is below 8e-9.
        let x = self;
        1.0 - (x - (x * x) * ((1.0 / 2.0 - x * (1.0 / 6.0)) + (x * x) * (1.0 / 24.0)))
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        Real::ln_1p(f64::from(self)) as f32
    }

    // In vectors, which the compiler does not find by itself.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn columns<const N: usize>(rows: &[[f32; 4]; N]) -> [[f32; N]; 4] {
        use std::arch::x86_64::{
            __m128, _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        };
        const { assert!(N.is_multiple_of(4)) };
        // SAFETY: four numbers are read; SSE is part of x86-64.
        let load = |row: &[f32; 4]| unsafe { _mm_loadu_ps(row.as_ptr()) };
        // SAFETY: four numbers are written; SSE is part of x86-64.
        let store = |to: &mut [f32; 4], x: __m128| unsafe { _mm_storeu_ps(to.as_mut_ptr(), x) };
        let mut columns = [[0.0; N]; 4];
        for (k, four) in rows.as_chunks::<4>().0.iter().enumerate() {
            let [a, b, c, d] = [load(&four[0]), load(&four[1]), load(&four[2]), load(&four[3])];
            // SAFETY: SSE is part of x86-64.
            let all = unsafe {
                let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
                let (more_ab, more_cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
                [
                    _mm_movelh_ps(ab, cd),
                    _mm_movehl_ps(cd, ab),
                    _mm_movelh_ps(more_ab, more_cd),
                    _mm_movehl_ps(more_cd, more_ab),
                ]
            };
            for (column, x) in columns.iter_mut().zip(all) {
                store(&mut column.as_chunks_mut::<4>().0[k], x);
            }
        }
        columns
    }
}
