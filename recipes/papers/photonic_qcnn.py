"""A photonic convolutional network: two photons hold an image, and measured modes pool it.

L. Monbroussou et al., "Photonic Quantum Convolutional Neural Networks with Adaptive State
Injection", arXiv:2504.20989 (2025): one photon holds the row and one the column of each pixel. The
convolution is one splitter for all pairs of rows and one for all of columns. Odd modes are
measured; where a photon is found, a new one enters the mode beside it. A triangle of splitters
follows, and photons in two of its modes decide. Digits 0 and 1 of 8 x 8 pixels, 160 to train on and
200 to test, and bars and stripes of 4 x 4, 400 and 200.
"""

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import normalize

import hybridlit as ML


def layer(circuit: ML.Circuit) -> ML.QuantumLayer:
    chip = ML.Experiment(circuit=circuit, n_photons=2)
    return ML.QuantumLayer(0, experiment=chip, output_mapping_strategy="none")


def places(space: ML.FockSpace, size: int) -> Tensor:
    """Where the states of one photon in a row and one in a column are, shape (size, size)."""
    row, column = np.indices((size, size))
    states = np.zeros((size, size, space.modes), dtype=int)
    before = space.modes // 2 - size
    np.put_along_axis(states, before + row[..., None], 1, 2)
    np.put_along_axis(states, before + size + column[..., None], 1, 2)
    return torch.from_numpy(space.rank(states))


class PhotonicCNN(ML.HybridModule):
    def __init__(self, size: int, added: int) -> None:
        super().__init__(output_dim=2, quantum_lr=0.1, schedule="cosine")
        filters = ML.Circuit(2 * size)
        for pair in range(0, 2 * size, 2):
            angle = "rows" if pair < size else "columns"
            filters.add(ML.BeamSplitter(angle, convention="ry"), pair)
        dense = ML.Circuit(size + added)
        for last in range(size + added - 1):
            for mode in range(last, -1, -1):
                dense.add(ML.BeamSplitter(ML.Trainable(), convention="ry"), mode)
        self.pool = ML.PartialMeasurement(layer(filters), range(1, 2 * size, 2))
        self.dense, self.added = layer(dense), added
        self.pixels = places(self.pool.layer.input_space, size)
        self.clicks = torch.from_numpy(self.dense.fock_space.states[:, :2] > 0)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.pool.layer.input_space.size)
        state[:, self.pixels] = normalize(x.flatten(1)).view_as(x)
        found = self.pool(state=state)
        branches = []
        for photons, left, space in zip(found.outcomes, found.states, found.spaces, strict=True):
            injected = np.pad(space.states + photons, [(0, 0), (self.added // 2, self.added // 2)])
            branches.append(left.new_zeros(len(x), self.dense.input_space.size))
            branches[-1][:, self.dense.input_space.rank(injected)] = left
        outcomes = self.dense.probabilities(state=torch.stack(branches, 1))
        mixed = torch.einsum("bk,bkd->bd", found.probabilities, outcomes)
        return 66 * mixed @ self.clicks.to(mixed)


def stripes(random: np.random.Generator, rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    lines = 2.0 * random.integers(0, 2, (rows, 4, 1)) - 1
    across = random.integers(0, 2, rows)
    images = np.where(across[:, None, None], lines, lines.transpose(0, 2, 1)) + np.zeros((1, 4, 4))
    return images + random.normal(scale=0.5, size=images.shape), across


def main(seed: int = 0, epochs: int = 20) -> dict[str, float]:
    digits, classes = load_digits(n_class=2, return_X_y=True)
    tasks = {
        "digits": (PhotonicCNN, 8, 0, digits.reshape(-1, 8, 8), classes),
        "bars and stripes": (PhotonicCNN, 4, 2, *stripes(np.random.default_rng(seed))),
    }
    scores = {}
    for name, (kind, size, added, images, targets) in tasks.items():
        seed_everything(seed)
        data = ML.ArrayDataModule(
            images,
            targets,
            scaling=None,
            val_fraction=0,
            test_fraction=200 / len(images),
            batch_size=6,
            seed=seed,
        )
        model = kind(size, added)
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False
        )
        trainer.fit(model, data)
        scores[f"accuracy, {name}"] = trainer.test(model, data)[0]["test/acc"]
    return scores


if __name__ == "__main__":
    print(main())
