"""Adversarial spikes: how far input spikes must move, vanish or appear until a trained network errs.

Victim          a network, parameters, loss and simulator under attack
shift_times     moves spike times within a budget in ms, along the exact gradient
delete_spikes   leaves spikes out, greedily
insert_spikes   adds spikes, greedily
Adversary       moves the spikes of each training batch (`evprop.train.fit(..., adversary=...)`)
"""

from __future__ import annotations

from .counts import delete_spikes, insert_spikes
from .times import shift_times
from .training import Adversary
from .victim import SpikeAttack, Victim

__all__ = ["Adversary", "SpikeAttack", "Victim", "delete_spikes", "insert_spikes", "shift_times"]
