"""Adversarial spikes: within their budgets, along the exact gradient, and better than chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import evprop
from evprop import losses
from evprop.attacks import Adversary, SpikeAttack, Victim, delete_spikes, insert_spikes, shift_times
from evprop.datasets import yin_yang
from evprop.errors import ConfigError, ParameterError, SpikesError, TargetError
from evprop.optim import Adam

DURATION = 60.0
LOSS = losses.FirstSpike(tau_0=1.0, tau_1=6.4, alpha=3e-3)


def network(delays: bool) -> evprop.Network:
    delay = evprop.init.Uniform(0.0, 5.0) if delays else None
    return evprop.Network(
        {
            "input": evprop.Input(5),
            "hidden": evprop.LIF(20, tau_mem=20.0, tau_syn=5.0),
            "output": evprop.LIF(3, tau_mem=20.0, tau_syn=5.0),
        },
        [
            evprop.Dense("input", "hidden", weight=evprop.init.Normal(1.5, 0.78), delay=delay),
            evprop.Dense("hidden", "output", weight=evprop.init.Normal(0.93, 0.1), delay=delay),
        ],
    )


@pytest.fixture(scope="module", params=[False, True], ids=["weights", "delays"])
def trained(request: pytest.FixtureRequest) -> tuple[Victim, evprop.Spikes, np.ndarray]:
    """A small net after two epochs of Yin-Yang, and 60 samples of the test set."""
    net, (train, test) = network(request.param), (yin_yang("train"), yin_yang("test"))
    params = net.init(seed=0)
    evprop.train.fit(
        *(net, params, train, LOSS, Adam(lr=0.01)), epochs=2, batch_size=50, duration=DURATION, seed=0
    )
    return Victim(net, params, LOSS, DURATION), test.spikes[:60], np.asarray(test.labels[:60])


def settings(epochs: int, adversary: Adversary | None) -> dict[str, Any]:
    """Of `fit`."""
    return {"epochs": epochs, "batch_size": 50, "duration": DURATION, "seed": 0, "adversary": adversary}


def accuracy(made: SpikeAttack) -> float:
    return 1.0 - float(made.fooled.mean())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("step_size", [None, 0.7])
def test_shifts_stay_within_their_budget(trained: Any, norm: str, step_size: float | None) -> None:
    victim, spikes, labels = trained
    made = shift_times(victim, spikes, labels, budget=1.5, steps=4, norm=norm, step_size=step_size)
    np.testing.assert_array_equal(made.spikes.counts(), spikes.counts())
    # each unit spikes once, so that spikes can be told apart
    by_unit = [np.lexsort((s.units, s.samples)) for s in (made.spikes, spikes)]
    shift = (made.spikes.times[by_unit[0]] - spikes.times[by_unit[1]]).reshape(60, 5)
    length = np.abs(shift).max(axis=1) if norm == "linf" else np.linalg.norm(shift, axis=1)
    assert np.all(length <= 1.5 * (1.0 + 1e-12))
    assert length.max() > 1.2
    assert made.spikes.times.min() >= 0.0
    clean = victim.look(spikes, labels)
    # The first version that is misclassified is kept, whatever its loss: that also pays for late spikes.
    kept = ~made.fooled
    assert np.all(made.losses[kept] >= clean.losses[kept])
    assert made.losses.mean() > clean.losses.mean()
    assert np.all(made.fooled[clean.classes != labels])
    assert not shift[clean.classes != labels].any()
    again = victim.look(made.spikes, labels)
    np.testing.assert_array_equal(again.classes, made.classes)
    np.testing.assert_array_equal(again.losses, made.losses)
    np.testing.assert_array_equal(made.fooled, made.classes != labels)


def test_the_gradient_beats_chance(trained: Any) -> None:
    victim, spikes, labels = trained
    clean = float(np.mean(victim.look(spikes, labels).classes == labels))
    made = [shift_times(victim, spikes, labels, budget=b, steps=5) for b in (0.5, 2.0, 5.0)]
    attacked = [accuracy(one) for one in made]
    assert clean > 0.6
    assert clean > attacked[0] > attacked[1] > attacked[2]
    rng = np.random.default_rng(0)
    by_chance = []
    for _ in range(6):
        times = np.clip(spikes.times + rng.choice([-2.0, 2.0], spikes.n_spikes), 0.0, DURATION)
        pairs = zip(spikes.offsets, spikes.offsets[1:], strict=False)
        moved = evprop.Spikes.from_lists([(times[a:b], spikes.units[a:b]) for a, b in pairs], 5)
        by_chance.append(np.mean(victim.look(moved, labels).classes == labels))
    assert attacked[1] < np.mean(by_chance) - 0.05


def test_one_small_step_costs_what_the_gradient_says(trained: Any) -> None:
    """To first order a step of length a raises the loss by a ||g||_1 (linf) or a ||g||_2 (l2)."""
    victim, spikes, labels = trained
    spikes = evprop.Spikes(spikes.times + 1.0, spikes.units, spikes.offsets, 5)  # a spike at 0 cannot go back
    seen = victim.look(spikes, labels, slopes=True)
    right = seen.classes == labels
    for norm, size in (("linf", np.abs(seen.slopes)), ("l2", seen.slopes**2)):
        expected = np.bincount(spikes.samples, size, minlength=60)
        expected = np.sqrt(expected) if norm == "l2" else expected
        made = shift_times(victim, spikes, labels, budget=1e-5, steps=1, norm=norm)
        np.testing.assert_allclose(
            ((made.losses - seen.losses) / 1e-5)[right], expected[right], rtol=2e-3, atol=1e-6
        )
    assert right.sum() > 30


def test_no_budget_changes_nothing(trained: Any) -> None:
    victim, spikes, labels = trained
    made = shift_times(victim, spikes, labels, budget=0.0, steps=3)
    assert made.spikes == spikes
    assert delete_spikes(victim, spikes, labels, most=0).spikes == spikes


def test_deletions_are_the_best_of_all(trained: Any) -> None:
    victim, spikes, labels = (trained[0], trained[1][:20], trained[2][:20])
    made = delete_spikes(victim, spikes, labels, most=1)
    clean = victim.look(spikes, labels)
    for b, (t, u) in enumerate(spikes):
        versions = evprop.Spikes.from_lists([(np.delete(t, k), np.delete(u, k)) for k in range(5)], 5)
        seen = victim.look(versions, np.full(5, labels[b]))
        wrong = seen.classes != labels[b]
        if clean.classes[b] != labels[b]:
            assert made.spikes[b][0].tolist() == t.tolist()
            continue
        assert made.fooled[b] == wrong.any()
        assert made.losses[b] == max(
            clean.losses[b], seen.losses[wrong].max() if wrong.any() else seen.losses.max()
        )
    few = delete_spikes(victim, spikes, labels, most=2, candidates=2)
    assert accuracy(made) < float(np.mean(clean.classes == labels))
    assert few.spikes.counts_per_sample().min() >= 3
    assert np.all(few.losses >= clean.losses)


def test_insertions_are_the_best_of_all(trained: Any) -> None:
    victim, spikes, labels = (trained[0], trained[1][:10], trained[2][:10])
    times = np.array([5.0, 15.0])
    made = insert_spikes(victim, spikes, labels, most=1, times=times)
    clean = victim.look(spikes, labels)
    for b, (t, u) in enumerate(spikes):
        if clean.classes[b] != labels[b]:
            continue
        versions = [(np.append(t, at), np.append(u, unit)) for at in times for unit in range(5)]
        seen = victim.look(evprop.Spikes.from_lists(versions, 5), np.full(10, labels[b]))
        wrong = seen.classes != labels[b]
        assert made.fooled[b] == wrong.any()
        assert made.losses[b] == max(
            clean.losses[b], seen.losses[wrong].max() if wrong.any() else seen.losses.max()
        )
    drawn = [
        insert_spikes(victim, spikes, labels, most=2, times=times, candidates=4, seed=s) for s in (1, 1, 2)
    ]
    assert drawn[0].spikes == drawn[1].spikes
    assert drawn[0].spikes != drawn[2].spikes
    assert 5 < drawn[0].spikes.counts_per_sample().max() <= 7


@pytest.mark.parametrize("chip", ["loihi2", "brainscales2"])
def test_chips_can_be_attacked(trained: Any, chip: str) -> None:
    victim, spikes, labels = trained
    simulator: Any = evprop.Loihi2(dt=0.5, strict=False)
    if chip == "brainscales2":
        simulator = evprop.BrainScaleS2.ideal(threshold_spread=0.005, tau_mem_spread=0.01, min_vdot=0.01)
    on_chip = Victim(victim.net, victim.params, LOSS, DURATION, simulator)
    clean = float(np.mean(on_chip.look(spikes, labels).classes == labels))
    own = shift_times(on_chip, spikes, labels, budget=3.0, steps=4)
    other = shift_times(on_chip, spikes, labels, budget=3.0, steps=4, surrogate=victim)
    assert clean > 0.6
    assert max(accuracy(own), accuracy(other)) < clean - 0.1
    np.testing.assert_array_equal(on_chip.look(own.spikes, labels).classes, own.classes)


def test_adversarial_training_hardens() -> None:
    net, train, test = network(True), yin_yang("train"), yin_yang("test")
    # Short trainings differ by a tenth from one another: three of them tell.
    withstands: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(3):
        for adversary in (None, Adversary(budget=2.0, steps=1)):
            params = net.init(seed=seed)
            evprop.train.fit(net, params, train, LOSS, Adam(lr=0.01), **settings(2, adversary))
            victim = Victim(net, params, LOSS, DURATION)
            made = shift_times(victim, test.spikes[:200], test.labels[:200], budget=2.0, steps=5)
            withstands[adversary is not None].append(accuracy(made))
    assert np.mean(withstands[True]) > np.mean(withstands[False]) + 0.05


def test_a_share_of_the_batch_is_attacked(trained: Any) -> None:
    victim, spikes, labels = trained
    made = Adversary(budget=2.0, steps=2, share=0.25).perturb(
        *(victim.net, victim.params, spikes, labels, LOSS), duration=DURATION, simulator=evprop.Exact()
    )
    assert made[15:] == spikes[15:]
    assert made[:15] == shift_times(victim, spikes[:15], labels[:15], budget=2.0, steps=2).spikes


def test_runs_with_another_adversary_are_told_apart(tmp_path: Any) -> None:
    net, few = network(False), yin_yang("train", size=100)

    def run(epochs: int, adversary: Adversary, resume: bool) -> dict[str, Any]:
        params = net.init(seed=0)
        evprop.train.fit(
            *(net, params, few, LOSS, Adam(lr=0.01)),
            **settings(epochs, adversary),
            run_dir=tmp_path,
            resume=resume,
        )
        return params

    run(1, Adversary(budget=1.0, steps=2), False)
    with pytest.raises(evprop.errors.CheckpointError, match="another adversary"):
        run(2, Adversary(budget=2.0, steps=2), True)
    resumed = run(2, Adversary(budget=1.0, steps=2), True)
    params = net.init(seed=0)
    evprop.train.fit(
        *(net, params, few, LOSS, Adam(lr=0.01)),
        **settings(2, Adversary(budget=1.0, steps=2)),
    )
    assert all(np.array_equal(resumed[name], params[name]) for name in params)


def test_bad_arguments(trained: Any) -> None:
    victim, spikes, labels = trained
    with pytest.raises(ConfigError, match="'l1'"):
        shift_times(victim, spikes, labels, budget=1.0, steps=2, norm="l1")
    with pytest.raises(ParameterError, match="budget is -1"):
        shift_times(victim, spikes, labels, budget=-1.0, steps=2)
    with pytest.raises(ParameterError, match="steps is 0"):
        Adversary(budget=1.0, steps=0)
    with pytest.raises(ParameterError, match="step_size is 0"):
        Adversary(budget=1.0, steps=1, step_size=0.0)
    with pytest.raises(ParameterError, match="share is 0"):
        Adversary(budget=1.0, steps=1, share=0.0)
    with pytest.raises(TargetError, match=r"shape \(60,\)"):
        shift_times(victim, spikes, labels[:3], budget=1.0, steps=2)
    with pytest.raises(TargetError, match=r"label [345] of sample 0"):
        shift_times(victim, spikes, labels + 3, budget=1.0, steps=2)
    with pytest.raises(ParameterError, match="most is -1"):
        delete_spikes(victim, spikes, labels, most=-1)
    with pytest.raises(ParameterError, match="candidates is 0"):
        delete_spikes(victim, spikes, labels, most=1, candidates=0)
    with pytest.raises(ParameterError, match="duration of 60 ms"):
        insert_spikes(victim, spikes, labels, most=1, times=[61.0])
    two = evprop.Network(
        {"a": evprop.Input(1), "b": evprop.Input(1), "output": evprop.LIF(3, tau_mem=20.0, tau_syn=5.0)},
        [evprop.Dense(name, "output", weight=evprop.init.Constant(1.0)) for name in "ab"],
    )
    with pytest.raises(SpikesError, match="2 Input populations"):
        shift_times(Victim(two, two.init(seed=0), LOSS, DURATION), spikes, labels, budget=1.0, steps=2)
