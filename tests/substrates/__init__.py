"""Programs that are not evprop and play the chip: each reads batches from its standard input, runs them, and answers."""
