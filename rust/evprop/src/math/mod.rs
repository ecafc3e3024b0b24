//! Elementary functions with the same bits on every CPU.
pub mod divided;
pub mod real;
pub mod simd;
pub mod ticks;

pub use real::Real;
pub use simd::{Simd, prefetch};
pub use ticks::Ticks;
