"""The compiled core. Arrays are C-contiguous; populations are named by their index; times are in ms."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Floats: TypeAlias = NDArray[np.float64]
_Array: TypeAlias = NDArray[Any]  # float64 or float32
_Spikes: TypeAlias = tuple[
    _Floats, NDArray[np.uint32], NDArray[np.int64]
]  # times, units, offsets (batch + 1,)
_Loss: TypeAlias = tuple[_Floats, _Floats]  # values, derivatives

class CoreNetwork:
    def __new__(
        cls,
        populations: Sequence[tuple[str, str, int]],
        projections: Sequence[
            tuple[str, int, int, str | None, bool, tuple[NDArray[np.int64], NDArray[np.uint32]] | None]
        ],
    ) -> CoreNetwork: ...
    def layout(self) -> list[tuple[str, tuple[int, ...], bool]]: ...

class CoreRecord:
    @property
    def fingerprint(self) -> int | None: ...
    @property
    def batch(self) -> int: ...
    @property
    def duration(self) -> float: ...
    @property
    def dtype(self) -> str: ...
    def spikes(self, pop: int) -> _Spikes: ...
    def currents(self, pop: int) -> _Array: ...
    def activity(self, pop: int, n: int) -> tuple[int, int]: ...
    def readout(self, k: int) -> _Array: ...
    def max_times(self, k: int) -> _Floats: ...

class CoreLoss:
    def __new__(cls, kind: str, population: int, settings: list[float], silent: float) -> CoreLoss: ...

class CoreTraining:
    def __new__(
        cls,
        core: CoreNetwork,
        params: list[_Array],
        dtype: str,
        wrt: list[bool],
        moments: list[_Array],
        ordinal: int,
    ) -> CoreTraining: ...
    def simulate(
        self,
        core: CoreNetwork,
        inputs: list[_Spikes],
        duration: float,
        readouts: list[tuple[int, tuple[Any, ...]]],
        max_spikes: int,
        stop_when_fired: int | None,
    ) -> CoreRecord: ...
    def take_gradient(
        self,
        core: CoreNetwork,
        record: CoreRecord,
        spike_cotangents: list[_Floats | None],
        readout_cotangents: list[_Floats | None],
        scale: float,
        max_dw_norm: float | None,
    ) -> dict[str, Any]: ...
    def add_gradient(self, slot: int, more: _Array) -> None: ...
    def gradient(self) -> _Array: ...
    def norm(self) -> float: ...
    def step_sgd(
        self,
        core: CoreNetwork,
        momentum: float,
        nesterov: bool,
        scale: float,
        rates: list[tuple[float, float]],
        bounds: list[tuple[int, int | None, bool, float]],
    ) -> None: ...
    def step_adam(
        self,
        core: CoreNetwork,
        betas: tuple[float, float],
        unbias: tuple[float, float],
        eps: float,
        scale: float,
        rates: list[tuple[float, float]],
        bounds: list[tuple[int, int | None, bool, float]],
    ) -> None: ...
    def parameter(self, slot: int) -> _Array: ...
    def moment(self, k: int) -> _Array: ...

class CoreLoihi2:
    def __new__(
        cls,
        inputs: Sequence[int],
        populations: Sequence[tuple[str, list[NDArray[np.int32]], tuple[int, int] | None]],
        connections: Sequence[tuple[Any, ...]],
    ) -> CoreLoihi2: ...
    def effective(self, k: int) -> NDArray[np.int32]: ...
    def run(
        self,
        inputs: Sequence[tuple[Any, ...]],
        n_steps: int,
        traced: Sequence[bool],
        strict: int | None = None,
    ) -> dict[str, Any]: ...

class CorePursuit:
    def __new__(
        cls, dictionary: _Floats, groups: NDArray[np.uint32], l1: _Floats, l2: _Floats
    ) -> CorePursuit: ...
    @property
    def lipschitz(self) -> float: ...
    def solve(
        self, x: _Floats, start: _Floats | None, tolerance: float, max_iterations: int
    ) -> tuple[_Floats, _Floats, NDArray[np.int64]]: ...
    def pull_back(self, codes: _Floats, cotangents: _Floats) -> _Floats: ...
    def respond(self, codes: _Floats, cotangents: _Floats) -> _Floats: ...
    def settle(self, x: _Floats, step: float, marks: list[int]) -> _Floats: ...

def check_spikes(
    times: _Floats, units: NDArray[np.uint32], offsets: NDArray[np.int64], n_units: int
) -> None: ...
def fired(
    times: _Floats, units: NDArray[np.uint32], offsets: NDArray[np.int64], n_units: int
) -> NDArray[np.bool_]: ...
def first_units(
    times: _Floats, units: NDArray[np.uint32], offsets: NDArray[np.int64]
) -> NDArray[np.int64]: ...
def take_samples(
    times: _Floats, units: NDArray[np.uint32], offsets: NDArray[np.int64], index: NDArray[np.int64]
) -> _Spikes: ...
def simulate(
    core: CoreNetwork,
    params: list[_Array],
    inputs: list[_Spikes],
    duration: float,
    readouts: list[tuple[int, tuple[Any, ...]]],
    dtype: str,
    max_spikes: int,
    stop_when_fired: int | None = None,
    ordinal: int | None = None,
    given: tuple[int | None, float | None, int | None, int | None, int | None, int | None] = ...,
) -> CoreRecord: ...
def cuda_count() -> int: ...
def cuda_device(ordinal: int) -> str: ...
def replay(
    core: CoreNetwork,
    params: list[_Array],
    inputs: list[_Spikes],
    observed: list[_Spikes | None],
    duration: float,
    dtype: str,
) -> CoreRecord: ...
def observed_record(
    core: CoreNetwork,
    batch: int,
    duration: float,
    dtype: str,
    seen: list[tuple[_Spikes, _Array] | None],
    readouts: list[tuple[tuple[int, tuple[Any, ...]], _Array, _Floats | None]],
) -> CoreRecord: ...
def brainscales2(
    core: CoreNetwork,
    nominal: list[_Array],
    effective: list[_Array],
    inputs: list[_Spikes],
    duration: float,
    readouts: list[tuple[int, tuple[Any, ...]]],
    max_spikes: int,
    threshold_noise: list[_Floats | None],
    packets: list[int],
    settings: dict[str, Any],
) -> tuple[CoreRecord, dict[str, Any]]: ...
def backward(
    core: CoreNetwork,
    params: list[_Array],
    inputs: list[_Spikes],
    record: CoreRecord,
    spike_cotangents: list[_Floats | None],
    readout_cotangents: list[_Floats | None],
    wrt: list[bool],
    input_times: bool,
    scale: float,
    max_dw_norm: float | None,
    min_vdot: float | None,
    given: tuple[int | None, float | None, int | None, int | None, int | None, int | None] = ...,
) -> tuple[list[_Array | None], list[_Floats] | None, dict[str, Any]]: ...
def trace(
    core: CoreNetwork,
    params: list[_Array],
    inputs: list[_Spikes],
    duration: float,
    record: CoreRecord,
    pop: int,
    times: _Floats,
) -> tuple[_Floats, _Floats]: ...
def loss_first_spike(
    times: _Floats,
    units: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    n: int,
    labels: NDArray[np.int64],
    tau_0: float,
    tau_1: float,
    alpha: float,
    silent: float,
) -> _Loss: ...
def loss_relative_mse(
    times: _Floats,
    units: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    n: int,
    labels: NDArray[np.int64],
    delta: float,
    silent: float,
) -> _Loss: ...
def loss_spike_time_mse(
    times: _Floats,
    units: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    n: int,
    targets: _Floats,
    silent: float,
) -> _Loss: ...
def loss_cross_entropy(logits: _Floats, labels: NDArray[np.int64]) -> _Loss: ...
def value_and_grad(
    core: CoreNetwork,
    params: list[_Array],
    inputs: list[_Spikes],
    labels: NDArray[np.int64],
    loss: CoreLoss,
    duration: float,
    dtype: str,
    max_spikes: int,
    stop_when_fired: int | None,
    wrt: list[bool],
    input_times: bool,
    max_dw_norm: float | None,
) -> tuple[
    CoreRecord,
    _Floats,
    int,
    list[tuple[int, int]],
    tuple[list[_Array | None], list[_Floats] | None, dict[str, Any]],
]: ...
def optimiser_step(
    dtype: str,
    values: list[_Array],
    gradients: list[_Array],
    rates: list[tuple[float, float]],
    moments: list[_Array],
    clip_norm: float | None,
    sgd: tuple[float, bool] | None = None,
    adam: tuple[tuple[float, float], tuple[float, float], float] | None = None,
) -> float | None: ...
def fingerprint(params: list[_Array]) -> int: ...
def set_num_threads(n: int) -> None: ...
def num_threads() -> int: ...
def simd_level() -> str: ...
