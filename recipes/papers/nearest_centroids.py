"""Nearest centroids, whose distances are the probabilities that one photon comes back.

S. Johri et al., "Nearest Centroid Classification on a Trapped Ion Quantum Computer",
arXiv:2012.04145 (2020), figures 9 and 11: a tree of beam splitters loads a row of nonnegative
features into the amplitudes of one photon, the tree of a centroid undoes it, and the photon is
found in its first mode with the probability of their squared inner product. Half of the rows train,
over ten splits. Exact here, without shots; classical centroids see the same rows before they are
scaled to [0, 1].
"""

import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import MinMaxScaler
from torch import Tensor

import hybridlit as ML


def loader(modes: int) -> ML.QuantumLayer:
    """A tree: the photon goes left or right by an angle, in ever finer parts."""
    circuit, angle, width = ML.Circuit(modes), 0, modes
    while width > 1:
        for first in range(0, modes, width):
            splitter = ML.BeamSplitter(ML.Data(angle), convention="ry")
            circuit.add(splitter, (first, first + width // 2))
            angle += 1
        width //= 2
    photon = ML.Experiment(circuit=circuit, input_state=[1] + [0] * (modes - 1))
    return ML.QuantumLayer(
        modes - 1, experiment=photon, output_mapping_strategy="none", dtype=torch.float64
    )


def angles(rows: Tensor) -> Tensor:
    found = []
    while rows.shape[1] > 1:  # from the leaves to the root
        left, right = rows.unflatten(1, (-1, 2)).unbind(2)
        found.insert(0, 2 * torch.atan2(right, left))
        rows = torch.hypot(left, right)
    return torch.cat(found, 1)


def accuracy(train: np.ndarray, test: np.ndarray, classes: np.ndarray, truth: np.ndarray) -> float:
    scaler = MinMaxScaler().fit(train)
    rows = torch.from_numpy(scaler.transform(test).clip(0))
    scaled = scaler.transform(train)
    centroids = torch.from_numpy(
        np.stack([scaled[classes == c].mean(0) for c in np.unique(classes)])
    )
    kernel = ML.FidelityKernel(loader(train.shape[1]))
    cosines = kernel(angles(rows), angles(centroids)).sqrt()
    lengths = centroids.norm(dim=1)
    distances = lengths.square() - 2 * rows.norm(dim=1, keepdim=True) * lengths * cosines
    return float(np.mean(np.unique(classes)[distances.argmin(1)] == truth))


def main(seed: int = 0, splits: int = 10) -> dict[str, float]:
    images = ML.MnistDataModule(shape="flat", val_fraction=0, test_fraction=0)
    pixels, digits = (part.numpy() for part in images.train)
    tasks = {"iris": load_iris(return_X_y=True)}
    for chosen in ((0, 1), (2, 7), (0, 1, 2, 3)):
        kept = np.isin(digits, chosen)
        name = "digits " + ", ".join(map(str, chosen))
        tasks[name] = PCA(8, random_state=seed).fit_transform(pixels[kept]), digits[kept]
    scores = {}
    for name, (rows, classes) in tasks.items():
        found = []
        for split in range(splits):
            parts = train_test_split(
                rows, classes, test_size=0.5, stratify=classes, random_state=10 * seed + split
            )
            train, test, known, truth = parts
            classical = NearestCentroid().fit(train, known).score(test, truth)
            found.append((accuracy(train, test, known, truth), classical))
        scores[f"{name}, photonic"], scores[f"{name}, classical"] = np.mean(found, 0).tolist()
    return scores


if __name__ == "__main__":
    print(main())
