"""The seam where a real chip plugs in: something that takes spikes and returns spikes, as a simulator.

    def on_chip(net, written, inputs, duration):
        ...                       # write weights, send inputs (ms of the network), wait, read the events
        return {"hidden": evprop.Spikes(...), "output": evprop.Spikes(...)}

    chip = ExternalSubstrate(on_chip, min_vdot=0.01, write=rounded)
    evprop.train.fit(net, params, data, loss, optimiser, ..., simulator=chip)

The backward pass is the exact adjoint of the nominal network through the returned spikes (`Record.from_spikes`), handed
from what was written to the float parameters (straight-through). Nothing is asked of the substrate but its spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import HardwareError
from ..network import Network
from ..parameters import Array, check_dtype, check_duration
from ..record import Record, SpikesGiven, collect_inputs
from ..simulators import ReadoutsGiven
from ..spikes import Spikes

Run = Callable[[Network, Mapping[str, Array], Mapping[str, Spikes], float], Mapping[str, Spikes]]
"""run(net, written, inputs, duration) -> {LIF population: observed spikes}, samples in the order of the inputs."""
Write = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""write(params) -> the parameters as the substrate can hold them: rounded, bounded."""


@dataclass(frozen=True)
class ExternalSubstrate:
    """A chip, or a program of someone else's, as a simulator.

    Args:
        run: plays a batch: takes the network, the parameters as written, {Input population: `Spikes`} and the duration
            in ms, and returns the spikes of every LIF population, times in ms of the network.
        min_vdot: > 0, v_th per ms: floor of the nominal dV/dt at observed spikes, counted in ``grads.health.floored``.
        write: makes of the float parameters what the substrate can hold; None: they are written as they are.
        dtype: of the parameters, "float64" or "float32".
    """

    run: Run
    min_vdot: float
    write: Write | None = None
    dtype: str = "float64"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", check_dtype(self.dtype))

    def simulate(
        self,
        net: Network,
        params: Mapping[str, Array],
        spikes: SpikesGiven,
        *,
        duration: float,
        readouts: ReadoutsGiven | None = None,
    ) -> Record:
        """Send a batch through; see `evprop.simulate`. Readouts are refused: a substrate returns spikes."""
        if readouts and any(readouts.values()):
            raise HardwareError(
                f"readouts of {list(readouts)!r} are asked for, but an external substrate returns spikes only; "
                "use a loss of spike times."
            )
        span = check_duration(duration)
        net.layout.collect(params, self.dtype)
        inputs = collect_inputs(net, spikes, span)
        written = dict(params if self.write is None else self.write(params))
        net.layout.collect(written, self.dtype)
        observed = self.run(net, written, inputs, span)
        return Record.from_spikes(net, written, inputs, observed, duration=span, min_vdot=self.min_vdot)
