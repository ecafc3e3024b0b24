"""NeuroBench's metrics on a trained Yin-Yang network, printed by its own harness, and evprop's count beside them.

    python benches/neurobench_yin_yang.py [RUN]

RUN is a run folder of `evprop train yin-yang`; without one a network is trained first. Needs evprop[neurobench].
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, ClassificationAccuracy, SynapticOperations

from evprop.config import load_config
from evprop.experiment import open_run, train_experiment
from evprop.interop.neurobench import Model, events, report

DT = 0.5


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "run"
        if len(sys.argv) == 1:
            train_experiment(load_config("yin-yang"), folder, pictures=False, progress=False)
        experiment, params = open_run(folder)
    test, how = experiment.data["test"], {"duration": experiment.duration, "dt": DT, "simulator": experiment.simulator}
    data = torch.utils.data.TensorDataset(events(test.spikes), torch.tensor(test.labels))
    metrics = [
        [Footprint, ParameterCount, ConnectionSparsity],
        [ClassificationAccuracy, ActivationSparsity, SynapticOperations],
    ]
    model = Model(experiment.net, params, experiment.loss, **how)
    print(f"NeuroBench's harness, dt = {DT} ms, {len(test)} samples:")
    print(Benchmark(model, torch.utils.data.DataLoader(data, batch_size=100), [], [], metrics).run(quiet=True))
    print("counted from the events:")
    print(report(experiment.net, params, test.spikes, test.labels, experiment.loss, **how))


if __name__ == "__main__":
    main()
