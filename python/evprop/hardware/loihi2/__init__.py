"""Loihi 2: a trained network in the chip's integers, run, placed, counted and written to files.

The way of a network: scales -> quantise (registers, synapses, decays) -> program -> simulator (steps, voltages)
-> record; beside it search, placement (limits), counts, costs, netx.
"""
