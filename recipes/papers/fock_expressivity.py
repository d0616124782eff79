"""More photons fit a Fourier series of a higher degree: three modes and one encoded phase.

B. Y. Gan, D. Leykam and D. G. Angelakis, "Fock state-enhanced expressivity of quantum machine
learning models", EPJ Quantum Technology 9, 16 (2022), figure 2: with n photons the outputs are
Fourier series of degree n in the encoded phase, so that a series of degree 3 takes three photons.
"""

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, pi

import hybridlit as ML


def series(x: Tensor, degree: int = 3) -> Tensor:
    terms = torch.arange(1, degree + 1)
    return 0.2 + (0.15 * ((terms * x).cos() - (terms * x).sin())).sum(1, keepdim=True)


class Fit(ML.HybridModule):
    def __init__(self, photons: int) -> None:
        super().__init__(
            output_dim=1, task="regression", classical_lr=0.02, quantum_lr=0.02, schedule="cosine"
        )
        circuit = ML.Circuit(3).add(ML.Interferometer())
        circuit.add(ML.PhaseShifter(ML.Data(0)), 0).add(ML.Interferometer())
        state = [1] * photons + [0] * (3 - photons)
        self.layer = ML.QuantumLayer(
            1, 1, experiment=ML.Experiment(circuit=circuit, input_state=state)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def main(
    seed: int = 0, photons: tuple[int, ...] = (1, 2, 3), epochs: int = 120
) -> dict[str, float]:
    x = torch.linspace(-3 * pi, 3 * pi, 600)[:, None]
    scores = {}
    for number in photons:
        seed_everything(seed)
        data = ML.ArrayDataModule(
            x,
            series(x),
            val_fraction=0,
            test_fraction=0.2,
            scaling=None,
            target_scaling=None,
            batch_size=32,
            seed=seed,
        )
        model = Fit(number)
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False
        )
        trainer.fit(model, data)
        scores[f"squared error, {number} photons"] = trainer.test(model, data)[0]["test/loss"]
    return scores


if __name__ == "__main__":
    print(main())
