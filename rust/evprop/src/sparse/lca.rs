//! The locally competitive algorithm: neurons with a state u each, which inhibit each other until the codes are the minimum.
//!
//! ```text
//! tau du/dt = D^T x - u - (D^T D - 1) a        a_G = prox(u_G; l1_G, l2_G)
//! ```
//!
//! At rest `u - a = D^T (x - D a)`, and `u - a` is a subgradient of the penalty at a, so a is the minimum of the pursuit. With
//! `l2 = 0` the proximal map is the soft threshold (Rozell, Johnson, Baraniuk & Olshausen 2008), with `l1 = 0` it needs the norm
//! of the group's states (Charles, Garrigues & Rozell 2012). In time it is followed with Euler's method in steps of
//! `step = dt/tau`:
//!
//! ```text
//! u <- u + step (D^T x - u - D^T D a + a)          a <- prox(u)
//! ```
//!
//! which is stable for `step <= 1` and `step L < 2`, L the largest eigenvalue of `D^T D`.
use super::penalty;
use super::problem::Pursuit;
use crate::error::{Error, Result};
use crate::parallel::{CancelFlag, map_chunks};

/// The codes after given numbers of steps (sample, mark, atom), from u = 0. `marks` do not descend.
///
/// # Errors
/// [`Error::Argument`] for signals that don't fit or marks that descend, [`Error::Parameter`] for a step that is not stable or
/// numbers that are not finite, [`Error::Cancelled`].
pub fn settle(problem: &Pursuit, x: &[f64], step: f64, marks: &[usize], cancel: &CancelFlag) -> Result<Vec<f64>> {
    let (n, m) = (problem.n_features(), problem.n_atoms());
    let batch = Pursuit::rows("x", x, n)?;
    let refuse = |must| Err(Error::Parameter { name: "dt / tau".into(), index: 0, value: step, must });
    if !(step > 0.0 && step <= 1.0) {
        return refuse("it must be above 0 and at most 1");
    }
    if step * problem.lipschitz() >= 2.0 {
        return refuse(
            "it must be below 2 / (largest eigenvalue of D^T D) for codes to come to rest; use a smaller dt",
        );
    }
    if marks.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(Error::Argument("the times of the codes must ascend".into()));
    }
    let parts = map_chunks(
        batch,
        cancel,
        || [(); 4].map(|()| vec![0.0; m]),
        |work, samples| {
            let mut part = vec![0.0; samples.len() * marks.len() * m];
            let rows = part.chunks_mut((marks.len() * m).max(1));
            for (out, sample) in rows.zip(samples) {
                follow(problem, &x[sample * n..(sample + 1) * n], step, marks, work, out, cancel)?;
            }
            Ok(part)
        },
    )?;
    Ok(parts.concat())
}

/// One sample.
fn follow(
    problem: &Pursuit,
    x: &[f64],
    step: f64,
    marks: &[usize],
    [goal, state, code, image]: &mut [Vec<f64>; 4],
    out: &mut [f64],
    cancel: &CancelFlag,
) -> Result<()> {
    problem.correlate(x, goal);
    state.fill(0.0);
    code.fill(0.0);
    let mut done = 0;
    for (out, &mark) in out.chunks_exact_mut(code.len()).zip(marks) {
        cancel.check()?;
        for _ in done..mark {
            problem.times_gram(code, image);
            for k in 0..state.len() {
                state[k] += step * (goal[k] - state[k] - image[k] + code[k]);
            }
            code.copy_from_slice(state);
            for (atoms, l1, l2) in problem.groups() {
                penalty::prox(&mut code[atoms], l1, l2);
            }
        }
        done = mark;
        problem.unsorted(code, out);
    }
    Ok(())
}
