"""Hypothesis strategies for networks, parameters and spikes: what breaks a spiking simulator, small enough to shrink.

    from evprop.testing import strategies

    @given(strategies.problems())
    def test_my_simulator(problem):
        record = evprop.simulate(problem.net, problem.params, problem.spikes, duration=problem.duration)

Drawn are any mixture of: layers, skips, feedback and recurrence; delays none, axonal, dendritic, synaptic, some of
them 0; dense and sparse projections; equal, nearly equal and simple ratios of the time constants; constants of one's
own for each neuron; refractory, single-spike and tonic neurons; spikes at exactly equal times, at 0, and samples
without spikes. The structure is drawn by hypothesis and shrinks; the numbers in arrays come from a drawn seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from ..init import Normal, Uniform
from ..network import Network
from ..parameters import Array
from ..populations import LI, LIF, Input, Population
from ..projections import Dense, Projection, Sparse
from ..spikes import Spikes

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise MissingExtraError(
        'evprop.testing.strategies needs hypothesis, which is not installed: pip install "evprop[test]"'
    ) from missing

Floats = NDArray[np.float64]

RATIOS = (1.0, 1.0 + 1e-12, 1.0 + 1e-7, 0.999, 1.01, 1.4, 2.0, 3.0, 4.0, 0.5, 20.0)
"""tau_mem / tau_syn, the special and the nearly special ones."""
DELAY_KINDS = (None, "axonal", "dendritic", "synaptic")
GRID = 0.5
"""ms; times and delays on this grid make exact ties."""


@dataclass(frozen=True)
class Problem:
    """Everything that one simulation needs; ``spikes`` is a Spikes, or a dict for several Input populations."""

    net: Network
    params: dict[str, Array]
    spikes: Any
    duration: float

    def __repr__(self) -> str:
        values = "\n".join(f"  {name}: {array.tolist()}" for name, array in self.params.items())
        trains = self.spikes if isinstance(self.spikes, dict) else {self.net.inputs[0]: self.spikes}
        spikes = "\n".join(
            f"  {name}[{b}]: {t.tolist()}, units {u.tolist()}"
            for name, s in trains.items()
            for b, (t, u) in enumerate(s)
        )
        return f"Problem of {self.duration} ms\n{self.net!r}\n{values}\n{spikes}"


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    max_size: int = 4,
    max_hidden: int = 2,
    max_inputs: int = 1,
    recurrent: bool = True,
    outputs: Sequence[str] = ("lif", "li"),
    delay_kinds: Sequence[str | None] = DELAY_KINDS,
) -> Network:
    """Networks: Input -> LIF layers -> an output of one of the kinds in ``outputs``, with skips and recurrence."""
    sizes = st.integers(1, max_size)
    inputs = {f"input{k or ''}": Input(draw(sizes)) for k in range(draw(st.integers(1, max_inputs)))}
    hidden = {f"hidden{k}": LIF(draw(sizes)) for k in range(draw(st.integers(1, max_hidden)))}
    kind = draw(st.sampled_from(list(outputs)))
    output = {"output": LIF(draw(sizes)) if kind == "lif" else LI(draw(sizes))}
    populations: dict[str, Population] = {**inputs, **hidden, **output}
    chain = [*hidden, "output"]
    pairs = [(name, chain[0], "") for name in inputs] + list(
        zip(chain, chain[1:], [""] * len(chain), strict=False)
    )
    extra = [(name, "output", "") for name in inputs] + [(chain[-2], "output", "again")]
    if recurrent:
        extra += [(name, name, "") for name in hidden]
        if len(hidden) > 1:
            extra.append(("hidden1", "hidden0", "back"))
    pairs += [pair for pair in extra if draw(st.booleans())]
    return Network(populations, [_projection(draw, populations, *pair, delay_kinds) for pair in pairs])


def _projection(
    draw: st.DrawFn,
    populations: dict[str, Population],
    pre: str,
    post: str,
    suffix: str,
    delay_kinds: Sequence[str | None],
) -> Projection:
    kind = draw(st.sampled_from(list(delay_kinds)))
    given: dict[str, Any] = {"weight": Normal(0.0, 1.0), "name": f"{pre}_{post}{suffix and '_' + suffix}"}
    if kind is not None:
        given |= {"delay": Uniform(0.0, 5.0), "delay_kind": kind}
    if draw(st.integers(0, 3)) == 0:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        mask = rng.random((populations[pre].size, populations[post].size)) < 0.6
        if mask.any():
            return Sparse(pre, post, mask=mask, **given)
    return Dense(pre, post, self_connections=pre != post or draw(st.booleans()), **given)


@st.composite
def parameters(
    draw: st.DrawFn,
    net: Network,
    *,
    ratios: Sequence[float] = RATIOS,
    refractory: bool = True,
    tonic: bool = True,
    drive: float = 0.7,
    dtype: str = "float64",
) -> dict[str, Array]:
    """Values for all parameters of ``net``.

    ``drive`` is the mean size of one feed-forward postsynaptic potential at its peak, in units of v_th - v_reset.
    Recurrent ones are of either sign and so small that hardly any network runs away.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    params = net.init(0)
    peaks: dict[str, Floats] = {}
    for name, population in net.populations.items():
        if population.kind != "input":
            style = (draw(st.booleans()), refractory and draw(st.booleans()), tonic and draw(st.booleans()))
            values = _constants(rng, population.size, draw(st.sampled_from([*ratios, 0.0])), *style)
            for constant in population.sources():
                params[f"{name}.{constant}"] = values[constant]
            gap = values["v_th"] - values["v_reset"]
            peaks[name] = gap / _peak(values["tau_mem"], values["tau_syn"])
    for projection in net.projections:
        pre, post = projection.pre, projection.post
        shape = params[f"{projection.name}.weight"].shape
        if net.index[pre] < net.index[post]:
            size = drive * rng.normal(1.0, 0.8, shape)
        else:
            size = (0.4 if pre == post else 0.1) / net.populations[pre].size * rng.normal(0.0, 1.0, shape)
        csr = projection.structure()
        weight = size * (peaks[post] if csr is None else peaks[post][csr[1]])
        if not projection.self_connections:
            np.fill_diagonal(weight, 0.0)
        params[f"{projection.name}.weight"] = weight
        if projection.delay_kind is not None:
            on_grid = draw(st.booleans())
            delay = rng.uniform(0.0, 6.0, params[f"{projection.name}.delay"].shape)
            params[f"{projection.name}.delay"] = np.floor(delay / 2.0) * GRID if on_grid else delay
    return {name: np.ascontiguousarray(value, dtype=dtype) for name, value in params.items()}


def _constants(
    rng: np.random.Generator, n: int, ratio: float, own: bool, refractory: bool, tonic: bool
) -> dict[str, Floats]:
    """Constants of n neurons; ratio 0: a random one for each. ``own``: each neuron has its own."""

    def spread(centre: float, width: float) -> Floats:
        return centre + width * (rng.uniform(-1.0, 1.0, n) if own else np.full(n, rng.uniform(-1.0, 1.0)))

    tau_syn = spread(5.0, 3.0)
    v_th, v_reset = spread(1.0, 0.2), spread(0.0, 0.4) if own else np.zeros(n)
    some = rng.random(n) < 0.5
    return {
        "tau_mem": tau_syn * (rng.uniform(0.5, 5.0, n) if ratio == 0.0 else ratio),
        "tau_syn": tau_syn,
        "v_th": v_th,
        "v_reset": v_reset,
        "i_bias": np.where(some & tonic, v_th * rng.uniform(1.1, 1.6, n), spread(0.0, 0.3) if own else 0.0),
        "v_init": np.minimum(spread(0.0, 0.4), v_th - 0.3) if own else np.zeros(n),
        "t_ref": np.where(some & refractory, rng.choice([0.9, 2.3, np.inf], n), 0.0),
    }


def _peak(tau_mem: Floats, tau_syn: Floats) -> Floats:
    """The largest voltage after a unit jump of the current from rest: e^{-t/tau_syn} at its time t."""
    gap = (tau_mem - tau_syn) / tau_syn
    near = np.abs(gap) < 1e-6
    safe = np.where(near, 1.0, gap)
    time = np.where(near, tau_syn, np.log1p(safe) / safe * tau_mem)
    peak: Floats = np.exp(-time / tau_syn)
    return peak


@st.composite
def spike_trains(
    draw: st.DrawFn, net: Network, *, duration: float = 40.0, max_batch: int = 2, max_spikes: int = 10
) -> Any:
    """Input spikes for ``net``: a Spikes, or {name: Spikes} for several Input populations; mostly with exact ties."""
    batch = draw(st.integers(1, max_batch))
    on_grid = st.integers(0, int(0.6 * duration / GRID)).map(lambda k: k * GRID)
    anywhere = st.floats(0.0, 0.6 * duration)
    trains: dict[str, Spikes] = {}
    for name in net.inputs:
        n = net.populations[name].size
        events = st.lists(st.tuples(on_grid | anywhere, st.integers(0, n - 1)), max_size=max_spikes)
        samples = [draw(events) for _ in range(batch)]
        pairs = [(np.array([t for t, _ in s]), np.array([u for _, u in s], np.int64)) for s in samples]
        trains[name] = Spikes.from_lists(pairs, n_units=n)
    return trains if len(trains) > 1 else trains[net.inputs[0]]


@st.composite
def problems(
    draw: st.DrawFn,
    /,
    *,
    duration: float = 40.0,
    max_batch: int = 2,
    max_spikes: int = 10,
    network: st.SearchStrategy[Network] | None = None,
    **given: Any,
) -> Problem:
    """A network, parameters and spikes that belong together; ``given`` goes to `parameters`."""
    net = draw(networks() if network is None else network)
    params = draw(parameters(net, **given))
    spikes = draw(spike_trains(net, duration=duration, max_batch=max_batch, max_spikes=max_spikes))
    return Problem(net, params, spikes, duration)
