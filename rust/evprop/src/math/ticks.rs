//! Time in whole ticks: adding, comparing and cutting into windows are then exact and cost an instruction each.
use std::fmt::Debug;

/// Unsigned whole numbers that wrap.
pub trait Ticks: Copy + Default + Send + Sync + Ord + Debug + 'static {
    /// Bits of a tick's number that lie within a window.
    const FRACTION: u32;
    /// Rounds a number that is not negative, modulo the size of the type.
    fn of(x: f64) -> Self;
    /// The start of a window.
    fn window(number: usize) -> Self;
    /// Sum, modulo the size of the type.
    fn plus(self, other: Self) -> Self;
    /// Difference, modulo the size of the type.
    fn minus(self, other: Self) -> Self;
    /// Number of the window.
    fn whole(self) -> Self;
    /// Ticks to the end of the window.
    fn left(self) -> Self;
    /// In 64ths of a window, modulo 2^16.
    fn coarse(self) -> u16;
    /// Low bits.
    fn u32(self) -> u32;
}

macro_rules! ticks {
    ($t:ty, $fraction:literal) => {
        impl Ticks for $t {
            const FRACTION: u32 = $fraction;
            #[inline(always)]
            fn of(x: f64) -> Self {
                (x + 0.5) as u64 as Self
            }
            #[inline(always)]
            fn window(number: usize) -> Self {
                (number as Self) << $fraction
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn whole(self) -> Self {
                self >> $fraction
            }
            #[inline(always)]
            fn left(self) -> Self {
                (1 << $fraction) - (self & ((1 << $fraction) - 1))
            }
            #[inline(always)]
            fn coarse(self) -> u16 {
                (self >> ($fraction - 6)) as u16
            }
            #[inline(always)]
            fn u32(self) -> u32 {
                self as u32
            }
        }
    };
}

ticks!(u32, 21);
ticks!(u64, 44);
