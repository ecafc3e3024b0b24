"""A slow, obvious simulator of LIF and LI networks, to judge the fast one by.

It shares no code with the package under test and does not import it. The data's way:

    model.py       what a network is: populations, projections, who reaches whom, and tangent directions
    arithmetic.py  float64, or as many decimal digits as wanted
    flow.py        one neuron between two events: closed forms, and the first crossing by bisection
    events.py      the global event queue: simulate() -> Result, with forward-mode tangents carried through
    readouts.py    integral, weighted integral, maximum, final and sampled voltages of a Result, by quadrature
    ttfs.py        the published closed forms of a first spike (equal constants; a ratio of two)
    adapter.py     evprop's networks and spikes into this simulator's own (duck-typed, no import of evprop)

How a record is held against it: ../agreement.py; the table of 500 networks: benches/exactness.py.
"""

from .adapter import doubled, from_network, sample_inputs
from .arithmetic import FLOAT64, Digits
from .events import Result, Spike, TooManySpikes, simulate
from .model import Directions, Model, Population, Projection, unit_directions
from .readouts import read

__all__ = [
    "FLOAT64",
    "Digits",
    "Directions",
    "Model",
    "Population",
    "Projection",
    "Result",
    "Spike",
    "TooManySpikes",
    "doubled",
    "from_network",
    "read",
    "sample_inputs",
    "simulate",
    "unit_directions",
]
