"""SGD with momentum, Adam and AdamW. A step is one call of the core for all trainable parameters together.

    g = gradient of the free variables (after the maps' chain rule, then clipped to the global norm
    ``clip_norm``) eta = learning rate of the parameter's group times the schedule's factor

    SGD     u <- momentum u + g;   step = eta u                                       Polyak 1964
            nesterov: step = eta (g + momentum u)                                     Nesterov 1983
    Adam    m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2
            step = eta m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)              Kingma & Ba 2015, algorithm 1
    AdamW   Adam's step plus eta * weight_decay * theta, decay not fed to the moments       Loshchilov & Hutter 2019

An optimiser is set up once and bound to a network's parameters by ``init``:

    optimiser = Adam(5e-3, groups={"*.delay": {"lr": 0.05}}, schedule=StepDecay(20, 0.95))
    state = optimiser.init(net, params)            # plain dict of arrays and numbers: what a checkpoint stores
    optimiser.step(params, grads, state)           # params and state change in place

``groups`` maps a glob over parameter names to settings of its own: lr, schedule, map, min, max, weight_decay.
The first pattern that matches a name wins; a parameter that no pattern matches has the optimiser's own
settings.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core import optimiser_step
from ..errors import ConfigError, ParameterError, nearest
from .flat import Flat, Params
from .schedules import Constant, Schedule

Array = npt.NDArray[Any]
State = dict[str, Any]

GROUP_KEYS = ("lr", "schedule", "map", "min", "max", "weight_decay")


class Optimiser(ABC):
    """What the three have in common: groups, schedule, clipping, maps and projections.

    Args:
        lr: learning rate, in the parameter's unit per step for Adam.
        groups: glob pattern -> settings (see the module's text).
        clip_norm: upper limit of the gradient's Euclidean norm over all trainable parameters together; None:
            no clipping.
        schedule: factor on every learning rate (schedules.py); a group may bring its own.
        tau_min: projection keeps tau_mem and tau_syn at or above this (ms). Only acts on time constants that
            are trained.
        min_swing: projection keeps v_reset and v_init at least this far below v_th (unit of v_th). Only acts
            where one is trained.
    """

    def __init__(
        self,
        lr: float,
        *,
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        clip_norm: float | None = None,
        schedule: Schedule | None = None,
        tau_min: float = 0.1,
        min_swing: float = 1e-3,
    ) -> None:
        self.clip_norm = clip_norm
        self.tau_min = tau_min
        self.min_swing = min_swing
        if clip_norm is not None and not clip_norm > 0:
            raise ConfigError(
                f"clip_norm must be positive, got {clip_norm}. Leave it out (None) to not clip."
            )
        if not (tau_min > 0 and min_swing > 0):
            raise ConfigError(f"tau_min and min_swing must be positive, got {tau_min} and {min_swing}.")
        own = {"lr": lr, "schedule": schedule or Constant()}
        self._patterns: list[str] = []
        self._settings: list[dict[str, Any]] = []
        for pattern, settings in {**(groups or {}), "*": {}}.items():
            for key in settings:
                if key not in GROUP_KEYS:
                    raise ConfigError(
                        f"Optimiser group '{pattern}': unknown setting '{key}'. {nearest(key, GROUP_KEYS)}"
                    )
            merged = {**own, **settings}
            if not (math.isfinite(merged["lr"]) and merged["lr"] >= 0):
                raise ConfigError(
                    f"The learning rate must be finite and not negative, got {merged['lr']} for '{pattern}'."
                )
            decay = merged.get("weight_decay", 0.0)
            if not (math.isfinite(decay) and decay >= 0):
                raise ConfigError(
                    f"weight_decay must be finite and not negative, got {decay} for '{pattern}'."
                )
            self._patterns.append(pattern)
            self._settings.append(merged)
        self._flat: Flat | None = None
        self._decays: list[float] = []

    def init(self, net: Any, params: Params) -> State:
        """Bind the optimiser to the parameters that ``net`` trains, and make a fresh state.

        The state is a plain dict: ``step`` and ``epoch`` (finished so far; the training loop counts epochs),
        ``scale`` (a factor on every learning rate, 1 unless something like `callbacks.ReduceOnPlateau` changes it),
        ``grad_norm`` (of the last step, before clipping), ``preimages`` (free variables of mapped parameters) and the
        method's moments.
        """
        trainable = tuple(net.trainable)
        missing = [name for name in trainable if name not in params]
        if missing:
            raise ParameterError(
                f"Parameters lack {missing[0]!r}. {nearest(missing[0], params)} Make them with net.init(seed)."
            )
        flat = Flat(
            params, trainable, self._patterns, self._settings, tau_min=self.tau_min, min_swing=self.min_swing
        )
        self._flat = flat
        settings = [self._settings[slot.group] for slot in flat.slots]
        self._decays = [
            s.get("weight_decay", self._default_decay(slot.name))
            for s, slot in zip(settings, flat.slots, strict=True)
        ]
        state: State = {
            "step": 0,
            "epoch": 0,
            "scale": 1.0,
            "grad_norm": 0.0,
            "preimages": flat.preimages(params),
        }
        state.update({name: np.zeros(flat.size, flat.dtype) for name in self._moments()})
        return state

    def restore(self, params: Params, state: State, saved: Mapping[str, Any]) -> None:
        """Put a saved state (from a checkpoint) into ``state``, which ``init`` made for the same network."""
        for key, value in saved.items():
            if key not in state or np.shape(state[key]) != np.shape(value):
                raise ConfigError(
                    f"The saved optimiser state has '{key}' of shape {np.shape(value)}; this optimiser "
                    f"{'has no such entry' if key not in state else f'needs {np.shape(state[key])}'}. "
                    "Use the optimiser and the network of the run that saved it."
                )
        for key in state:
            if key not in saved:
                raise ConfigError(
                    f"The saved optimiser state lacks '{key}'. Use the optimiser of the run that saved it."
                )
            if isinstance(state[key], np.ndarray):
                state[key][...] = saved[key]
            else:
                state[key] = type(state[key])(saved[key])
        self.flat.adopt(params)

    def step(self, params: Params, grads: Mapping[str, Array], state: State) -> None:
        """One step downhill: ``params`` and ``state`` change in place, constraints hold afterwards."""
        flat = self.flat
        if state["preimages"].size != flat.n_mapped:
            raise ConfigError(
                "This state belongs to another network: an optimiser serves the network that init was last called with."
            )
        gradients = flat.gradients(params, grads)
        free = flat.free(params, state["preimages"])
        state["step"] += 1
        moments = [state[name] for name in self._moments()]
        given = (flat.dtype.name, free, gradients, self.rates(state), moments, self.clip_norm)
        norm = optimiser_step(*given, **self._rule(state["step"]))
        if norm is None:
            state["step"] -= 1
            flat.refuse_nonfinite(gradients)
        state["grad_norm"] = norm
        flat.settle(params, free)

    def rates(self, state: State) -> list[tuple[float, float]]:
        """Learning rate and weight decay as they stand, for each slot of the flat vector."""
        factors = self._factors(state)
        return list(zip((factors[slot.group] for slot in self.flat.slots), self._decays, strict=True))

    def learning_rates(self, state: State) -> dict[str, float]:
        """The learning rate of each group as it stands (pattern -> rate), for logs."""
        return dict(zip(self._patterns, self._factors(state), strict=True))

    def settings(self) -> dict[str, Any]:
        """The settings as text, for a checkpoint to compare."""
        groups = {
            p: {k: repr(v) for k, v in s.items()} for p, s in zip(self._patterns, self._settings, strict=True)
        }
        own = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return {"kind": type(self).__name__, "groups": groups, **own}

    def _factors(self, state: State) -> list[float]:
        # The schedule sees the number of finished steps, so the first step has the full rate.
        step, epoch = max(state["step"] - 1, 0), state["epoch"]
        return [state["scale"] * s["lr"] * s["schedule"](step, epoch) for s in self._settings]

    @property
    def flat(self) -> Flat:
        """The flat view of the network's parameters that ``init`` was last called with."""
        if self._flat is None:
            raise ConfigError(
                "The optimiser is not bound to a network yet: call state = optimiser.init(net, params) first."
            )
        return self._flat

    def _default_decay(self, name: str) -> float:
        """Weight decay of a parameter whose group does not set any."""
        return 0.0

    @abstractmethod
    def _moments(self) -> tuple[str, ...]:
        """Names of the vectors kept in the state."""

    @abstractmethod
    def _rule(self, step: int) -> dict[str, Any]:
        """What the core must know of the method at a step, counted from 1."""


class SGD(Optimiser):
    """Stochastic gradient descent with (Nesterov) momentum; see the module's text for the formula."""

    def __init__(self, lr: float, *, momentum: float = 0.0, nesterov: bool = False, **common: Any) -> None:
        super().__init__(lr, **common)
        if not 0 <= momentum < 1:
            raise ConfigError(f"SGD: momentum must lie in [0, 1), got {momentum}.")
        if nesterov and momentum == 0:
            raise ConfigError("SGD: nesterov=True needs a momentum above 0.")
        self.momentum = momentum
        self.nesterov = nesterov

    def _moments(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def _rule(self, step: int) -> dict[str, Any]:
        return {"sgd": (self.momentum, self.nesterov)}


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015); see the module's text for the formula."""

    def __init__(
        self, lr: float, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, **common: Any
    ) -> None:
        super().__init__(lr, **common)
        if len(betas) != 2:
            raise ConfigError(f"{type(self).__name__}: betas is {betas!r}; give two numbers in [0, 1).")
        self.betas = (float(betas[0]), float(betas[1]))
        self.eps = eps
        if not (0 <= self.betas[0] < 1 and 0 <= self.betas[1] < 1):
            raise ConfigError(f"{type(self).__name__}: both betas must lie in [0, 1), got {self.betas}.")
        if not eps > 0:
            raise ConfigError(f"{type(self).__name__}: eps must be positive, got {eps}.")

    def _moments(self) -> tuple[str, ...]:
        return ("m", "v")

    def _rule(self, step: int) -> dict[str, Any]:
        b1, b2 = self.betas
        unbias = (1.0 / (1.0 - b1**step), 1.0 / (1.0 - b2**step))
        return {"adam": (self.betas, unbias, self.eps)}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Only ``*.weight`` parameters decay, others only where a group asks for it by name: pulling delays or time
    constants towards 0 has no meaning of its own.
    """

    def __init__(self, lr: float, *, weight_decay: float, **common: Any) -> None:
        super().__init__(lr, **common)
        if not (math.isfinite(weight_decay) and weight_decay >= 0):
            raise ConfigError(f"AdamW: weight_decay must be finite and not negative, got {weight_decay}.")
        self.weight_decay = weight_decay

    def _default_decay(self, name: str) -> float:
        return self.weight_decay if name.endswith(".weight") else 0.0
