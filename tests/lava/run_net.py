"""Load a NetX file with lava-dl, run it on Lava's fixed-point models, and save u, v and spikes of every layer.

    python run_net.py model.net input.npy out.npz [spikes]

With "spikes" only these are kept. "seconds" is the time of Lava's run, without loading and compiling.

Runs in an interpreter that has Lava (see tests/test_loihi2_lava.py), never in that of the tests.
"""

import sys
import time

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.monitor.process import Monitor


def main(net_file: str, input_file: str, out_file: str, only: str = "") -> None:
    raster = np.load(input_file)  # (n_in, steps)
    graded = bool((raster > 1).any())
    net = netx.hdf5.Network(net_config=net_file, input_message_bits=8 if graded else 0)
    source = RingBuffer(data=raster)
    source.s_out.connect(net.inp)
    steps = raster.shape[1]
    monitors = []
    for k, layer in enumerate(net.layers):
        for name in ("s_out",) if only else ("u", "v", "s_out"):
            monitor = Monitor()
            monitor.probe(getattr(layer.neuron, name), steps)
            monitors.append((f"{k}_{name[0]}", name, layer.neuron, monitor))
    config = Loihi2SimCfg(select_tag="fixed_pt")
    net.create_runtime(run_cfg=config)
    started = time.perf_counter()
    net.run(condition=RunSteps(num_steps=steps), run_cfg=config)
    seconds = time.perf_counter() - started
    found = {key: np.asarray(m.get_data()[neuron.name][name]) for key, name, neuron, m in monitors}
    found["seconds"] = np.array(seconds)
    net.stop()
    np.savez(out_file, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
