"""Networks to and from NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024).

    CubaLIF   tau_syn I' = -I + w_in S      tau_mem v' = v_leak - v + r I      v > v_threshold: v := v_reset
    CubaLI    the same without a threshold                                     (s, and any unit of voltage)

    evprop    tau_syn I' = -I, I += w at a spike      tau_mem V' = I + i_bias - V                            (ms)

S is a train of spikes of some area a: in the definition's own terms Dirac pulses, a = 1 s; for a simulator with time
steps pulses as high as 1 and as long as a step, a = dt. Such a spike adds w_in a / tau_syn times its weight to I, so

    weight = r w_in a / tau_syn times NIR's weight       i_bias = v_leak       times in ms = 1000 times those in s

`to_nir` writes a = 1, r = 1, w_in = tau_syn: then the factor is 1 exactly. NIR keeps seconds, which costs a time
constant or delay up to one unit in the last place on the way back; so `to_nir` also keeps our own values as metadata,
and `from_nir` takes them, bit for bit, as long as the graph is still the one that was written.
"""

from __future__ import annotations

try:
    import nir as _nir  # noqa: F401
except ImportError as error:
    from .._extras import missing

    raise missing("nir", "nir") from error

from .loihi2 import load_nir, program_from_nir, program_to_nir, save_nir
from .read import from_nir
from .write import to_nir

__all__ = ["from_nir", "load_nir", "program_from_nir", "program_to_nir", "save_nir", "to_nir"]
