//! Constants of a population, derived once a call, laid out neuron by neuron for vector loops.
//!
//! The engine works with `u = V - i_bias`, in which the bias disappears: `theta = v_th - i_bias`,
//! `u_reset = v_reset - i_bias`. With `r = 1/tau_mem - 1/tau_syn` the propagators over a span `d` (ms) are
//!
//! ```text
//! e_slow = exp(-d inv_slow)          m = expm1(-d |r|)          e_fast = e_slow (1 + m)
//! E_m, E_s = e_slow, e_fast   (swapped where tau_syn > tau_mem)
//! kappa = e_slow (-m gain + d lin)   gain = 1/(tau_mem |r|), lin = 0;   at r = 0: gain = 0, lin = 1/tau_mem
//! ```
//!
//! which is maths form `(d/tau_mem) max(E_m, E_s) phi1(-|r| d)` without a division, a jump at equality or an overflow.
use crate::math::Real;

/// Neurons are padded to a multiple of this many lanes.
pub const LANES: usize = 8;

/// Constants of one neuron.
#[derive(Debug, Clone, Copy)]
pub struct Neuron<T> {
    /// `v_th - i_bias` (infinite for a leaky integrator).
    pub theta: T,
    /// `v_reset - i_bias`.
    pub u_reset: T,
    /// `v_init - i_bias`.
    pub u_init: T,
    /// `i_bias`.
    pub bias: T,
    /// Membrane time constant, ms.
    pub tau_mem: T,
    /// Synaptic time constant, ms.
    pub tau_syn: T,
    /// `1 / tau_mem`.
    pub inv_mem: T,
    /// `1 / tau_syn`.
    pub inv_syn: T,
    /// `1 / max(tau_mem, tau_syn)`.
    pub inv_slow: T,
    /// `|1/tau_mem - 1/tau_syn|`.
    pub rate: T,
    /// `1 / (tau_mem |r|)`, 0 where `r = 0`.
    pub gain: T,
    /// `1 / tau_mem` where `r = 0`, else 0.
    pub lin: T,
    /// Whether `tau_mem >= tau_syn`.
    pub mem_slow: bool,
    /// Largest value of kappa over all spans: the peak that one unit of current can ever cause.
    pub kappa_max: T,
    /// Refractory time, ms.
    pub t_ref: f64,
}

/// Constants of a population, one vector each, padded to a multiple of [`LANES`] with silent neurons.
#[derive(Debug, Clone, Default)]
pub struct Constants<T> {
    /// Number of real neurons.
    pub n: usize,
    /// All neurons share the time constants.
    pub homogeneous: bool,
    /// Some neuron has a refractory time.
    pub refractory: bool,
    /// Some neuron has a finite one, after which V is released.
    pub holds: bool,
    /// No neuron spikes more than once: all refractory times are infinite.
    pub once: bool,
    /// All share `tau_mem = 2 tau_syn` and have their threshold above rest: crossings are known in closed form.
    pub quadratic: bool,
    neurons: Vec<Neuron<T>>,
    /// `theta` by neuron.
    pub theta: Vec<T>,
    /// The same, lowered by a margin for what rounding may hide of a tangent.
    pub guard: Vec<T>,
    /// Membrane time constant by neuron, ms.
    pub tau_mem: Vec<T>,
    /// Synaptic time constant by neuron, ms.
    pub tau_syn: Vec<T>,
    /// `1/tau_mem` by neuron.
    pub inv_mem: Vec<T>,
    /// `1/tau_syn` by neuron.
    pub inv_syn: Vec<T>,
    /// `inv_slow` by neuron.
    pub inv_slow: Vec<T>,
    /// `rate` by neuron.
    pub rate: Vec<T>,
    /// `gain` by neuron.
    pub gain: Vec<T>,
    /// `lin` by neuron.
    pub lin: Vec<T>,
    /// 1 where the membrane is the slower one, else 0 (a number, so that loops over it vectorise).
    pub mem_slow: Vec<T>,
    /// `kappa_max` by neuron.
    pub kappa_max: Vec<T>,
    /// No crossing while the current is at or below this: 0, or -inf under a bias at or above threshold.
    pub i_gate: Vec<T>,
}

impl<T: Real> Neuron<T> {
    pub(crate) fn new(tau_mem: T, tau_syn: T, v_th: T, v_reset: T, bias: T, v_init: T, t_ref: f64) -> Self {
        let (tm, ts) = (tau_mem.f64(), tau_syn.f64());
        let rate = (ts - tm).abs() / (tm * ts);
        let equal = tm == ts;
        // kappa peaks at ln(tau_mem/tau_syn) / (1/tau_syn - 1/tau_mem), where kappa = E_s. Rounded up a little.
        let peak = if equal { tm } else { (Real::ln_1p((tm - ts) / ts) / ((tm - ts) / (tm * ts))).abs() };
        let kappa_max = Real::exp_neg(-peak / ts) * (1.0 + 1e-6);
        Self {
            theta: v_th - bias,
            u_reset: v_reset - bias,
            u_init: v_init - bias,
            bias,
            tau_mem,
            tau_syn,
            inv_mem: T::of(1.0 / tm),
            inv_syn: T::of(1.0 / ts),
            inv_slow: T::of(1.0 / if tm > ts { tm } else { ts }),
            rate: T::of(rate),
            gain: if equal { T::ZERO } else { T::of(ts / (ts - tm).abs()) },
            lin: if equal { T::of(1.0 / tm) } else { T::ZERO },
            mem_slow: tm >= ts,
            kappa_max: T::of(kappa_max),
            t_ref,
        }
    }

    /// `theta`, lowered by a margin for what rounding may hide of a tangent.
    #[inline(always)]
    pub fn guard(&self) -> T {
        let guard = self.theta - T::of(64.0) * T::EPSILON * self.theta.abs();
        if self.theta.is_finite() { guard } else { self.theta }
    }
}

impl<T: Real> Constants<T> {
    /// Constants of `n` neurons from their parameters, looked up by name; one that the neuron does not have is `None`.
    pub fn new<'a>(n: usize, of: impl Fn(&str) -> Option<&'a [T]>) -> Self {
        let value = |values: Option<&[T]>, i: usize, absent: T| values.map_or(absent, |v| v[i]);
        let (tau_mem, tau_syn) = (of("tau_mem"), of("tau_syn"));
        let (v_th, v_reset, bias) = (of("v_th"), of("v_reset"), of("i_bias"));
        let (v_init, t_ref) = (of("v_init"), of("t_ref"));
        let mut neurons: Vec<_> = (0..n)
            .map(|i| {
                Neuron::new(
                    value(tau_mem, i, T::ONE),
                    value(tau_syn, i, T::ONE),
                    value(v_th, i, T::INFINITY),
                    value(v_reset, i, T::ZERO),
                    value(bias, i, T::ZERO),
                    value(v_init, i, T::ZERO),
                    value(t_ref, i, T::ZERO).f64(),
                )
            })
            .collect();
        let same = |v: Option<&[T]>| v.is_none_or(|v| v.iter().all(|&x| x == v[0]));
        let homogeneous = same(tau_mem) && same(tau_syn);
        let double = |c: &Neuron<T>| c.tau_mem == c.tau_syn + c.tau_syn && c.theta > T::ZERO;
        let quadratic = homogeneous && neurons.iter().all(double);
        let refractory = neurons.iter().any(|c| c.t_ref > 0.0);
        let holds = neurons.iter().any(|c| c.t_ref > 0.0 && c.t_ref.is_finite());
        let once = neurons.iter().all(|c| c.t_ref == f64::INFINITY);
        if let Some(&first) = neurons.first() {
            // The padding shares the time constants and can't reach its threshold.
            let silent = Neuron { theta: T::INFINITY, u_reset: T::ZERO, u_init: T::ZERO, t_ref: 0.0, ..first };
            neurons.resize(n.next_multiple_of(LANES), silent);
        }
        let column = |f: fn(&Neuron<T>) -> T| neurons.iter().map(f).collect::<Vec<T>>();
        Self {
            n,
            homogeneous,
            refractory,
            holds,
            once,
            quadratic,
            theta: column(|c| c.theta),
            guard: column(|c| c.guard()),
            tau_mem: column(|c| c.tau_mem),
            tau_syn: column(|c| c.tau_syn),
            inv_mem: column(|c| c.inv_mem),
            inv_syn: column(|c| c.inv_syn),
            inv_slow: column(|c| c.inv_slow),
            rate: column(|c| c.rate),
            gain: column(|c| c.gain),
            lin: column(|c| c.lin),
            mem_slow: column(|c| if c.mem_slow { T::ONE } else { T::ZERO }),
            kappa_max: column(|c| c.kappa_max),
            i_gate: column(|c| if c.theta > T::ZERO { T::ZERO } else { -T::INFINITY }),
            neurons,
        }
    }

    /// Constants of neuron `i`.
    #[inline(always)]
    pub fn neuron(&self, i: usize) -> &Neuron<T> {
        &self.neurons[i]
    }

    /// Number of neurons with padding.
    pub fn padded(&self) -> usize {
        self.neurons.len()
    }
}
