"""Large arrays of the core: on huge pages where Linux has them, and whole after a fork."""

import os
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import evprop
from evprop import init, losses, readouts

LINUX = sys.platform == "linux"


def problem(hidden=256):
    net = evprop.Network(
        {"input": evprop.Input(700), "hidden": evprop.LIF(hidden), "output": evprop.LI(20)},
        [
            evprop.Dense("input", "hidden", weight=init.Normal(0.026, 0.01)),
            evprop.Dense("hidden", "output", weight=init.Normal(0.0, 0.03)),
        ],
    )
    params = net.init(seed=0)
    rng = np.random.default_rng(0)
    samples = [(np.sort(rng.uniform(0.0, 50.0, 400)), rng.integers(0, 700, 400)) for _ in range(4)]
    inputs = evprop.Spikes.from_lists(samples, n_units=700)
    loss = losses.CrossEntropy(readouts.WeightedIntegral(50.0))

    def step():
        value, grads, _ = evprop.value_and_grad(net, params, inputs, np.arange(4), loss, duration=50.0)
        return value, grads

    return step


@pytest.mark.skipif(not LINUX, reason="huge pages are asked for on Linux alone")
@pytest.mark.parametrize("hidden", [256, 512], ids=["less than a page", "more"])
def test_gradients_lie_where_huge_pages_were_asked_for(hidden):
    if not Path("/sys/kernel/mm/transparent_hugepage").is_dir():
        pytest.skip("this kernel has no transparent huge pages")
    _, grads = problem(hidden)()
    start = grads["input_hidden.weight"].ctypes.data
    flags = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            low, high = (int(bound, 16) for bound in bounds.groups())
        elif line.startswith("VmFlags:") and low <= start < high:
            flags = line.split()[1:]
    assert flags is not None
    assert "hg" in flags


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_process_forked_amid_calls_gets_the_same():
    step = problem()
    wanted = step()[0]
    over = threading.Event()

    def calls():
        while not over.is_set():
            step()

    thread = threading.Thread(target=calls)
    thread.start()
    try:
        for k in range(10):
            time.sleep(0.003 * k)
            child = os.fork()
            if child == 0:
                os._exit(0 if step()[0] == wanted else 1)
            until = time.monotonic() + 30.0
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                if time.monotonic() > until:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    pytest.fail("the child did not get through a call")
                time.sleep(0.01)
            assert os.waitstatus_to_exitcode(ended[1]) == 0
    finally:
        over.set()
        thread.join()
