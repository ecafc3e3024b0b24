//! Noise that depends on what it is the noise of, and on nothing else: a counter-based generator, so that the bits are the
//! same for any number of threads and any order of play.
//!
//! Philox4x32-10: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11
//! (2011), section 3.3. Normal numbers by inversion: M. J. Wichura, Algorithm AS 241, Applied Statistics 37 (1988), PPND16.
use crate::math::Real;
use std::f64::consts::LN_2;

/// 2^53.
const TWO_53: f64 = 9_007_199_254_740_992.0;

/// What a draw belongs to: the second word of the counter, beside a population or a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The threshold of a neuron in one trial.
    Threshold = 1,
    /// The time of a spike.
    Spike = 2,
    /// The delay of one event on one line.
    Delay = 3,
}

/// Draws of one call.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    key: [u32; 2],
}

impl Noise {
    /// The draws of `key`.
    pub fn new(key: u64) -> Self {
        Self { key: [key as u32, (key >> 32) as u32] }
    }

    /// A standard normal number: that of event `k` of `unit` of population or projection `whose`, in one sample.
    pub fn normal(&self, of: Of, sample: usize, whose: usize, unit: usize, k: usize) -> f64 {
        let domain = ((of as u32) << 24) ^ whose as u32;
        let [a, b, ..] = philox(self.key, [sample as u32, domain, unit as u32, k as u32]);
        // 52 bits, in the middle of their interval: never 0, never 1, and 1 - p is exact.
        let bits = (u64::from(a) << 20) ^ (u64::from(b) >> 12);
        inverse_normal((bits as f64 + 0.5) * (2.0 / TWO_53))
    }
}

/// Philox4x32 with ten rounds.
fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let first = u64::from(counter[0]) * 0xD251_1F53;
        let second = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

/// The number below which a share `p` of the standard normal distribution lies, `2^-53 <= p <= 1 - 2^-53`, to
/// about 1e-16.
fn inverse_normal(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&CENTRE, 0.180_625 - q * q);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (53.0 * LN_2 - Real::ln_1p(tail * TWO_53 - 1.0)).sqrt();
    let x = if r <= 5.0 { ratio(&MIDDLE, r - 1.6) } else { ratio(&FAR, r - 5.0) };
    if q < 0.0 { -x } else { x }
}

/// Numerator and denominator of a rational function, from the constant term up.
type Ratio = [[f64; 8]; 2];

fn ratio(of: &Ratio, x: f64) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, &c| sum * x + c);
    horner(&of[0]) / horner(&of[1])
}

const CENTRE: Ratio = [
    [
        3.387_132_872_796_366_608,
        1.331_416_678_917_843_774_5e2,
        1.971_590_950_306_551_442_7e3,
        1.373_169_376_550_946_112_5e4,
        4.592_195_393_154_987_145_7e4,
        6.726_577_092_700_870_085_3e4,
        3.343_057_558_358_812_810_5e4,
        2.509_080_928_730_122_672_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091_125_2e1,
        6.871_870_074_920_579_083e2,
        5.394_196_021_424_751_107_7e3,
        2.121_379_430_158_659_586_7e4,
        3.930_789_580_009_271_061e4,
        2.872_908_573_572_194_267_4e4,
        5.226_495_278_852_854_561e3,
    ],
];

const MIDDLE: Ratio = [
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_9,
        5.769_497_221_460_691_405_5,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        2.417_807_251_774_506_117_7e-1,
        2.272_384_498_926_918_458_33e-2,
        7.745_450_142_783_414_076_4e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_4,
        6.897_673_349_851_000_045_5e-1,
        1.481_039_764_274_800_745_9e-1,
        1.519_866_656_361_645_719_66e-2,
        5.475_938_084_995_344_946e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
];

const FAR: Ratio = [
    [
        6.657_904_643_501_103_777_2,
        5.463_784_911_164_114_369_9,
        1.784_826_539_917_291_335_8,
        2.965_605_718_285_048_912_3e-1,
        2.653_218_952_657_612_309_3e-2,
        1.242_660_947_388_078_438_6e-3,
        2.711_555_568_743_487_578_15e-5,
        2.010_334_399_292_288_132_65e-7,
    ],
    [
        1.0,
        5.998_322_065_558_879_376_9e-1,
        1.369_298_809_227_358_053_1e-1,
        1.487_536_129_085_061_485_25e-2,
        7.868_691_311_456_132_591e-4,
        1.846_318_317_510_054_681_8e-5,
        1.421_511_758_316_445_888_7e-7,
        2.044_263_103_389_939_785_64e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // Random123, examples/kat_vectors.
        let all = u32::MAX;
        assert_eq!(philox([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([all; 2], [all; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox([0xa409_3822, 0x299f_31d0], pi), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn normal_quantiles_are_the_known_ones() {
        // From R's qnorm (also an AS 241, but tested against tables), both tails and the middle.
        let known = [
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.841_344_746_068_542_9, 1.0),
            (0.025, -1.959_963_984_540_054),
            (1e-10, -6.361_340_902_404_056),
            (1e-15, -7.941_345_326_170_997),
        ];
        for (p, x) in known {
            let found = inverse_normal(p);
            assert!((found - x).abs() <= 1e-9 * x.abs() + 1e-15, "{p}: {found} is not {x}");
        }
    }

    #[test]
    fn draws_have_mean_0_and_variance_1_and_differ() {
        let noise = Noise::new(7);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|k| noise.normal(Of::Spike, k % 10, 2, k % 7, k)).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let one = noise.normal(Of::Spike, 1, 2, 3, 4);
        let others = [
            Noise::new(8).normal(Of::Spike, 1, 2, 3, 4),
            noise.normal(Of::Delay, 1, 2, 3, 4),
            noise.normal(Of::Spike, 0, 2, 3, 4),
            noise.normal(Of::Spike, 1, 3, 3, 4),
            noise.normal(Of::Spike, 1, 2, 4, 4),
            noise.normal(Of::Spike, 1, 2, 3, 5),
        ];
        assert!(others.iter().all(|&other| other != one));
    }
}
