"""From time constants to the chip's decays and back.

    d = round(4096 (1 - e^{-dt/tau}))        tau_eff = -dt / ln(1 - d/4096): what the chip then has
    kappa(dt) = (dt/tau_mem) max(E_m, E_s) phi1(-|1/tau_mem - 1/tau_syn| dt),   E = e^{-dt/tau},  phi1(x) = (e^x - 1)/x
    peak = max over t of kappa(t) = x^{1/(1 - x)},   x = tau_syn/tau_mem

kappa(t): the voltage that a current of 1 at time 0 has brought about by t. The chip adds the whole current to v in each
step; with kappa(dt) put into the weights, its voltages on the grid are those of the neuron in continuous time with the
constants tau_eff, but for the rounding of u and v. Times in ms. Source of d: ml_genn_netx (Shoesmith et al. 2025).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...errors import HardwareError

FULL = 4096
"""A decay of 1 in the chip's unit."""


class Decay(NamedTuple):
    """A decay as the chip has it: ``register`` / 4096 is lost in each step; ``tau`` (ms) is what that amounts to."""

    register: int
    tau: float
    error: float
    """Relative, of tau."""


def decay_of(tau: float, dt: float, tolerance: float, label: str) -> Decay:
    """The nearest decay that the chip has; refused where it is further from ``tau`` than ``tolerance`` (relative)."""
    register = round(-FULL * math.expm1(-dt / tau))
    found = -dt / math.log1p(-register / FULL) if 0 < register < FULL else (math.inf if register == 0 else 0.0)
    error = found / tau - 1.0
    if not abs(error) <= tolerance:
        # |d - round(d)| <= 1/2, and d = 4096 dt/tau for small dt
        least, most = tau / (2.0 * FULL * tolerance), tau * math.log(FULL)
        raise HardwareError(
            f"{label} is {tau:g} ms; in steps of dt = {dt:g} ms the chip's nearest decay is {register}/{FULL}, "
            f"{found:g} ms: off by {abs(error):.1%}, more than the {tolerance:.1%} allowed. "
            f"dt from {least:.2g} to {most / 2:.2g} ms fits this time constant; or allow more by decay_tolerance."
        )
    return Decay(register, found, error)


def kappa(dt: float, tau_mem: float, tau_syn: float) -> float:
    """The voltage after dt that a current of 1 brings about."""
    x = -abs(1.0 / tau_mem - 1.0 / tau_syn) * dt
    phi = math.expm1(x) / x if x else 1.0
    return dt / tau_mem * math.exp(-dt / max(tau_mem, tau_syn)) * phi


def peak(tau_mem: float, tau_syn: float) -> float:
    """The largest voltage that a current of 1 brings about."""
    x = tau_syn / tau_mem
    return math.exp(-1.0) if abs(x - 1.0) < 1e-9 else math.exp(math.log(x) / (1.0 - x))


def lift(amplitude: float, mem: Decay, syn: Decay) -> float:
    """How much higher a spike's voltage would peak if u and v were not rounded towards 0 in every step.

    ``amplitude``: of u in its first step, in the chip's units.
    """
    u = v = max(1, round(abs(amplitude)))
    exact_u = exact_v = float(u)
    high, exact_high = v, exact_v
    while u > 0 and exact_v >= exact_high:
        u = u * (FULL - syn.register) >> 12
        v = (v * (FULL - mem.register) >> 12) + u
        exact_u *= 1.0 - syn.register / FULL
        exact_v = exact_v * (1.0 - mem.register / FULL) + exact_u
        high, exact_high = max(high, v), max(exact_high, exact_v)
    return exact_high / high
