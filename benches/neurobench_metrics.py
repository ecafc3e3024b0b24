"""NeuroBench's metrics on a trained network, printed by its own harness, and evprop's own count beside them.

    evprop train yin-yang --out run && python benches/neurobench_metrics.py run --dt 0.5
    EVPROP_DATA=... python benches/neurobench_metrics.py gsc-run --dt 1.0

RUN is a run folder of `evprop train`; its best epoch on the validation set, on its test set. Needs evprop[neurobench].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, ClassificationAccuracy, SynapticOperations

from evprop.experiment import open_run
from evprop.interop.neurobench import Model, StateUpdates, events, report

METRICS = [
    [Footprint, ParameterCount, ConnectionSparsity],
    [ClassificationAccuracy, ActivationSparsity, SynapticOperations, StateUpdates],
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--dt", type=float, default=1.0, help="ms, of the harness's bins")
    given = parser.parse_args()
    experiment, params = open_run(given.run)
    test = experiment.data["test"]
    how = {"duration": experiment.duration, "dt": given.dt, "simulator": experiment.simulator}
    data = torch.utils.data.TensorDataset(events(test.spikes), torch.tensor(test.labels))
    model = Model(experiment.net, params, experiment.loss, **how)
    print(f"NeuroBench's harness, {experiment.config['name']}, dt = {given.dt} ms, {len(test)} samples:")
    print(Benchmark(model, torch.utils.data.DataLoader(data, batch_size=20), [], [], METRICS).run(quiet=True))
    print("counted from the events:")
    print(report(experiment.net, params, test.spikes, test.labels, experiment.loss, **how))


if __name__ == "__main__":
    main()
