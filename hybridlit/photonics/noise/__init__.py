"""What happens to real photons: imperfect sources, loss, detectors, shots.

`model` says it in numbers, `values` holds them in a layer. `light` is what reaches the detectors,
any number of photons; `program` plans how its probabilities follow from the columns of a unitary,
`mixture` carries that out. `detectors` and `detected` say what is seen of it.
"""
