"""Writes the reference tables beside this file: `python make_tables.py` (needs mpmath).

Each line: the arguments and the correctly rounded results, in decimals that read back to the same doubles.
"""

import itertools
import pathlib
import random

import mpmath as mp

mp.mp.dps = 120
HERE = pathlib.Path(__file__).parent


def divided(*nodes):
    """The divided difference of exp, by its recurrence in 120 digits; equal nodes by their limit."""
    x = sorted(map(mp.mpf, nodes))
    if x[0] == x[-1]:
        return mp.exp(x[0]) / mp.factorial(len(x) - 1)
    return (divided(*x[1:]) - divided(*x[:-1])) / (x[-1] - x[0])


def write(name, header, rows):
    lines = [f"# {header}"] + [" ".join(repr(float(v)) for v in row) for row in rows]
    (HERE / name).write_text("\n".join(lines) + "\n")


def divided_table():
    """Nodes equal, one rounding apart, 1e-16 .. 10 apart, and as far apart as 0 and -1e6."""
    rng = random.Random(1)
    corner = [0.0, -1e-25, -1e-17, -1e-8, -0.1, -1.0, -1.0 - 2**-52, -2.0, -30.0, -1e6]
    for order in (1, 2, 3):
        sets = list(itertools.combinations_with_replacement(corner, order + 1))
        if order == 3:
            sets = rng.sample(sets, 250)
        for _ in range(150):
            nodes = [rng.choice([0.0, -rng.random(), -10 * rng.random(), -600 * rng.random()])]
            while len(nodes) <= order:
                step = 10 ** rng.uniform(-17, 1.2) * rng.choice([0, 1, 1, 1])
                nodes.append(rng.choice(nodes) - step)
            sets.append(rng.sample(nodes, len(nodes)))
        # Values too small for a normal number are not part of the promise.
        rows = [(*s, divided(*s)) for s in sets]
        write(f"divided_{order}.txt", "nodes, then exp[nodes]", [r for r in rows if r[-1] > 1e-300])


if __name__ == "__main__":
    divided_table()
