//! A dictionary, its groups and their weights: checked once, with what every solution needs of them.
use super::kernels::{combine, eigenvalue_bound, gram, transpose};
use crate::error::{Error, Result};
use crate::math::Simd;
use std::ops::Range;

/// A group basis pursuit problem, all but the signals. Atoms are kept in the order of their groups.
#[derive(Debug, Clone)]
pub struct Pursuit {
    pub(super) simd: Simd,
    n_features: usize,
    /// Atom k of this order is column `order[k]` of the dictionary given.
    order: Vec<usize>,
    /// Group g has atoms `starts[g]..starts[g + 1]` of this order.
    starts: Vec<usize>,
    l1: Vec<f64>,
    l2: Vec<f64>,
    /// (feature, atom).
    dictionary: Vec<f64>,
    /// (atom, feature).
    atoms: Vec<f64>,
    /// (atom, atom): scalar products.
    gram: Vec<f64>,
    /// No smaller than the largest eigenvalue of `gram`.
    lipschitz: f64,
}

impl Pursuit {
    /// `dictionary` is (feature, atom), row by row; `groups` names the group of each atom, `l1` and `l2` weigh each group.
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty or ragged dictionary, an atom of norm 0, a group without an atom;
    /// [`Error::Parameter`] for numbers that are not finite, or weights that are negative or both 0.
    pub fn new(dictionary: &[f64], groups: &[u32], l1: &[f64], l2: &[f64]) -> Result<Self> {
        let n_atoms = groups.len();
        if n_atoms == 0 || dictionary.is_empty() || !dictionary.len().is_multiple_of(n_atoms) {
            return Err(Error::Argument(format!(
                "a dictionary of {} numbers has no rows of {n_atoms} atoms; give one group to every atom",
                dictionary.len()
            )));
        }
        finite("dictionary", dictionary)?;
        check_weights(l1, l2)?;
        let (order, starts) = sort_groups(groups, l1.len())?;
        let rows = dictionary.chunks_exact(n_atoms);
        let dictionary: Vec<f64> = rows.flat_map(|row| order.iter().map(|&k| row[k])).collect();
        let n_features = dictionary.len() / n_atoms;
        let simd = Simd::detect();
        let atoms = transpose(&dictionary, n_atoms);
        if let Some(k) = atoms.chunks_exact(n_features).position(|atom| atom.iter().all(|&x| x == 0.0)) {
            return Err(Error::Argument(format!(
                "atom {} of the dictionary is 0 everywhere; it can't be part of any signal: leave it out",
                order[k]
            )));
        }
        let gram_ = gram(simd, &dictionary, n_atoms);
        let lipschitz = if n_features < n_atoms {
            eigenvalue_bound(simd, &gram(simd, &atoms, n_features), n_features)
        } else {
            eigenvalue_bound(simd, &gram_, n_atoms)
        };
        if !lipschitz.is_finite() || lipschitz == 0.0 {
            return Err(Error::Argument(format!(
                "the squared norm of the dictionary is {lipschitz}; scale its atoms to a norm of about 1"
            )));
        }
        Ok(Self {
            simd,
            n_features,
            order,
            starts,
            l1: l1.to_vec(),
            l2: l2.to_vec(),
            dictionary,
            atoms,
            gram: gram_,
            lipschitz,
        })
    }

    /// Numbers in a signal.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Columns of the dictionary.
    #[must_use]
    pub fn n_atoms(&self) -> usize {
        self.order.len()
    }

    /// The constant of the smooth part's gradient that steps are made with: at least the largest eigenvalue of `D^T D`.
    #[must_use]
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz
    }

    /// (atoms in this order, l1, l2) of each group.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Range<usize>, f64, f64)> {
        self.starts.windows(2).zip(self.l1.iter().zip(&self.l2)).map(|(ends, (&l1, &l2))| (ends[0]..ends[1], l1, l2))
    }

    /// `gram a`.
    pub(super) fn times_gram(&self, a: &[f64], out: &mut [f64]) {
        combine(self.simd, a, &self.gram, out);
    }

    /// `D^T x`.
    pub(super) fn correlate(&self, x: &[f64], out: &mut [f64]) {
        combine(self.simd, x, &self.dictionary, out);
    }

    /// `D a`.
    pub(super) fn synthesise(&self, a: &[f64], out: &mut [f64]) {
        combine(self.simd, a, &self.atoms, out);
    }

    /// The scalar product of two atoms of this order.
    pub(super) fn product(&self, a: usize, b: usize) -> f64 {
        self.gram[a * self.n_atoms() + b]
    }

    /// Takes codes in the order given into this one.
    pub(super) fn sorted(&self, given: &[f64], out: &mut [f64]) {
        self.order.iter().zip(out).for_each(|(&k, out)| *out = given[k]);
    }

    /// Takes codes in this order into the one given.
    pub(super) fn unsorted(&self, own: &[f64], out: &mut [f64]) {
        self.order.iter().zip(own).for_each(|(&k, &own)| out[k] = own);
    }

    /// How many samples `x` holds, rows of `width` finite numbers.
    pub(super) fn rows(name: &str, x: &[f64], width: usize) -> Result<usize> {
        if !x.len().is_multiple_of(width) {
            return Err(Error::Argument(format!("{name} holds {} numbers; rows of {width} are needed", x.len())));
        }
        finite(name, x)?;
        Ok(x.len() / width)
    }
}

/// All numbers of an array are finite.
fn finite(name: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(index) => {
            Err(Error::Parameter { name: name.into(), index, value: values[index], must: "it must be finite" })
        }
    }
}

/// Weights are not negative, and not both 0: a group that costs nothing has no dual norm, and may have no single solution.
fn check_weights(l1: &[f64], l2: &[f64]) -> Result<()> {
    if l1.len() != l2.len() {
        return Err(Error::Argument(format!("l1 weighs {} groups and l2 {}", l1.len(), l2.len())));
    }
    for (name, weights) in [("l1", l1), ("l2", l2)] {
        finite(name, weights)?;
        if let Some(index) = weights.iter().position(|&w| w < 0.0) {
            let must = "a group's weight must be >= 0";
            return Err(Error::Parameter { name: name.into(), index, value: weights[index], must });
        }
    }
    match l1.iter().zip(l2).position(|(&l1, &l2)| l1 == 0.0 && l2 == 0.0) {
        None => Ok(()),
        Some(group) => Err(Error::Argument(format!("group {group} has l1 = l2 = 0; one of them must be above 0"))),
    }
}

/// (order, starts): atoms by group, and where each group starts.
fn sort_groups(groups: &[u32], n_groups: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    if let Some(atom) = groups.iter().position(|&g| g as usize >= n_groups) {
        return Err(Error::Argument(format!(
            "atom {atom} is in group {}, but there are weights for {n_groups} groups (0 to {})",
            groups[atom],
            n_groups.saturating_sub(1)
        )));
    }
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&atom| groups[atom]);
    let mut starts = vec![0; n_groups + 1];
    groups.iter().for_each(|&g| starts[g as usize + 1] += 1);
    if let Some(group) = starts[1..].iter().position(|&n| n == 0) {
        return Err(Error::Argument(format!("group {group} has no atom; number the groups without gaps")));
    }
    for g in 0..n_groups {
        starts[g + 1] += starts[g];
    }
    Ok((order, starts))
}
