//! FISTA with a restart, stopped by the duality gap.
//!
//! From codes `a_k` (Beck & Teboulle 2009), with `L` no smaller than the largest eigenvalue of `D^T D`:
//!
//! ```text
//! t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2          y = a_k + (t_k - 1)/t_{k+1} (a_k - a_{k-1})
//! a_{k+1} = prox( y + D^T (x - D y) / L,  weights / L )
//! t = 1 again where (y - a_{k+1}) . (a_{k+1} - a_k) > 0           (O'Donoghue & Candes 2015)
//! ```
//!
//! The residual `r = x - D a`, scaled by the number s that the dual norm allows, is a point of the dual problem
//!
//! ```text
//! max  D(s r) = s r.x - s^2 ||r||^2 / 2      with    max over groups of the dual norm of  s D_G^T r  <= 1
//! ```
//!
//! and `P(a) - D(s r)` bounds how far `P(a)` is from the minimum. All of it needs `D^T D a` only, which is a sum over the few
//! atoms in use.
use super::kernels::dot;
use super::penalty;
use super::problem::Pursuit;
use crate::error::{Error, Result};
use crate::parallel::{CancelFlag, map_chunks};

/// When a solution is good enough.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// The largest duality gap, as a share of `||x||^2 / 2`, which is what the codes 0 cost.
    pub tolerance: f64,
    /// More iterations than this for one sample are an error.
    pub max_iterations: usize,
}

/// Codes of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// (sample, atom).
    pub codes: Vec<f64>,
    /// The duality gap of each sample (>= 0).
    pub gaps: Vec<f64>,
    /// Iterations of each sample.
    pub iterations: Vec<usize>,
}

/// What one thread works with.
struct Workspace {
    code: Vec<f64>,
    before: Vec<f64>,
    /// The point from which a step is made.
    ahead: Vec<f64>,
    /// `D^T D` times `code` and `before`.
    image: Vec<f64>,
    image_before: Vec<f64>,
    /// `D^T x` and `D^T (x - D code)`.
    goal: Vec<f64>,
    pull: Vec<f64>,
    sorted: Vec<f64>,
}

impl Workspace {
    fn new(n: usize) -> Self {
        let zeros = || vec![0.0; n];
        Self {
            code: zeros(),
            before: zeros(),
            ahead: zeros(),
            image: zeros(),
            image_before: zeros(),
            goal: zeros(),
            pull: zeros(),
            sorted: Vec::new(),
        }
    }
}

/// Solves the problem for every row of `x` (sample, feature), from the codes `start` (sample, atom) or from 0.
///
/// # Errors
/// [`Error::Argument`] for arrays that don't fit, [`Error::Parameter`] for numbers that are not finite or a tolerance that is
/// not above 0, [`Error::NotConverged`] for the first sample that takes too long, [`Error::Cancelled`].
pub fn solve(problem: &Pursuit, x: &[f64], start: Option<&[f64]>, stop: Stop, cancel: &CancelFlag) -> Result<Solution> {
    let (n, m) = (problem.n_features(), problem.n_atoms());
    let batch = Pursuit::rows("x", x, n)?;
    if let Some(start) = start {
        let given = Pursuit::rows("start", start, m)?;
        if given != batch {
            return Err(Error::Argument(format!("start has codes for {given} samples, x has {batch}")));
        }
    }
    if stop.tolerance.is_nan() || stop.tolerance <= 0.0 {
        let must = "it must be above 0";
        return Err(Error::Parameter { name: "tolerance".into(), index: 0, value: stop.tolerance, must });
    }
    let parts = map_chunks(
        batch,
        cancel,
        || Workspace::new(m),
        |work, samples| {
            let mut part = Solution { codes: vec![0.0; samples.len() * m], gaps: Vec::new(), iterations: Vec::new() };
            for (out, sample) in part.codes.chunks_exact_mut(m).zip(samples) {
                match start {
                    Some(start) => problem.sorted(&start[sample * m..(sample + 1) * m], &mut work.code),
                    None => work.code.fill(0.0),
                }
                let (gap, iterations) = run(problem, &x[sample * n..(sample + 1) * n], stop, work, sample, cancel)?;
                problem.unsorted(&work.code, out);
                part.gaps.push(gap);
                part.iterations.push(iterations);
            }
            Ok(part)
        },
    )?;
    let mut all = Solution { codes: Vec::with_capacity(batch * m), gaps: Vec::new(), iterations: Vec::new() };
    for part in parts {
        all.codes.extend(part.codes);
        all.gaps.extend(part.gaps);
        all.iterations.extend(part.iterations);
    }
    Ok(all)
}

/// Iterates from `work.code`; returns the gap and the number of iterations.
fn run(
    problem: &Pursuit,
    x: &[f64],
    stop: Stop,
    work: &mut Workspace,
    sample: usize,
    cancel: &CancelFlag,
) -> Result<(f64, usize)> {
    let squared = dot(x, x);
    problem.correlate(x, &mut work.goal);
    problem.times_gram(&work.code, &mut work.image);
    work.before.copy_from_slice(&work.code);
    work.image_before.copy_from_slice(&work.image);
    let limit = stop.tolerance * 0.5 * squared;
    let mut t = 1.0;
    for iteration in 0.. {
        let gap = gap(problem, squared, work);
        if gap <= limit {
            return Ok((gap.max(0.0), iteration));
        }
        if iteration == stop.max_iterations {
            return Err(Error::NotConverged { sample, gap: gap / (0.5 * squared), iterations: iteration });
        }
        cancel.check()?;
        t = step(problem, t, work);
    }
    Err(Error::Cancelled)
}

/// One iteration with momentum t; returns the next t.
fn step(problem: &Pursuit, t: f64, work: &mut Workspace) -> f64 {
    let next = 0.5 * (1.0 + f64::sqrt(1.0 + 4.0 * t * t));
    let momentum = (t - 1.0) / next;
    let inverse = 1.0 / problem.lipschitz();
    for k in 0..work.code.len() {
        let ahead = work.code[k] + momentum * (work.code[k] - work.before[k]);
        let image = work.image[k] + momentum * (work.image[k] - work.image_before[k]);
        work.ahead[k] = ahead;
        work.before[k] = ahead + inverse * (work.goal[k] - image);
    }
    for (atoms, l1, l2) in problem.groups() {
        penalty::prox(&mut work.before[atoms], l1 * inverse, l2 * inverse);
    }
    std::mem::swap(&mut work.code, &mut work.before);
    std::mem::swap(&mut work.image, &mut work.image_before);
    problem.times_gram(&work.code, &mut work.image);
    let turn: f64 =
        (0..work.code.len()).map(|k| (work.ahead[k] - work.code[k]) * (work.code[k] - work.before[k])).sum();
    if turn > 0.0 { 1.0 } else { next }
}

/// The duality gap of `work.code`, which rounding may leave a little below 0.
fn gap(problem: &Pursuit, squared: f64, work: &mut Workspace) -> f64 {
    let Workspace { code, image, goal, pull, sorted, .. } = work;
    pull.iter_mut().zip(goal.iter().zip(image.iter())).for_each(|(pull, (goal, image))| *pull = goal - image);
    let with_signal = squared - dot(goal, code); // r.x
    let residual = (with_signal - dot(pull, code)).max(0.0); // r.r
    let (mut cost, mut dual) = (0.0, 0.0f64);
    for (atoms, l1, l2) in problem.groups() {
        cost += penalty::value(&code[atoms.clone()], l1, l2);
        dual = dual.max(penalty::dual_norm(&pull[atoms], l1, l2, sorted));
    }
    let allowed = 1.0 / dual; // infinite where the residual is orthogonal to all atoms
    let scale = if residual > 0.0 { (with_signal / residual).clamp(-allowed, allowed) } else { 0.0 };
    0.5 * residual + cost - scale * with_signal + 0.5 * scale * scale * residual
}
