"""A classifier in scikit-learn's style: `EventPropClassifier`, with fit, predict and score.

Rows of numbers become spikes by latency: a value v, scaled to [0, 1] by the range of the training set, becomes one
spike at v W and one, of a second unit, at (1 - v) W, where W is the window; one more unit spikes at 0 in every sample
(the encoding of Yin-Yang: Wunderlich & Pehle 2021, for any number of columns). Behind it stand one layer of LIF neurons
with a delay at each synapse and leaky integrators, one per class. The loss is the cross entropy over exponentially
weighted integrals of their voltages (Nowotny et al. 2024). `Spikes` are taken as they are.

First weights, in the unit of v_th, for n input and h hidden units: N(7.5 / n, 1.75 / sqrt(n)) into the hidden layer, so
that all inputs together drive a neuron as in Wunderlich & Pehle (n = 5, N(1.5, 0.78)); N(0, 3 / sqrt(h)) out of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset, Latency
from .errors import ConfigError, MissingExtraError, SpikesError
from .init import Normal, Uniform
from .losses import CrossEntropy, WeightedIntegral
from .network import Network
from .optim import Adam
from .populations import LI, LIF, Input
from .projections import Dense
from .simulators import simulate
from .spikes import Spikes
from .train import fit as train

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
except ImportError as error:
    raise MissingExtraError(
        "evprop.estimator needs scikit-learn, which is not installed: pip install 'evprop[sklearn]'"
    ) from error

__all__ = ["EventPropClassifier"]

Floats = NDArray[np.float64]


class EventPropClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A spiking network with learnt weights and delays, trained by exact gradients.

    Args:
        hidden: number of LIF neurons.
        window: ms, into which a row of numbers is spread; not used for `Spikes`.
        max_delay: ms, first delays are drawn uniformly below it; None: a network without delays.
        duration: ms, of each sample; for rows of numbers window + max_delay + tau_mem unless given. `Spikes` need it.
        tau_mem, tau_syn: ms, of all neurons.
        epochs, batch_size: of the training.
        lr: learning rate of Adam for weights; delays learn ten times as fast (ms per step).
        random_state: seed of first values and of the order of samples, as scikit-learn takes it.

    Attributes:
        classes_: the labels. n_features_in_: columns (units, for `Spikes`). n_iter_: epochs trained.
        network_, params_: the trained network, for the rest of evprop. history_: the `History`.
    """

    def __init__(
        self,
        hidden: int = 100,
        *,
        window: float = 20.0,
        max_delay: float | None = 10.0,
        duration: float | None = None,
        tau_mem: float = 20.0,
        tau_syn: float = 5.0,
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 0.02,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.window = window
        self.max_delay = max_delay
        self.duration = duration
        self.tau_mem = tau_mem
        self.tau_syn = tau_syn
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> EventPropClassifier:
        """Train on X, rows of numbers (n_samples, n_features) or a `Spikes`, and one label per sample."""
        self._check_settings(spikes=isinstance(X, Spikes))
        if isinstance(X, Spikes):
            labels = np.asarray(y)
            if labels.shape != (len(X),):
                raise SpikesError(f"{len(X)} samples but labels of shape {labels.shape}; give one per sample.")
            self.n_features_in_ = X.n_units
            spikes = X
        else:
            rows, labels = validate_data(self, X, y, dtype=np.float64)
            self.range_ = np.stack([rows.min(axis=0), rows.max(axis=0)])
            spikes = self._encode(rows)
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        self._takes_spikes = isinstance(X, Spikes)
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.network_ = self._build(spikes.n_units, len(self.classes_))
        self.params_ = self.network_.init(seed)
        self.history_ = train(
            self.network_,
            self.params_,
            Dataset(spikes, index.astype(np.int64), n_classes=len(self.classes_)),
            CrossEntropy(self._readout()),
            Adam(self.lr, groups={"*.delay": {"lr": 10.0 * self.lr}}),
            epochs=self.epochs,
            batch_size=self.batch_size,
            duration=self._length(),
            seed=seed,
        )
        self.n_iter_ = len(self.history_)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """(n_samples,) labels."""
        values = self._values(X)
        return np.asarray(self.classes_[values.argmax(axis=1)])

    def predict_proba(self, X: Any) -> Floats:
        """(n_samples, n_classes): the softmax that the loss is made of; columns in the order of ``classes_``."""
        values = self._values(X)
        e = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def decision_function(self, X: Any) -> Floats:
        """(n_samples, n_classes) weighted voltage integrals; for two classes their difference, (n_samples,)."""
        values = self._values(X)
        return np.asarray(values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values)

    def _values(self, X: Any) -> Floats:
        check_is_fitted(self)
        if isinstance(X, Spikes) != self._takes_spikes:
            kinds = {True: "Spikes", False: "rows of numbers"}
            raise SpikesError(
                f"this classifier was fitted on {kinds[self._takes_spikes]}, not on {kinds[not self._takes_spikes]}."
            )
        spikes = X if self._takes_spikes else self._encode(validate_data(self, X, dtype=np.float64, reset=False))
        asked = {"output": [self._readout()]}
        params = {name: np.asarray(array) for name, array in self.params_.items()}  # joblib may have made memory maps
        record = simulate(self.network_, params, spikes, duration=self._length(), readouts=asked)
        return np.asarray(record.readout["output"][0])

    def _encode(self, rows: Floats) -> Spikes:
        """Latency encoding; a value outside the range of the training set spikes at the edge of the window."""
        low, high = self.range_
        span = np.where(high > low, high - low, 1.0)
        scaled = np.clip((rows - low) / span, 0.0, 1.0)
        return Latency(0.0, float(self.window), bias=(0.0,)).encode(np.hstack([scaled, 1.0 - scaled]))

    def _build(self, n_inputs: int, n_classes: int) -> Network:
        constants: dict[str, float] = {"tau_mem": float(self.tau_mem), "tau_syn": float(self.tau_syn)}
        return Network(
            {
                "input": Input(n_inputs),
                "hidden": LIF(self.hidden, **constants),  # type: ignore[arg-type]
                "output": LI(n_classes, **constants),  # type: ignore[arg-type]
            },
            [
                Dense(
                    "input",
                    "hidden",
                    weight=Normal(7.5 / n_inputs, 1.75 / math.sqrt(n_inputs)),
                    delay=None if self.max_delay is None else Uniform(0.0, float(self.max_delay)),
                ),
                Dense("hidden", "output", weight=Normal(0.0, 3.0 / math.sqrt(self.hidden))),
            ],
        )

    def _readout(self) -> WeightedIntegral:
        return WeightedIntegral(self._length())

    def _length(self) -> float:
        if self.duration is not None:
            return float(self.duration)
        return float(self.window) + float(self.max_delay or 0.0) + float(self.tau_mem)

    def _check_settings(self, spikes: bool) -> None:
        for name in ("window", "max_delay", "duration", "tau_mem", "tau_syn", "lr"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(f"{name} is {value!r}; it must be finite and > 0.")
        for name in ("hidden", "epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
                raise ConfigError(f"{name} is {value!r}; it must be an integer >= 1.")
        if self.duration is None and spikes:
            raise ConfigError("duration is None; spikes need a duration in ms: EventPropClassifier(duration=...).")
        if not spikes and self.duration is not None and self.duration < self.window:
            raise ConfigError(
                f"duration is {self.duration!r} ms, shorter than the window of {self.window!r} ms; it must hold it."
            )
