"""evprop in other frameworks; each module needs the extra of its name.

    jax          a network as a pure function under jit, grad and vmap
    neurobench   networks under NeuroBench's own harness
    nir          networks to and from the Neuromorphic Intermediate Representation
    torch        a network as an nn.Module: spikes and readouts with gradients, DataLoader workers

Nothing here is loaded by `import evprop`; a module whose package is not installed says which extra brings it.
"""
