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


# Closed forms of the flow, as one writes them on paper; singular at tm = ts, which `kernel_table` steps around.
def decay(d, tw, tm, ts):
    return mp.exp(-d / tm)


def rise(d, tw, tm, ts):
    return 1 - mp.exp(-d / tm)


def kappa(d, tw, tm, ts):
    return ts / (tm - ts) * (mp.exp(-d / tm) - mp.exp(-d / ts))


def kappa_peak(d, tw, tm, ts):
    return kappa(tm, tw, tm, ts)


def int_one(d, tw, tm, ts):
    return tw * (1 - mp.exp(-d / tw))


def _integral(d, rate):
    return (1 - mp.exp(-d * rate)) / rate


def weighted_int_kappa(d, tw, tm, ts):
    return ts / (tm - ts) * (_integral(d, 1 / tm + 1 / tw) - _integral(d, 1 / ts + 1 / tw))


def weighted_int_decay(d, tw, tm, ts):
    return _integral(d, 1 / tm + 1 / tw)


def weighted_int_rise(d, tw, tm, ts):
    return int_one(d, tw, tm, ts) - weighted_int_decay(d, tw, tm, ts)


def int_kappa(d, tw, tm, ts):
    return ts / (tm - ts) * (_integral(d, 1 / tm) - _integral(d, 1 / ts))


def int_decay(d, tw, tm, ts):
    return _integral(d, 1 / tm)


def int_rise(d, tw, tm, ts):
    return d - int_decay(d, tw, tm, ts)


STEP = mp.mpf(10) ** -40


def derivative(f, k):
    """df/dx_k by central differences; 300 digits leave room for it."""

    def df(*x):
        up, down = list(x), list(x)
        up[k] *= 1 + STEP
        down[k] *= 1 - STEP
        return (f(*up) - f(*down)) / (2 * STEP * x[k])

    return df


def kernel_table():
    """Value of each kernel and its sensitivity |f| + sum |x df/dx|, at (d, tw, tm, ts)."""
    mp.mp.dps = 300
    kernels = [
        decay, derivative(decay, 2), rise,
        kappa, derivative(kappa, 2), derivative(kappa, 3),
        int_kappa, derivative(int_kappa, 2), derivative(int_kappa, 3),
        int_decay, derivative(int_decay, 2), int_rise,
        int_one,
        weighted_int_kappa, derivative(weighted_int_kappa, 2), derivative(weighted_int_kappa, 3),
        weighted_int_decay, derivative(weighted_int_decay, 2), weighted_int_rise,
        kappa_peak,
    ]  # fmt: skip
    rng = random.Random(2)
    points = []
    for ratio in (1e-3, 0.01, 0.1, 0.25, 1 / 1.4, 1 - 1e-3, 1 - 1e-8, 1 - 2**-52, 1.0, 1 + 2**-52, 1 + 1e-5, 1.4, 2.0, 3.0, 4.0, 30.0, 1e3):
        for span in (1e-6, 1e-2, 0.7, 3.0, 40.0):
            tm = rng.choice([20.0, 5.0, 0.3, rng.uniform(1.0, 100.0)])
            points.append((span * max(tm, tm / ratio) * rng.uniform(0.5, 1.0), tm * rng.choice([0.1, 1.0, 50.0]), tm, tm / ratio))
    rows = []
    for point in points:
        x = list(map(mp.mpf, point))
        if x[2] == x[3]:
            x[3] *= 1 + mp.mpf(10) ** -60
        row = list(point)
        for f in kernels:
            value = f(*x)
            row += [value, abs(value) + sum(abs(x[k] * derivative(f, k)(*x)) for k in range(4))]
        rows.append(row)
    write("kernels.txt", "d tw tm ts, then value and sensitivity of each kernel", rows)


def elementary_table():
    """x, then each result as a sum of two doubles, so that errors well below one unit in the last place show."""
    mp.mp.dps = 60
    rng = random.Random(3)

    def pair(value):
        high = float(value)
        return high, float(value - high)

    below = [-0.0, -1e-300, -(2.0**-54), -(2.0**-53), -1e-10, -0.3465, -0.3466, -1.0, -1.0397, -1.04, -20.0, -707.99]
    below += [-(10 ** rng.uniform(-12, 2.85)) for _ in range(250)] + [-rng.uniform(0, 3) for _ in range(250)]
    rows = [(x, *pair(mp.exp(x)), *pair(mp.expm1(x))) for x in below if x > -708.0]
    write("exp.txt", "x, exp(x) as a sum, expm1(x) as a sum", rows)
    above = [0.0, 1e-300, -1e-300, 2.0**-53, -(2.0**-53), 1e-10, -0.2929, -0.29289, 0.41421, 0.4143, 1.0, 1e5, 1e300]
    above += [10 ** rng.uniform(-12, 12) for _ in range(150)] + [-rng.random() for _ in range(150)]
    above += [-(10 ** rng.uniform(-12, 0)) for _ in range(50)] + [-1 + 10 ** rng.uniform(-15, -1) for _ in range(50)]
    above += [rng.uniform(0, 3) for _ in range(150)]
    write("ln_1p.txt", "x, ln(1 + x) as a sum", [(x, *pair(mp.log1p(x))) for x in above])


if __name__ == "__main__":
    divided_table()
    kernel_table()
    elementary_table()
