//! Elementary functions with the same bits on every CPU.
pub mod divided;
pub mod real;
pub mod simd;

pub use real::Real;
pub use simd::{Simd, prefetch};
