"""The public face is a contract: extend it, do not rename it. What users may rely on is written out here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import evprop

TOP = (
    *(
        "Spikes",
        "Network",
        "Input",
        "LIF",
        "LI",
        "Dense",
        "Sparse",
        "Record",
        "Exact",
        "Loihi2",
        "BrainScaleS2",
        "init",
        "errors",
        "losses",
    ),
    *("simulate", "trace", "value_and_grad", "backward", "save", "load", "predict", "set_num_threads"),
)

MODULES = {
    "init": "Normal Uniform Constant",
    "losses": "FirstSpike RelativeMSE SpikeTimeMSE CrossEntropy Rate PeakVoltage DelayL2 Integral WeightedIntegral LinearIntegral SigmoidIntegral Max Final Sampled",
    "optim": "SGD Adam AdamW",
    "train": "fit",
    "metrics": "",
    "plot": "",
    "callbacks": "",
    "augment": "ShiftChannels Blend JitterTimes ScaleTimes RoundTimes DropSpikes DropChannels",
    "datasets": "read_hdf5 recordings",
    "testing": "gradcheck",
    "sparse": "Pursuit Codes LCA SpikingLCA Loihi2LCA LayeredPursuit DeepPursuit equal_groups group_norms grassmannian "
    "PursuitClassifier ifgsm coherence block_coherence",
    "attacks": "Victim shift_times delete_spikes insert_spikes Adversary SpikeAttack",
    "hardware": "Loihi2 Loihi2Program quantise BrainScaleS2 ExternalSubstrate calibrate",
}

# name: parameters that must stay, in order where positional
SIGNATURES = {
    "simulate": "net params spikes duration readouts simulator",
    "trace": "net params spikes population times",
    "value_and_grad": "net params spikes targets loss duration simulator max_dw_norm wrt",
    "backward": "record spike_times readouts",
    "save": "path net params",
    "load": "path",
    "predict": "net params spikes loss duration",
    "set_num_threads": "n",
    "Spikes": "times units offsets n_units",
    "Spikes.from_lists": "samples n_units",
    "Spikes.crop": "self duration",
    "Network": "populations projections",
    "Network.init": "self seed dtype",
    "Record.from_spikes": "net params spikes observed duration min_vdot",
    "LIF": "size tau_mem tau_syn v_th v_reset i_bias v_init t_ref trainable",
    "LI": "size tau_mem tau_syn i_bias v_init trainable",
    "Input": "size",
    "Dense": "pre post weight delay delay_kind name trainable self_connections",
    "Sparse": "pre post weight delay delay_kind name trainable self_connections",
    "Exact": "dtype",
    "Loihi2": "dt",
    "BrainScaleS2": "chip min_vdot weight_scale",
    "losses.FirstSpike": "tau_0 tau_1 alpha",
    "losses.RelativeMSE": "delta",
    "losses.CrossEntropy": "readout",
    "losses.WeightedIntegral": "tau normalise",
    "losses.Integral": "normalise",
    "losses.LinearIntegral": "normalise",
    "losses.SigmoidIntegral": "centre width normalise",
    "losses.Sampled": "times",
    "init.Normal": "mean std",
    "init.Uniform": "low high",
    "train.fit": "net params data loss optimiser",
}


def find(path: str) -> Any:
    found: Any = evprop
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", TOP)
def test_top_level(name: str) -> None:
    assert hasattr(evprop, name)


@pytest.mark.parametrize("module", MODULES)
def test_modules(module: str) -> None:
    pytest.importorskip("hypothesis") if module == "testing" else None
    loaded = getattr(evprop, module)
    for name in MODULES[module].split():
        assert hasattr(loaded, name), f"evprop.{module}.{name}"


@pytest.mark.parametrize("path", SIGNATURES)
def test_signatures(path: str) -> None:
    wanted = SIGNATURES[path].split()
    parameters = inspect.signature(find(path)).parameters
    assert [p for p in parameters if p in wanted] == wanted
    for name, parameter in parameters.items():
        if name not in wanted:  # an extension must not force old callers to change
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            needed = parameter.default is inspect.Parameter.empty and not variadic
            assert not needed or path == "train.fit", f"{path} asks for a new argument {name!r}"


@pytest.mark.parametrize("path", [*TOP, *SIGNATURES])
def test_documented(path: str) -> None:
    assert inspect.getdoc(find(path)), f"evprop.{path} has no docstring"


def test_all_errors_have_one_base() -> None:
    classes = [c for c in vars(evprop.errors).values() if inspect.isclass(c)]
    assert len(classes) > 10
    for error in classes:
        assert issubclass(error, evprop.errors.EvpropError), error
        assert inspect.getdoc(error), error
    for error in classes:
        if error is not evprop.errors.EvpropError:
            builtins = [b for b in error.__mro__ if b.__module__ == "builtins"]
            assert len(builtins) > 3, f"{error} must also be a built-in exception that fits"


def test_all_is_sorted_and_true() -> None:
    assert all(hasattr(evprop, name) for name in evprop.__all__)
    assert len(set(evprop.__all__)) == len(evprop.__all__)


def test_the_whole_way() -> None:
    """The example of the design, shrunk: every step of the face in the order in which data takes them."""
    spikes = evprop.Spikes.from_lists([([0.0, 3.0], [0, 1]), ([1.0], [1])], n_units=2)
    assert len(spikes) == 2
    t, u = spikes[0]
    assert t.tolist() == [0.0, 3.0]
    assert u.tolist() == [0, 1]
    init = evprop.init
    net = evprop.Network(
        {
            "input": evprop.Input(2),
            "hidden": evprop.LIF(5, tau_mem=20.0, tau_syn=5.0, trainable=("tau_mem",)),
            "output": evprop.LI(3, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense("input", "hidden", weight=init.Normal(4.0, 0.5), delay=init.Uniform(0.0, 6.0)),
            evprop.Dense("hidden", "hidden", weight=init.Normal(0.0, 0.1), delay=init.Constant(1.0)),
            evprop.Dense("hidden", "output", weight=init.Normal(1.0, 0.1)),
        ],
    )
    params = net.init(seed=0)
    final, weighted = evprop.losses.Final(), evprop.losses.WeightedIntegral(30.0)
    record = evprop.simulate(net, params, spikes, duration=30.0, readouts={"output": [final, weighted]})
    assert isinstance(record.spikes["hidden"], evprop.Spikes)
    assert record.readout["output"][0].shape == (2, 3)
    v, _ = evprop.trace(net, params, spikes[0], "hidden", np.array([1.0, 2.0]))
    assert v.shape == (2, 5)
    loss = evprop.losses.CrossEntropy(final)
    labels = np.array([0, 2])
    value, grads, record = evprop.value_and_grad(net, params, spikes, labels, loss, duration=30.0)
    assert isinstance(value, float)
    assert isinstance(grads, Mapping)
    assert set(grads) == set(net.trainable)
    assert grads["hidden.tau_mem"].shape == (5,)
    assert grads.input_times.shape == spikes.times.shape
    assert evprop.predict(net, params, spikes, loss, duration=30.0).shape == (2,)
    n_hidden = len(record.spikes["hidden"].times)
    general = evprop.backward(record, spike_times={"hidden": np.ones(n_hidden)})
    assert np.abs(general["input_hidden.delay"]).max() > 0.0


@pytest.mark.parametrize(
    ("given", "answer"), [("1", "1"), ("3", "3"), ("zero", "EVPROP_NUM_THREADS is 'zero'")]
)
def test_threads_from_the_environment(given: str, answer: str) -> None:
    import os
    import subprocess
    import sys

    run = subprocess.run(
        [sys.executable, "-c", "import evprop; print(evprop.num_threads())"],
        env=os.environ | {"EVPROP_NUM_THREADS": given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer in run.stdout + run.stderr
