//! What a connection makes of the weights it is given: clipped to 8 bits and a sign, low bits cleared.

/// Which signs the weights of a connection may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignMode {
    /// Both signs: 8 bits and a sign, even numbers only.
    Mixed,
    /// All >= 0.
    Excitatory,
    /// All <= 0.
    Inhibitory,
}

impl SignMode {
    /// The mode that fits these weights; excitatory if there are none but zeros.
    #[must_use]
    pub fn of(weights: &[i32]) -> Self {
        if weights.iter().all(|&w| w >= 0) {
            Self::Excitatory
        } else if weights.iter().all(|&w| w <= 0) {
            Self::Inhibitory
        } else {
            Self::Mixed
        }
    }

    /// The weights as the connection uses them (its exponent apart), with `bits` of 1 to 8.
    #[must_use]
    pub fn effective(self, weights: &[i32], bits: u32) -> Vec<i32> {
        let dropped = 8 - bits + u32::from(self == Self::Mixed);
        let cut = |w: i32| (w >> dropped) << dropped;
        let one = |&w: &i32| match self {
            Self::Mixed => cut(w.clamp(-256, 255)),
            Self::Excitatory => cut(w.clamp(0, 255)),
            Self::Inhibitory => -cut(w.saturating_neg().clamp(0, 255)),
        };
        weights.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::SignMode::{Excitatory, Inhibitory, Mixed};
    use super::*;

    #[test]
    fn modes_are_those_of_the_matrix() {
        assert_eq!(SignMode::of(&[0, 3]), Excitatory);
        assert_eq!(SignMode::of(&[0, 0]), Excitatory);
        assert_eq!(SignMode::of(&[0, -3]), Inhibitory);
        assert_eq!(SignMode::of(&[1, -3]), Mixed);
    }

    #[test]
    fn truncation_goes_to_minus_infinity_unless_inhibitory() {
        assert_eq!(Mixed.effective(&[-1, 255, -300, 300, 3], 8), [-2, 254, -256, 254, 2]);
        assert_eq!(Excitatory.effective(&[-5, 255, 300, 7], 6), [0, 252, 252, 4]);
        assert_eq!(Inhibitory.effective(&[-7, -255, -300, 5, i32::MIN], 6), [-4, -252, -252, 0, -252]);
    }
}
