"""The classifier in scikit-learn's style: scikit-learn's own checks, and that it learns."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.datasets import yin_yang
from evprop.errors import ConfigError, SpikesError

pytest.importorskip("sklearn", reason="needs the extra evprop[sklearn]")

from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from evprop.estimator import EventPropClassifier


@parametrize_with_checks([EventPropClassifier(hidden=20, epochs=30, lr=0.02)])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_iris() -> None:
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    train, test, label_train, label_test = train_test_split(X, names[y], random_state=0, test_size=0.3)
    models = [EventPropClassifier(hidden=40, epochs=40, random_state=k).fit(train, label_train) for k in range(8)]
    # One of 45 flowers is two points, and the last bit of an engine decides over some: one training alone tells little.
    assert np.mean([model.score(test, label_test) for model in models]) > 0.93
    model = models[0]
    assert model.predict_proba(test).sum(axis=1) == pytest.approx(1.0)
    assert list(model.classes_) == list(names)
    again = EventPropClassifier(hidden=40, epochs=40, random_state=0).fit(train, label_train)
    assert all(again.params_[k].tobytes() == v.tobytes() for k, v in model.params_.items())
    assert pickle.loads(pickle.dumps(model)).predict(test).tolist() == model.predict(test).tolist()


def test_among_scikit_learns_tools() -> None:
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), EventPropClassifier(epochs=5, random_state=0))
    search = GridSearchCV(model, {"eventpropclassifier__hidden": [5, 10]}, cv=2).fit(X, y)
    assert search.best_params_["eventpropclassifier__hidden"] in (5, 10)


def test_spikes_as_they_are() -> None:
    data = yin_yang("train", size=200)
    model = EventPropClassifier(hidden=30, epochs=20, duration=60.0, random_state=0).fit(data.spikes, data.labels)
    assert model.n_features_in_ == 5
    assert model.score(data.spikes, data.labels) > 0.6
    with pytest.raises(SpikesError, match="fitted on Spikes"):
        model.predict(data.points)
    record = evprop.simulate(model.network_, model.params_, data.spikes, duration=60.0)
    assert record.spikes["hidden"].n_spikes > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden": 0}, "hidden is 0"),
        ({"epochs": 1.5}, r"epochs is 1\.5"),
        ({"window": -1.0}, r"window is -1\.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"duration": 5.0}, "shorter than the window"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EventPropClassifier(**settings).fit([[0.0], [1.0]], [0, 1])


def test_bad_spikes() -> None:
    data = yin_yang("train", size=10)
    with pytest.raises(ConfigError, match="duration is None"):
        EventPropClassifier().fit(data.spikes, data.labels)
    with pytest.raises(SpikesError, match="10 samples but labels"):
        EventPropClassifier(duration=60.0).fit(data.spikes, data.labels[:-1])
    with pytest.raises(NotFittedError):
        EventPropClassifier(duration=60.0).predict(data.spikes)
