"""Digits changed by a tenth of their range, hardly visibly, fool a photonic classifier.

S. Lu, L.-M. Duan and D.-L. Deng, "Quantum adversarial machine learning", arXiv:2001.00030 (2020):
digits 1 and 9 of 16 x 16 pixels are the amplitudes of a state; the basic iterative method follows
the sign of the loss's gradient in the pixels, ten steps of 0.01. As in the public reproduction with
MerLin, the state is one of 3 photons in 13 modes without two in one, and trained interferometers
stand for the paper's circuit.
"""

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

import hybridlit as ML


class Classifier(ML.HybridModule):
    def __init__(self, modes: int = 13, photons: int = 3, pixels: int = 256) -> None:
        super().__init__(output_dim=2, classical_lr=0.02, quantum_lr=0.02, schedule="cosine")
        circuit = ML.Circuit(modes).add(ML.Interferometer())
        chip = ML.Experiment(circuit=circuit, n_photons=photons, computation_space="unbunched")
        layer = ML.QuantumLayer(0, 2, experiment=chip)
        self.network = ML.AmplitudeEncoding(pixels, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.flatten(1))


def attacked(model: Classifier, x: Tensor, y: Tensor, reach: float, steps: int = 10) -> Tensor:
    found = x.clone()
    for _ in range(steps):
        found.requires_grad_()
        [gradient] = torch.autograd.grad(cross_entropy(model(found), y), found)
        found = (found + reach / steps * gradient.sign()).detach()
        found = found.clamp(x - reach, x + reach).clamp(0, 1)
    return found


def main(seed: int = 0, epochs: int = 30, reach: float = 0.1) -> dict[str, float]:
    seed_everything(seed)
    digits = ML.MnistDataModule(val_fraction=0, test_fraction=0)
    kept = (digits.train[1] == 1) | (digits.train[1] == 9)
    images = interpolate(digits.train[0][kept], (16, 16), mode="area")
    targets = (digits.train[1][kept] == 9).long()
    data = ML.ArrayDataModule(images, targets, val_fraction=0, scaling=None, seed=seed)
    model = Classifier()
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, data)
    x, y = data.test
    noise = reach * (2 * torch.rand_like(x) - 1)
    scores = {}
    for name, seen in (
        ("clean", x),
        ("with noise of that size", (x + noise).clamp(0, 1)),
        ("attacked", attacked(model, x, y, reach)),
    ):
        scores[f"accuracy, {name}"] = float((model(seen).argmax(1) == y).float().mean())
    return scores


if __name__ == "__main__":
    print(main())
