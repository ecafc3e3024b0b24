//! Elementary functions with the same bits on every CPU.
pub mod cells;
pub mod divided;
pub mod lines;
pub mod real;
pub mod simd;
pub mod sums;
pub mod ticks;
pub mod turned;

pub use cells::{Cell, Cells, Sums, cell, within};
pub use lines::Lines;
pub use real::Real;
pub use simd::{Simd, prefetch, prefetch_all};
pub use ticks::Ticks;
pub use turned::turned;
