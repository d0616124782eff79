"""How many parameters three spiral arms need as features are added, with photons and without.

M. Kashif, A. Marchisio and M. Shafique, "Computational Advantage in Hybrid Quantum Neural Networks:
Myth or Reality?", arXiv:2412.04991 (2024): 1,500 rows of 10 to 110 features, of which two are the
spiral and the others are made of these; the smallest model of each kind with an accuracy of 90 %
counts. The hybrid here is a factor for each feature, two trained interferometers around the encoded
phases, and a linear readout of all outcomes. The paper leaves open how the further features are
made: here they are three functions of the two, again and again, with noise of their own.
"""

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

import hybridlit as ML

PHOTONIC = ((3, 1), (4, 1), (4, 2), (5, 2), (6, 2), (8, 2), (6, 3), (8, 3))  # modes and photons
CLASSICAL = ((2,), (4,), (4, 4), (6, 6), (8, 8), (10, 10), (16, 16), (32, 32))  # hidden widths


def spirals(features: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    turn, arm = np.tile(np.linspace(0, 1.5 * np.pi, 500), 3), np.repeat(np.arange(3), 500)
    radius = turn * 2 / turn.max()
    x, y = (radius * wave(turn + arm * 2 * np.pi / 3) for wave in (np.cos, np.sin))
    made = [np.sin((k % 3 + 1) * x) * np.cos(((k + 1) % 3 + 1) * y) for k in range(2, features)]
    noise = (0.1 + 0.003 * features) * radius[:, None]
    return np.stack([x, y, *made], 1) + noise * random.normal(size=(1500, features)), arm


class Photonic(nn.Module):
    def __init__(self, features: int, modes: int, photons: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.rand(features))
        circuit = ML.Circuit(modes).add(ML.Interferometer())
        for feature in range(features):
            circuit.add(ML.PhaseShifter(ML.Data(feature)), feature % modes)
        experiment = ML.Experiment(circuit=circuit.add(ML.Interferometer()), n_photons=photons)
        self.layer = ML.QuantumLayer(features, 3, experiment=experiment)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x * self.factors)


def classical(features: int, *widths: int) -> nn.Module:
    parts: list[nn.Module] = []
    for wide, narrow in zip((features, *widths), widths, strict=False):
        parts += [nn.Linear(wide, narrow), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(widths[-1], 3))


class Classifier(ML.HybridModule):
    def __init__(self, features: int, kind: str, sizes: list[int]) -> None:
        super().__init__(output_dim=3, classical_lr=0.03, quantum_lr=0.03, schedule="cosine")
        self.network = {"photonic": Photonic, "classical": classical}[kind](features, *sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def main(
    seed: int = 0,
    features: tuple[int, ...] = (10, 20, 40, 60),
    epochs: int = 25,
    wanted: float = 0.9,
) -> dict[str, float]:
    scores = {}
    for number in features:
        rows, arms = spirals(number, seed)
        data = ML.ArrayDataModule(rows, arms, val_fraction=0, batch_size=64, seed=seed)
        for kind, sizes in (("photonic", PHOTONIC), ("classical", CLASSICAL)):
            for size in sizes:  # ever larger ones, until one is good enough
                seed_everything(seed)
                model = Classifier(number, kind, list(size))
                trainer = Trainer(
                    max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False
                )
                trainer.fit(model, data)
                if trainer.test(model, data)[0]["test/acc"] >= wanted:
                    parameters = sum(p.numel() for p in model.parameters())
                    scores[f"{kind} parameters for {number} features"] = parameters
                    break
    return scores


if __name__ == "__main__":
    print(main())
