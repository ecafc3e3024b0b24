"""Workload S in evprop: exact events, no grid.

    python benches/workload_s/evprop_.py {none,learn,axonal} [--dtype float32]

`learn`: a delay of its own at every synapse into the hidden layer, all learnt; `axonal`: one per sender.
"""

from __future__ import annotations

import argparse

import common

common.one_thread()

import evprop  # noqa: E402
from evprop.bench import workload_s  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["none", "learn", "axonal"])
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float32")
    args = parser.parse_args()
    after_import = common.peak_mib()
    workload = workload_s(args.kind, dtype=args.dtype)
    figures = common.measure(lambda: workload.step(0))
    common.report(
        "evprop",
        evprop.__version__,
        figures,
        after_import,
        dtype=args.dtype,
        method="exact EventProp",
        hidden_spikes=workload.step(0)["hidden"] / common.N_HIDDEN,
    )


if __name__ == "__main__":
    main()
