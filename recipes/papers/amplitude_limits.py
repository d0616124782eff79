"""Amplitude encoding forgets the norm: classes that differ in it are not told apart, however deep.

X. Wang, Y. Wang, B. Qi and R. Wu, "Limitations of Amplitude Encoding on Quantum Classification",
arXiv:2503.01545 (2025), figure 4: three sets of two features whose classes have the same average
encoded state, so that the cross-entropy cannot fall below ln 2 = 0.693. One photon in two modes and
ten interferometers stand for the paper's qubit and its layers, and the difference of the modes'
probabilities for its observable; the same data as phases follow, as in the public reproduction with
MerLin.
"""

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

import hybridlit as ML


def classes(number: int, random: np.random.Generator, rows: int = 1000) -> np.ndarray:
    """Two features of rows of two classes, shape (2, rows, 2)."""
    if number == 1:
        return np.stack([random.uniform(a, a + 1, (rows, 2)) for a in (4, 5.5)])
    if number == 2:
        far = random.uniform(3, 5, (rows, 2)) * random.choice([-1, 1], (rows, 2))
        return np.stack([random.uniform(-1, 1, (rows, 2)), far])
    uniform, normal = random.uniform(-1, 1, (2, rows)), random.normal(size=(2, rows))
    return np.stack([uniform, normal], -1) + np.array([-2, 2])[:, None, None]


class Encoded(ML.HybridModule):
    def __init__(self, by: str, depth: int = 10) -> None:
        super().__init__(output_dim=2, quantum_lr=0.02)
        circuit = ML.Circuit(2).add(ML.Interferometer())
        if by == "phases":
            for feature in range(2):
                circuit.add(ML.PhaseShifter(ML.Data(feature, torch.pi)), feature)
        for _ in range(depth - 1):
            circuit.add(ML.Interferometer())
        chip = ML.Experiment(circuit=circuit, input_state=[1, 0])
        layer = ML.QuantumLayer(circuit.input_size, experiment=chip, output_mapping_strategy="none")
        self.network = ML.AmplitudeEncoding(2, layer) if by == "amplitudes" else layer

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.network(x) - 1


def main(seed: int = 0, sets: tuple[int, ...] = (1, 2, 3), epochs: int = 15) -> dict[str, float]:
    scores = {}
    for number in sets:
        rows = classes(number, np.random.default_rng(seed)).reshape(-1, 2)
        targets = np.repeat([0, 1], len(rows) // 2)
        for by, scaling in (("amplitudes", None), ("phases", "minmax")):
            seed_everything(seed)
            data = ML.ArrayDataModule(rows, targets, val_fraction=0, scaling=scaling, seed=seed)
            model = Encoded(by)
            trainer = Trainer(
                max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False
            )
            trainer.fit(model, data)
            found = trainer.test(model, data)[0]
            scores[f"loss, set {number} in {by}"] = found["test/loss"]
            scores[f"accuracy, set {number} in {by}"] = found["test/acc"]
    return scores


if __name__ == "__main__":
    print(main())
