"""Photonic layers small enough for exhaustive tests."""

import torch

from hybridlit.photonics import CircuitType, Experiment, QuantumLayer

TYPES = [kind.value for kind in CircuitType]


def make(features=3, outputs=4, circuit="series", modes=4, photons=2, mapping="linear", **options):
    experiment = Experiment(circuit, modes, photons, **options)
    return QuantumLayer(features, outputs, experiment=experiment, output_mapping_strategy=mapping)


def jacobian(layer, rows=6):
    x = torch.rand(rows, layer.input_size, dtype=torch.float64)
    return torch.func.vmap(torch.func.jacrev(layer.double().probabilities))(x)
