"""The slow simulator of tests/oracle, in a process of its own, plays the chip. It imports no evprop. Protocol: jaxsnn_chip.py."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import oracle


def play(given: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    n_in, n_hidden, n_out = given["sizes"]
    model = oracle.Model(
        [
            oracle.Population("input", "input", n_in),
            oracle.Population("hidden", "lif", n_hidden),
            oracle.Population("output", "lif", n_out),
        ],
        [
            oracle.Projection("a", "input", "hidden", None, None, True),
            oracle.Projection("b", "hidden", "output", None, None, True),
        ],
    )
    values = {"a.weight": np.array(batch["hidden"]), "b.weight": np.array(batch["output"])}
    for name, n in (("hidden", n_hidden), ("output", n_out)):
        constants = {"tau_mem": given["tau_mem"], "tau_syn": given["tau_syn"], "v_th": 1.0, "t_ref": math.inf}
        for constant in ("tau_mem", "tau_syn", "v_th", "v_reset", "i_bias", "v_init", "t_ref"):
            values[f"{name}.{constant}"] = np.full(n, constants.get(constant, 0.0))
    answer: dict[str, list[Any]] = {"hidden": [], "output": []}
    for times, units in zip(batch["times"], batch["units"], strict=True):
        result = oracle.simulate(
            model, values, {"input": (np.array(times), np.array(units))}, given["duration"]
        )
        for name, samples in answer.items():
            spikes = result.spikes[name]
            samples.append([[float(s.time) for s in spikes], [int(s.unit) for s in spikes]])
    return answer


def main() -> None:
    given = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        print(json.dumps(play(given, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
