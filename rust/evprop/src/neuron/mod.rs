//! Neurons: flow between events, threshold crossing, and the formulas of their adjoints.
pub mod constants;
pub mod crossing;
pub mod flow;
pub mod kernels;
pub mod modes;
pub mod panels;
pub mod quadratic;
pub mod reach;
pub mod roots;
pub mod series;

pub use constants::Constants;
