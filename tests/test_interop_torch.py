"""The PyTorch module: its numbers are evprop's own bit for bit, its gradients pass torch's gradcheck."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

import evprop
from evprop.datasets import yin_yang
from evprop.errors import ConfigError, DtypeError, NetworkError, ShapeError, SpikesError
from evprop.losses import Final, Integral, Max, Sampled
from evprop.readouts import Readout

torch = pytest.importorskip("torch", reason="needs the extra evprop[torch]")

from evprop.interop.torch import Layer, SpikeDataset, SpikeTensor, collate  # noqa: E402

torch.set_num_threads(1)  # threads of torch that wait for each other on a busy machine take seconds per step

DURATION = 25.0
READOUTS: dict[str, list[Readout]] = {"li": [Integral(), Max(), Final(), Sampled([3.3, 12.1])]}


def recurrent(dtype: str = "float64") -> tuple[evprop.Network, dict[str, Any], evprop.Spikes]:
    """Recurrence with a delay at every synapse, axonal and dendritic delays, learnt constants, both kinds of output."""
    rng = np.random.default_rng(3)
    learnt = ("tau_mem", "tau_syn", "v_th", "v_reset", "v_init", "i_bias")
    net = evprop.Network(
        {
            "in": evprop.Input(3),
            "h": evprop.LIF(4, tau_mem=rng.uniform(8, 15, 4), tau_syn=4.0, t_ref=0.5, trainable=learnt),
            "lif": evprop.LIF(2, trainable=("v_reset", "i_bias", "v_init")),
            "li": evprop.LI(2, i_bias=0.1, trainable=("tau_mem", "i_bias")),
        },
        [
            evprop.Dense("in", "h", weight=rng.normal(7, 1, (3, 4)), delay=rng.uniform(0, 4, (3, 1)), delay_kind="axonal"),
            evprop.Dense("h", "h", weight=rng.normal(0, 0.5, (4, 4)), delay=rng.uniform(0, 5, (4, 4))),
            evprop.Dense("h", "lif", weight=rng.normal(3, 0.5, (4, 2)), delay=rng.uniform(0, 2, (1, 2)), delay_kind="dendritic"),
            evprop.Dense("h", "li", weight=rng.normal(0, 1, (4, 2))),
        ],
    )
    trains = [(rng.uniform(0, 10, 4), rng.integers(0, 3, 4)) for _ in range(2)]
    return net, net.init(0, dtype=dtype), evprop.Spikes.from_lists(trains, n_units=3)


def layer_of(net: evprop.Network, params: dict[str, Any], **kwargs: Any) -> Layer:
    return Layer(net, params, duration=DURATION, **kwargs)


# -- the numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forwards_and_backwards_are_evprop_bit_for_bit(dtype: str) -> None:
    net, params, spikes = recurrent(dtype)
    simulator = evprop.Exact(dtype=dtype)
    layer = layer_of(net, params, spikes=["h", "lif"], readouts=READOUTS, simulator=simulator)
    given = SpikeTensor.from_spikes(spikes)
    given.times.requires_grad_()
    out = layer(given)
    record = evprop.simulate(net, params, spikes, duration=DURATION, readouts=READOUTS, simulator=simulator)
    assert record.spikes["h"].n_spikes > 8
    assert record.spikes["lif"].n_spikes > 0
    rng = np.random.default_rng(0)
    cotangents: dict[str, Any] = {}
    total = torch.zeros((), dtype=torch.float64)
    for name in ("h", "lif"):
        assert out.spikes[name].to_spikes() == record.spikes[name]
        cotangents[name] = rng.normal(size=record.spikes[name].n_spikes)
        total = total + (out.spikes[name].times * torch.from_numpy(cotangents[name])).sum()
    on_readouts = [rng.normal(size=y.shape).astype(y.dtype) for y in record.readout["li"]]
    for y, mine, cotangent in zip(record.readout["li"], out.readout["li"], on_readouts, strict=True):
        assert mine.numpy(force=True).tobytes() == y.tobytes()
        total = total + (mine * torch.from_numpy(cotangent)).sum()
    total.backward()
    grads = evprop.backward(record, cotangents, {"li": on_readouts})
    for name in net.trainable:
        assert layer.get_parameter(name).grad.numpy().tobytes() == grads[name].tobytes(), name
    assert given.times.grad.numpy().tobytes() == grads.input_times.tobytes()


def test_torch_gradcheck() -> None:
    """Weights, delays, every constant of the neurons and the input times of a recurrent net, in float64."""
    net, params, spikes = recurrent()
    layer = layer_of(net, params, spikes=["h", "lif"], readouts=READOUTS)
    names = net.trainable
    times = torch.tensor(spikes.times, requires_grad=True)

    def play(times: Any, *values: Any) -> tuple[Any, ...]:
        given = SpikeTensor(times, torch.tensor(spikes.units.astype(np.int64)), torch.tensor(spikes.offsets), 3)
        out = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (given,))
        return (*(train.times for train in out.spikes.values()), *out.readout["li"])

    values = tuple(layer.get_parameter(name).detach().clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(play, (times, *values), eps=1e-7, atol=1e-5, rtol=1e-5)


def test_gradients_only_where_torch_asks_for_them() -> None:
    net, params, spikes = recurrent()
    layer = layer_of(net, params)
    layer.get_parameter("in_h.weight").requires_grad_(False)
    layer.get_parameter("lif.tau_mem").requires_grad_()  # not trained by default
    layer(spikes).spikes["lif"].times.sum().backward()
    assert layer.get_parameter("in_h.weight").grad is None
    assert layer.get_parameter("lif.tau_mem").grad.abs().max() > 0
    unused = layer.get_parameter("h_li.weight").grad
    assert unused is None or not unused.any()


def test_several_inputs() -> None:
    net = evprop.Network(
        {"a": evprop.Input(1), "b": evprop.Input(1), "o": evprop.LI(1)},
        [evprop.Dense("a", "o", weight=2.0), evprop.Dense("b", "o", weight=3.0)],
    )
    layer = layer_of(net, net.init(0), readouts={"o": [Final()]})
    a = torch.tensor([[3.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[5.0]], dtype=torch.float64, requires_grad=True)
    given = {"b": SpikeTensor.from_padded(b), "a": SpikeTensor.from_padded(a)}  # in any order
    layer(given).readout["o"][0].sum().backward()
    alone = evprop.Spikes.from_lists([([3.0], [0])], n_units=1), evprop.Spikes.from_lists([([5.0], [0])], n_units=1)
    record = evprop.simulate(
        net, net.init(0), {"a": alone[0], "b": alone[1]}, duration=DURATION, readouts={"o": [Final()]}
    )
    grads = evprop.backward(record, readouts={"o": [np.ones((1, 1))]})
    assert a.grad.item() == grads.input_times["a"][0]
    assert b.grad.item() == grads.input_times["b"][0]
    assert a.grad.item() != b.grad.item()


# -- the parameters ------------------------------------------------------------------------------------------


def test_parameters_carry_their_own_names(tmp_path: Any) -> None:
    net, params, _ = recurrent()
    layer = layer_of(net, params)
    assert set(layer.state_dict()) == set(net.parameter_names)
    assert {name for name, p in layer.named_parameters() if p.requires_grad} == set(net.trainable)
    assert "h.t_ref" in dict(layer.named_buffers())
    arrays = layer.arrays()
    assert all(arrays[name].tobytes() == params[name].tobytes() for name in net.parameter_names)
    evprop.save(tmp_path / "net.safetensors", net, arrays)
    torch.save(layer.state_dict(), tmp_path / "state.pt")
    with torch.no_grad():
        layer.get_parameter("in_h.weight").zero_()
    assert arrays["in_h.weight"].any()  # a copy
    layer.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert layer.arrays()["in_h.weight"].tobytes() == params["in_h.weight"].tobytes()
    again = pickle.loads(pickle.dumps(layer))
    assert again.arrays()["h.tau_mem"].tobytes() == params["h.tau_mem"].tobytes()


def test_parametrised_time_constants() -> None:
    """torch's own way of keeping a parameter in range: tau = e^theta."""

    class Exp(torch.nn.Module):
        def forward(self, theta: Any) -> Any:
            return theta.exp()

        def right_inverse(self, value: Any) -> Any:
            return value.log()

    net, params, spikes = recurrent()
    plain, mapped = layer_of(net, params), layer_of(net, params)
    torch.nn.utils.parametrize.register_parametrization(mapped.get_submodule("h"), "tau_mem", Exp())
    for layer in (plain, mapped):
        layer(spikes).spikes["lif"].times.sum().backward()
    theta = mapped.get_parameter("h.parametrizations.tau_mem.original")
    expected = plain.get_parameter("h.tau_mem").grad * theta.exp().detach()
    torch.testing.assert_close(theta.grad, expected, rtol=1e-9, atol=0)


def test_projection() -> None:
    net, params, spikes = recurrent()
    layer = layer_of(net, params)
    inside = layer.arrays()
    layer.project_()
    assert all(inside[name].tobytes() == array.tobytes() for name, array in layer.arrays().items())
    with torch.no_grad():
        layer.get_parameter("h_h.delay")[0, 0] = -1.0
        layer.get_parameter("h.tau_syn")[1] = -2.0
        layer.get_parameter("h.v_reset")[2] = 5.0
    with pytest.raises(evprop.errors.ParameterError, match=r"h\.tau_syn\[1\]"):
        layer(spikes)
    layer.project_(tau_min=0.5, min_swing=0.01)
    after = layer.arrays()
    assert after["h_h.delay"][0, 0] == 0.0
    assert after["h.tau_syn"][1] == 0.5
    assert after["h.v_reset"][2] == after["h.v_th"][2] - 0.01
    layer(spikes)


def test_a_parameter_changed_between_the_two_passes() -> None:
    net, params, spikes = recurrent()
    layer = layer_of(net, params)
    total = layer(spikes).spikes["lif"].times.sum()
    with torch.no_grad():
        layer.get_parameter("in_h.weight").add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


# -- ragged and padded spikes --------------------------------------------------------------------------------


def test_padded_spikes_there_and_back() -> None:
    times = torch.tensor([[5.0, math.inf, 1.0, 3.0], [2.0, 2.0, math.inf, math.inf]], requires_grad=True)
    units = torch.tensor([[0, 9, 1, 2], [2, 0, -1, 7]])
    train = SpikeTensor.from_padded(times, units, n_units=3)
    assert train.to_spikes() == evprop.Spikes([1.0, 3.0, 5.0, 2.0, 2.0], [1, 2, 0, 2, 0], [0, 3, 5], n_units=3)
    padded, padded_units = train.padded()
    assert padded.tolist() == [[1.0, 3.0, 5.0], [2.0, 2.0, math.inf]]
    assert padded_units.tolist() == [[1, 2, 0], [2, 0, -1]]
    assert SpikeTensor.from_padded(padded, padded_units, n_units=3).to_spikes() == train.to_spikes()
    (train.times * torch.arange(1.0, 6.0)).sum().backward()
    assert times.grad.tolist() == [[3.0, 0.0, 1.0, 2.0], [4.0, 5.0, 0.0, 0.0]]


def test_one_spike_per_unit_and_several() -> None:
    once = SpikeTensor.from_padded(torch.tensor([[4.0, 1.0], [math.inf, 2.0]], dtype=torch.float64))
    assert once.to_spikes() == evprop.Spikes([1.0, 4.0, 2.0], [1, 0, 1], [0, 2, 3], n_units=2)
    many = SpikeTensor.from_padded(torch.tensor([[[4.0, 1.0], [2.0, math.inf]]]))
    assert many.to_spikes() == evprop.Spikes([1.0, 2.0, 4.0], [0, 1, 0], [0, 3], n_units=2)


def test_first_times_and_counts() -> None:
    times = torch.tensor([1.0, 2.0, 3.0, 1.5], dtype=torch.float64, requires_grad=True)
    train = SpikeTensor(times, torch.tensor([1, 0, 1, 2]), torch.tensor([0, 3, 4]), 3)
    first = train.first_times(silent=30.0)
    assert first.tolist() == [[2.0, 1.0, 30.0], [30.0, 30.0, 1.5]]
    assert train.counts().tolist() == [[1, 2, 0], [0, 0, 1]]
    np.testing.assert_array_equal(train.counts().numpy(), train.to_spikes().counts())
    first.sum().backward()
    assert times.grad.tolist() == [1.0, 1.0, 0.0, 1.0]


def test_no_spikes_at_all() -> None:
    net, params, _ = recurrent()
    silent = SpikeTensor.from_padded(torch.full((2, 3), math.inf, dtype=torch.float64, requires_grad=True))
    out = layer_of(net, params, readouts={"li": [Final()]})(silent)
    assert out.spikes["lif"].first_times(silent=1.0).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert out.spikes["lif"].padded()[0].shape == (2, 0)
    out.readout["li"][0].sum().backward()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: SpikeTensor.from_padded(torch.zeros(2, 3, dtype=torch.int64)), DtypeError, "float64 or float32"),
        (lambda: SpikeTensor.from_padded(torch.zeros(2, 3), torch.zeros(2, 3)), SpikesError, "n_units is missing"),
        (lambda: SpikeTensor.from_padded(torch.zeros(2, 3), torch.zeros(2, 3), 4), DtypeError, "integers"),
        (lambda: SpikeTensor.from_padded(torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.int8), 4), ShapeError, "units"),
        (lambda: SpikeTensor.from_padded(torch.zeros(3)), ShapeError, "batch, n_units"),
        (lambda: SpikeTensor.from_padded(torch.zeros(2, 3), n_units=4), SpikesError, "must agree"),
        (lambda: SpikeTensor.from_padded(torch.full((2, 3), math.nan)).to_spikes(), SpikesError, "nan"),
        (lambda: SpikeTensor.from_padded(torch.full((2, 3), -1.0)).to_spikes(), SpikesError, "-1.0 ms"),
        (lambda: SpikeTensor(torch.zeros(2), torch.zeros(3).long(), torch.tensor([0, 2]), 3), ShapeError, "n_spikes"),
        (lambda: SpikeTensor(torch.tensor([2.0, 1.0]), torch.zeros(2).long(), torch.tensor([0, 2]), 3).to_spikes(), SpikesError, "sorted"),
        (lambda: SpikeTensor.from_padded(torch.zeros(2, 3, device="meta")), DtypeError, "CPU"),
    ],
)
def test_bad_spikes(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_bad_layers() -> None:
    net, params, spikes = recurrent()
    with pytest.raises(NetworkError, match="no LIF population"):
        layer_of(net, params, spikes=["li"])
    with pytest.raises(ConfigError, match="one string"):
        layer_of(net, params, spikes="lif")
    with pytest.raises(ConfigError, match="nothing comes out"):
        layer_of(net, params, spikes=[])
    with pytest.raises(ConfigError, match="stop_when_fired"):
        layer_of(net, params, simulator=evprop.Exact(stop_when_fired="lif"))
    with pytest.raises(DtypeError, match="float32"):
        layer_of(net, net.init(0, dtype="float32"))
    with pytest.raises(SpikesError, match="SpikeTensor"):
        layer_of(net, params)(torch.zeros(2, 3))
    with pytest.raises(SpikesError, match="after the duration"):
        layer_of(net, params)(SpikeTensor.from_padded(torch.full((1, 3), 2 * DURATION)))
    with pytest.raises(DtypeError, match="CPU"):
        layer_of(net, params).to("meta")(spikes)
    clash = evprop.Network({"i": evprop.Input(1), "train": evprop.LIF(1)}, [evprop.Dense("i", "train", weight=1.0)])
    with pytest.raises(NetworkError, match="'train' is taken"):
        layer_of(clash, clash.init(0))


# -- among torch's own parts ---------------------------------------------------------------------------------


class Hybrid(torch.nn.Module):
    """Dense encoder -> times of single spikes -> spiking layer -> dense head."""

    def __init__(self) -> None:
        super().__init__()
        init = evprop.init
        net = evprop.Network(
            {"in": evprop.Input(6), "h": evprop.LIF(16), "out": evprop.LI(8)},
            [
                evprop.Dense("in", "h", weight=init.Normal(2.0, 1.0), delay=init.Uniform(0.0, 3.0)),
                evprop.Dense("h", "out", weight=init.Normal(0.0, 3.0)),
            ],
        )
        self.encoder = torch.nn.Linear(2, 6)
        self.spiking = layer_of(net, net.init(1), readouts={"out": [Integral()]})
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        times = 20.0 * torch.sigmoid(self.encoder(x))
        return self.head(self.spiking(SpikeTensor.from_padded(times)).readout["out"][0].float())


def test_a_torch_layer_before_and_after() -> None:
    torch.manual_seed(0)
    data = yin_yang("train", size=300)
    x, y = torch.tensor(data.points, dtype=torch.float32), torch.tensor(data.labels)
    model = Hybrid()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        assert model.encoder.weight.grad.abs().max() > 0
        optimiser.step()
        model.spiking.project_()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX warns of every fork, once its tests ran in this process
@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_loader_with_workers(context: str | None) -> None:
    net, params, spikes = recurrent()
    evprop.simulate(net, params, spikes, duration=DURATION)  # threads are running when the workers are forked
    data = yin_yang("train", size=50)
    loader = torch.utils.data.DataLoader(
        SpikeDataset(data),
        batch_size=16,
        collate_fn=collate,
        num_workers=0 if context is None else 2,
        multiprocessing_context=context,
    )
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    assert evprop.Spikes.concatenate(part for part, _ in batches) == data.spikes
    assert torch.cat([labels for _, labels in batches]).tolist() == data.labels.tolist()


class Simulated(torch.utils.data.Dataset):
    """A data set that runs the engine inside the worker."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        net, params, spikes = recurrent()
        record = evprop.simulate(net, params, spikes[[index % 2]], duration=DURATION)
        return record.spikes["lif"], torch.tensor([index])


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX warns of every fork, once its tests ran in this process
def test_the_engine_inside_forked_workers() -> None:
    net, params, spikes = recurrent()
    record = evprop.simulate(net, params, spikes, duration=DURATION)
    loader = torch.utils.data.DataLoader(
        Simulated(), batch_size=2, collate_fn=collate, num_workers=2, multiprocessing_context="fork"
    )
    for found, _ in loader:
        assert found == record.spikes["lif"]


@pytest.mark.filterwarnings("default")  # its own
def test_lightning(tmp_path: Any) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="needs lightning")

    class Lit(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            net = evprop.Network(
                {"in": evprop.Input(5), "h": evprop.LIF(10), "out": evprop.LI(3)},
                [
                    evprop.Dense("in", "h", weight=evprop.init.Normal(2.0, 1.0)),
                    evprop.Dense("h", "out", weight=evprop.init.Normal(0.0, 1.0)),
                ],
            )
            self.layer = Layer(net, net.init(0), duration=60.0, readouts={"out": [Max()]})

        def training_step(self, batch: Any, index: int) -> Any:
            spikes, labels = batch
            return torch.nn.functional.cross_entropy(self.layer(spikes).readout["out"][0], labels)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    loader = torch.utils.data.DataLoader(SpikeDataset(yin_yang("train", size=64)), batch_size=32, collate_fn=collate)
    module = Lit()
    before = module.layer.arrays()["in_h.weight"]
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )
    trainer.fit(module, loader)
    assert (module.layer.arrays()["in_h.weight"] != before).any()
