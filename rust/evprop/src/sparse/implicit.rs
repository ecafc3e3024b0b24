//! Derivatives of codes with respect to signals, by the implicit function theorem.
//!
//! Near codes a of which no number and no group is about to appear or vanish, the numbers A that are not 0 stay so, and on them
//! the minimum's condition is smooth:
//!
//! ```text
//! D_A^T (D_A a_A - x) + l1 sign(a_A) + l2 a_A/||a_G|| = 0
//! H da_A = D_A^T dx,       H = D_A^T D_A + for each group of A:  l2/||a_G|| (1 - u u^T),   u = a_G/||a_G||
//! ```
//!
//! so a cotangent c of the codes becomes the cotangent `D_A H^-1 c_A` of the signal. No iteration of the solver is stored. Where
//! a group is about to appear or vanish the derivative has a jump; this is the one with A as it is.
use super::problem::Pursuit;
use crate::error::{Error, Result};
use crate::parallel::{CancelFlag, map_chunks};

/// `H^-1 c` of every sample (sample, atom), 0 for atoms not in use, from codes that solve the problem and their cotangents c
/// (both sample, atom). It is all that derivatives need: with respect to the signal it is `D h`, with respect to the dictionary
/// `(x - D a) h^T - D h a^T`.
///
/// # Errors
/// [`Error::Argument`] for arrays that don't fit or atoms in use that depend on each other, [`Error::Parameter`] for numbers
/// that are not finite, [`Error::Cancelled`].
pub fn respond(problem: &Pursuit, codes: &[f64], cotangents: &[f64], cancel: &CancelFlag) -> Result<Vec<f64>> {
    each_response(problem, codes, cotangents, problem.n_atoms(), cancel, Pursuit::unsorted)
}

/// Cotangents of the signals (sample, feature), from codes that solve the problem and their cotangents (both sample, atom).
///
/// # Errors
/// As [`respond`].
pub fn pull_back(problem: &Pursuit, codes: &[f64], cotangents: &[f64], cancel: &CancelFlag) -> Result<Vec<f64>> {
    each_response(problem, codes, cotangents, problem.n_features(), cancel, Pursuit::synthesise)
}

/// `finish` of the response of every sample, `width` numbers each.
fn each_response(
    problem: &Pursuit,
    codes: &[f64],
    cotangents: &[f64],
    width: usize,
    cancel: &CancelFlag,
    finish: impl Fn(&Pursuit, &[f64], &mut [f64]) + Sync,
) -> Result<Vec<f64>> {
    let m = problem.n_atoms();
    let batch = Pursuit::rows("codes", codes, m)?;
    let given = Pursuit::rows("cotangents", cotangents, m)?;
    if given != batch {
        return Err(Error::Argument(format!("cotangents are given for {given} samples, codes for {batch}")));
    }
    let parts = map_chunks(
        batch,
        cancel,
        || (vec![0.0; m], vec![0.0; m]),
        |(code, cotangent), samples| {
            let mut out = vec![0.0; samples.len() * width];
            for (out, sample) in out.chunks_exact_mut(width).zip(samples) {
                cancel.check()?;
                let row = sample * m..(sample + 1) * m;
                problem.sorted(&codes[row.clone()], code);
                problem.sorted(&cotangents[row], cotangent);
                invert(problem, code, cotangent).map_err(|atom| dependent(sample, atom))?;
                finish(problem, cotangent, out);
            }
            Ok(out)
        },
    )?;
    Ok(parts.concat())
}

fn dependent(sample: usize, active: usize) -> Error {
    Error::Argument(format!(
        "sample {sample}: its {active} atoms in use are linearly dependent, so its codes have no derivative; \
         use an l2 weight in every group, or larger weights"
    ))
}

/// Puts `H^-1 c_A`, and 0 elsewhere, in place of the cotangent c. The error is the number of atoms in use.
fn invert(problem: &Pursuit, code: &[f64], cotangent: &mut [f64]) -> std::result::Result<(), usize> {
    let active: Vec<usize> = (0..code.len()).filter(|&k| code[k] != 0.0).collect();
    let n = active.len();
    let mut h: Vec<f64> = active.iter().flat_map(|&a| active.iter().map(move |&b| problem.product(a, b))).collect();
    for (atoms, _, l2) in problem.groups() {
        let squares: f64 = code[atoms.clone()].iter().map(|a| a * a).sum();
        if squares == 0.0 || l2 == 0.0 {
            continue;
        }
        let stiffness = l2 / squares.sqrt();
        let first = active.partition_point(|&k| k < atoms.start);
        let last = active.partition_point(|&k| k < atoms.end);
        for a in first..last {
            h[a * n + a] += stiffness;
            for b in first..last {
                h[a * n + b] -= stiffness * code[active[a]] * code[active[b]] / squares;
            }
        }
    }
    let mut solution: Vec<f64> = active.iter().map(|&k| cotangent[k]).collect();
    solve_symmetric(&mut h, &mut solution).ok_or(n)?;
    cotangent.fill(0.0);
    active.iter().zip(&solution).for_each(|(&k, &v)| cotangent[k] = v);
    Ok(())
}

/// Puts `h^-1 b` in place of b by Cholesky's factors, which are left in h; None where h is singular to rounding.
fn solve_symmetric(h: &mut [f64], b: &mut [f64]) -> Option<()> {
    let n = b.len();
    for row in 0..n {
        let size = h[row * n + row];
        for col in 0..=row {
            let dot: f64 = (0..col).map(|k| h[row * n + k] * h[col * n + k]).sum();
            let rest = h[row * n + col] - dot;
            if col < row {
                h[row * n + col] = rest / h[col * n + col];
            } else if rest > size * n as f64 * f64::EPSILON {
                h[row * n + row] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    for row in 0..n {
        let dot: f64 = (0..row).map(|k| h[row * n + k] * b[k]).sum();
        b[row] = (b[row] - dot) / h[row * n + row];
    }
    for row in (0..n).rev() {
        let dot: f64 = (row + 1..n).map(|k| h[k * n + row] * b[k]).sum();
        b[row] = (b[row] - dot) / h[row * n + row];
    }
    Some(())
}
