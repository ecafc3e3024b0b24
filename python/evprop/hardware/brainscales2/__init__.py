"""BrainScaleS-2: a trained network on a model of the mixed-signal chip.

The way of a network: placement -> pattern (what is fixed in a chip) -> mapping (what is written) -> simulator;
beside it costs.
"""
