"""`Layer`: any network as an nn.Module, through one autograd.Function.

Forwards the network is simulated (`evprop.simulate`); spike times and readouts come out as tensors. Backwards their
cotangents go through the adjoint (`evprop.backward`) to every parameter and input time that requires a gradient. The
parameters are registered under evprop's own names, so ``layer.state_dict()`` has the keys of `Network.init`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import ConfigError, DtypeError, NetworkError, SpikesError
from ...gradients import backward
from ...network import Network
from ...parameters import WITHOUT_GRADIENT, Array, check_duration
from ...readouts import Readout
from ...record import Record
from ...simulators import DEFAULT, Simulator
from ...spikes import Spikes
from .spikes import SpikeTensor

InputGiven = SpikeTensor | Spikes
TIME_CONSTANTS = ("tau_mem", "tau_syn")


@dataclass(frozen=True)
class Output:
    """What a `Layer` returns.

    Attributes:
        spikes: {population: `SpikeTensor`} of the populations asked for; the times carry gradients.
        readout: {population: [(batch, n) tensor of each readout asked for]} (`Sampled`: (batch, m, n)).
        record: the `Record` of the forward pass, without gradients: all spikes, currents, ends.
    """

    spikes: dict[str, SpikeTensor]
    readout: dict[str, list[Tensor]]
    record: Record


class Layer(torch.nn.Module):
    """A network as a torch module.

    Args:
        network: any `Network`.
        params: first values, as `Network.init` makes them; copied. Parameters that the network trains require
            gradients; ``requires_grad_`` turns on any other but t_ref, which is a buffer, for it has no gradient.
        duration: ms, of every sample.
        spikes: LIF populations whose spikes are returned; those that reach no other population unless given.
        readouts: {population: [readout, ...]}, as for `evprop.simulate`.
        simulator: `Exact()` unless given; its dtype must be that of the parameters.

    ``layer(spikes)`` takes a `SpikeTensor` or an `evprop.Spikes`, or a dict of these for several Input populations,
    and returns an `Output`. Second derivatives are not defined.
    """

    def __init__(
        self,
        network: Network,
        params: Mapping[str, Array],
        *,
        duration: float,
        spikes: Iterable[str] | None = None,
        readouts: Mapping[str, Sequence[Readout]] | None = None,
        simulator: Simulator | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.duration = check_duration(duration)
        self.simulator: Simulator = DEFAULT if simulator is None else simulator
        self.readouts = {name: list(asked) for name, asked in (readouts or {}).items()}
        self.returned = _returned(network, spikes)
        if getattr(self.simulator, "stop_when_fired", None) is not None:
            raise ConfigError(
                "stop_when_fired leaves out spikes, and a Layer cannot see which ones torch will read; use Exact() "
                "without it."
            )
        if not self.returned and not any(self.readouts.values()):
            raise ConfigError("nothing comes out of this Layer: give spikes=[...] or readouts={...}.")
        network.layout.collect(params, self.simulator.dtype)
        self._register(params)

    def _register(self, params: Mapping[str, Array]) -> None:
        for parameter in self.network.layout.parameters:
            owner, kind = parameter.owner, parameter.kind
            if owner not in self._modules:
                if hasattr(self, owner):
                    raise NetworkError(
                        f"the name {owner!r} is taken by torch.nn.Module; rename the population or projection."
                    )
                self.add_module(owner, torch.nn.Module())
            value = torch.from_numpy(np.array(params[parameter.name]))
            module = self.get_submodule(owner)
            if kind in WITHOUT_GRADIENT:
                module.register_buffer(kind, value)
            else:
                module.register_parameter(kind, torch.nn.Parameter(value, requires_grad=parameter.trainable))

    def _values(self) -> list[Tensor]:
        """The parameters in canonical order, with whatever torch.nn.utils.parametrize put in front of them."""
        return [
            getattr(self.get_submodule(p.owner), p.kind).contiguous() for p in self.network.layout.parameters
        ]

    def forward(self, spikes: InputGiven | Mapping[str, InputGiven]) -> Output:
        """Simulate a batch; see the class."""
        values = self._values()
        for p, value in zip(self.network.layout.parameters, values, strict=True):
            if value.device.type != "cpu":
                raise DtypeError(f"{p.name} is on {value.device}; evprop computes on the CPU: use layer.cpu().")
        times, inputs = _inputs(self.network, spikes)
        run = _Run(self, inputs)
        outputs = iter(_Play.apply(run, *times, *values))
        trains = {}
        for name in self.returned:
            found = run.record.spikes[name]
            units = torch.from_numpy(found.units.astype(np.int64))
            trains[name] = SpikeTensor(next(outputs), units, torch.tensor(found.offsets), found.n_units)
        readout = {name: [next(outputs) for _ in asked] for name, asked in self.readouts.items()}
        return Output(trains, readout, run.record)

    def arrays(self) -> dict[str, Array]:
        """Copies of the parameters, as `evprop.save`, `evprop.simulate` and so on take them."""
        with torch.no_grad():
            named = zip(self.network.layout.names, self._values(), strict=True)
            return {name: value.numpy().copy() for name, value in named}

    @torch.no_grad()
    def project_(self, *, tau_min: float = 0.1, min_swing: float = 1e-3) -> None:
        """Put parameters that an optimiser step took out of their range back at its edge, in place.

        Delays: at least 0. tau_mem and tau_syn: at least ``tau_min`` (ms). v_reset and v_init: at least ``min_swing``
        (unit of v_th) below v_th. The limits are those of `evprop.optim`; parameters in range keep their bits.
        """
        for owner in {p.owner: None for p in self.network.layout.parameters}:
            module = self.get_submodule(owner)
            own = dict(module.named_parameters(recurse=False))
            if "delay" in own:
                own["delay"].clamp_(min=0.0)
            for name in TIME_CONSTANTS:
                if name in own and own[name].requires_grad:
                    own[name].clamp_(min=tau_min)
            for name in ("v_reset", "v_init"):
                if name in own and "v_th" in own:
                    _keep_below(own[name], own["v_th"], min_swing)

    def extra_repr(self) -> str:
        return f"{self.network!r}, duration={self.duration:g}, spikes={self.returned}, readouts={self.readouts}"


def _keep_below(lower: Tensor, upper: Tensor, gap: float) -> None:
    """Move the one that is trained; the lower one if both are."""
    if lower.requires_grad:
        lower.copy_(torch.minimum(lower, upper - gap))
    elif upper.requires_grad:
        upper.copy_(torch.maximum(upper, lower + gap))


def _returned(network: Network, asked: Iterable[str] | None) -> tuple[str, ...]:
    if asked is None:
        return tuple(name for name in network.outputs if network.populations[name].kind == "lif")
    if isinstance(asked, str):
        raise ConfigError(f"spikes={asked!r} is one string; give a list of names: spikes=[{asked!r}].")
    names = tuple(asked)
    for name in names:
        if network.population(name).kind != "lif":
            raise NetworkError(f"spikes names {name!r}, which is no LIF population.")
    return names


def _inputs(
    network: Network, spikes: InputGiven | Mapping[str, InputGiven]
) -> tuple[list[Tensor | None], dict[str, Spikes]]:
    """The times that may carry gradients, and the checked spikes, of each Input population in order."""
    given = dict(spikes) if isinstance(spikes, Mapping) else dict.fromkeys(network.inputs[:1], spikes)
    times: dict[str, Tensor | None] = {}
    inputs: dict[str, Spikes] = {}
    for name, one in given.items():
        if isinstance(one, SpikeTensor):
            times[name], inputs[name] = one.times, one.to_spikes()
        elif isinstance(one, Spikes):
            times[name], inputs[name] = None, one
        else:
            raise SpikesError(
                f"spikes of {name!r}: got {type(one).__name__}; give a SpikeTensor or an evprop.Spikes "
                "(SpikeTensor.from_padded takes padded tensors)."
            )
    return [times.get(name) for name in network.inputs], inputs


@dataclass
class _Run:
    """One forward pass on its way through autograd."""

    layer: Layer
    inputs: dict[str, Spikes]
    record: Record = field(init=False)


class _Play(torch.autograd.Function):
    """(run, times of each Input, parameters in canonical order) -> spike times and readouts asked for."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        layer, net = run.layer, run.layer.network
        arrays = [t.detach().numpy() for t in tensors[len(net.inputs) :] if t is not None]
        run.record = record = layer.simulator.simulate(
            net,
            dict(zip(net.layout.names, arrays, strict=True)),
            run.inputs if len(net.inputs) > 1 or set(run.inputs) != set(net.inputs) else run.inputs[net.inputs[0]],
            duration=layer.duration,
            readouts=layer.readouts or None,
        )
        ctx.run = run
        ctx.save_for_backward(*tensors)  # so that torch itself notices what changes in place
        ctx.set_materialize_grads(False)
        times = [torch.from_numpy(record.spikes[name].times.copy()) for name in layer.returned]
        readouts = [torch.from_numpy(y) for name in layer.readouts for y in record.readout[name]]
        return (*times, *readouts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        layer, net, record = ctx.run.layer, ctx.run.layer.network, ctx.run.record
        _ = ctx.saved_tensors  # raises if one changed in place since
        wanted = ctx.needs_input_grad[1:]
        at_inputs, at_parameters = wanted[: len(net.inputs)], wanted[len(net.inputs) :]
        given = iter([None if c is None else c.numpy() for c in cotangents])
        spike_times = {name: c for name in layer.returned if (c := next(given)) is not None}
        readouts = {name: [next(given) for _ in asked] for name, asked in layer.readouts.items()}
        grads = backward(
            record,
            spike_times,
            readouts,
            wrt=[name for name, needed in zip(net.layout.names, at_parameters, strict=True) if needed],
            input_times=any(at_inputs),
        )
        by_input: Any = {}
        if any(at_inputs):
            by_input = grads.input_times if len(net.inputs) > 1 else {net.inputs[0]: grads.input_times}
        return (
            None,
            *(
                torch.from_numpy(by_input[name]) if needed else None
                for name, needed in zip(net.inputs, at_inputs, strict=True)
            ),
            *(
                torch.from_numpy(grads[name]) if needed else None
                for name, needed in zip(net.layout.names, at_parameters, strict=True)
            ),
        )
