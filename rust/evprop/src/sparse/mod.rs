//! Sparse codes in groups: group basis pursuit, and derivatives through it.
//!
//! A signal x of `n_features` numbers is written with few groups of the `n_atoms` columns of a dictionary D:
//!
//! ```text
//! min_a  P(a) = 1/2 ||x - D a||^2 + sum over groups G of  l1_G ||a_G||_1 + l2_G ||a_G||_2
//! ```
//!
//! The groups are a partition of the atoms, each with its own weights `l1_G, l2_G >= 0`, not both 0. All `l2 = 0`: basis
//! pursuit (Chen, Donoho & Saunders 1998; the lasso); all `l1 = 0`: group basis pursuit (the group lasso, Yuan & Lin
//! 2006); else the mixed norm (the sparse-group lasso, Simon et al. 2013).
//!
//! * [`problem`]: dictionary, groups and weights, checked once; [`penalty`]: value, prox and dual norm of a group;
//! * [`fista`]: the minimiser, to a duality gap; [`implicit`]: cotangents of codes to cotangents of signals;
//! * [`lca`]: a differential equation whose fixed point is the minimum, followed in time.
pub mod fista;
pub mod implicit;
mod kernels;
pub mod lca;
pub mod penalty;
pub mod problem;
#[cfg(test)]
mod tests;

pub use fista::{Solution, Stop, solve};
pub use implicit::{pull_back, respond};
pub use lca::settle;
pub use problem::Pursuit;
