"""Photonic layers small enough for exhaustive tests."""

import torch

from hybridlit.photonics import CircuitType, Experiment, Noise, QuantumLayer

TYPES = [kind.value for kind in CircuitType]
COMPONENTS = [
    dict(component="interferometer", modes=[0, 1, 2], shape="triangular"),
    dict(component="phase_shifter", modes=0, phi=dict(data={0: 1.0, 1: -0.5}, scale=2, offset=0.3)),
    dict(component="beam_splitter", modes=[2, 0], theta="t", convention="ry", phi_tr=dict(data=1)),
    dict(component="permutation", modes=[0, 1, 2, 3], permutation=[1, 0, 3, 2]),
    dict(
        component="circuit",
        modes=[3, 1],
        n_modes=2,
        components=[
            dict(component="beam_splitter", modes=0, theta="t"),
            dict(component="phase_shifter", modes=1, phi=dict(trainable=None, init=0.4)),
            dict(component="phase_shifter", modes=0, phi=dict(data=2, scale=3.1)),
        ],
    ),
    dict(
        component="unitary",
        modes=[2, 3],
        matrix=dict(real=[[0.6, 0], [0, 0.6]], imag=[[0, 0.8], [0.8, 0]]),
    ),
    dict(component="interferometer", splitters=1.3),
]
"""One of each component on 4 modes: 3 features, one of them in two columns; a shared angle."""


def make(features=3, outputs=4, circuit="series", modes=4, photons=2, mapping="linear", **options):
    experiment = Experiment(circuit, modes, photons, **options)
    return QuantumLayer(features, outputs, experiment=experiment, output_mapping_strategy=mapping)


def jacobian(layer, rows=6):
    x = torch.rand(rows, layer.input_size, dtype=torch.float64)
    return torch.func.vmap(torch.func.jacrev(layer.double().probabilities))(x)


PLAIN = dict(n_modes=5, n_photons=2)
KINDS = {
    "linear": (4, PLAIN, {}),
    "all probabilities": (None, PLAIN, {}),
    "unbunched": (None, dict(PLAIN, computation_space="unbunched"), {}),
    "expectations": (None, PLAIN, dict(output_mapping_strategy="mode_expectations")),
    "correlations": (None, PLAIN, dict(output_mapping_strategy="pair_correlations")),
    "grouping": (4, PLAIN, dict(output_mapping_strategy="modgrouping")),
    "post-selected": (None, dict(PLAIN, postselect="[0]<2"), {}),
    "components": (None, dict(circuit=COMPONENTS, n_modes=4, input_state=[1, 0, 1, 0]), {}),
    "superposition": (None, dict(n_modes=4, input_state={(1, 0, 1, 0): 1, (0, 2, 0, 0): 1j}), {}),
    "bandwidths": (3, dict(PLAIN, use_bandwidth_tuning=True), {}),
    "noise": (
        None,
        dict(PLAIN, noise=Noise(transmittance=0.4, indistinguishability=0.9, g2=0.02)),
        {},
    ),
    "loss by mode, clicks": (
        None,
        dict(PLAIN, noise=Noise(transmittance=[0.4, 0.5, 0.6, 0.7, 0.8]), detectors="threshold"),
        {},
    ),
}
"""Names, outputs of 3 features, fields of an experiment and options: each way through a layer."""
