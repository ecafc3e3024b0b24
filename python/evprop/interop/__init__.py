"""evprop in other frameworks; each module needs the extra of its name.

    jax       a network as a pure function under jit, grad and vmap                                      evprop[jax]
    nir       networks to and from the Neuromorphic Intermediate Representation                         evprop[nir]
    torch     a network as an nn.Module: spikes and readouts with gradients, DataLoader workers        evprop[torch]

Nothing here is loaded by `import evprop`; a module whose package is not installed says which extra brings it.
"""
