"""A damped oscillator that is told its equation of motion, not its positions."""

import math

import torch
from torch import Tensor

import hybridlit as ML


def position(times: Tensor, damping: float, frequency: float) -> Tensor:
    """Solve u'' + 2 damping u' + frequency^2 u = 0 with u(0) = 1 and u'(0) = 0."""
    turning = math.sqrt(frequency**2 - damping**2)
    swing = torch.cos(turning * times) + damping / turning * torch.sin(turning * times)
    return torch.exp(-damping * times) * swing


class Oscillation(ML.ArrayDataModule):
    """Times from 0 to 1; the positions beside them are what a model is judged by."""

    def __init__(
        self,
        damping: float = 1.0,
        frequency: float = 8.0,
        points: int = 1000,
        batch_size: int = 40,
        seed: int = 0,
    ) -> None:
        times = torch.linspace(0, 1, points, dtype=torch.float64)[:, None]
        positions = position(times, damping, frequency)
        plain = {"scaling": None, "target_scaling": None}
        super().__init__(times, positions, batch_size=batch_size, seed=seed, **plain)


class Oscillator(ML.HybridModule):
    """A photonic layer whose training loss is how far it is off the equation of motion."""

    def __init__(
        self,
        damping: float = 1.0,
        frequency: float = 8.0,
        n_modes: int = 5,
        n_photons: int = 3,
        classical_lr: float = 0.05,
        quantum_lr: float = 0.05,
        metrics: list[str] | None = None,
        schedule: str = "cosine",
    ) -> None:
        super().__init__(
            output_dim=1, task="regression", classical_lr=classical_lr, quantum_lr=quantum_lr,
            metrics=metrics, schedule=schedule,
        )  # fmt: skip
        self.quantum_layer = ML.QuantumLayer(1, 1, n_modes=n_modes, n_photons=n_photons)

    def forward(self, times: Tensor) -> Tensor:
        """Positions, which begin at 1, at rest."""
        return 1 + times**2 * self.quantum_layer(times)

    def unpack(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Let outputs be differentiated by the times while the model trains."""
        times, positions = batch
        return times.requires_grad_(self.training), positions

    def loss_of(self, batch: list[Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
        """How far outputs are off the equation; off the solution where nothing is trained."""
        if not self.training:
            return super().loss_of(batch, outputs, targets)
        (speed,) = torch.autograd.grad(outputs.sum(), batch[0], create_graph=True)
        (acceleration,) = torch.autograd.grad(speed.sum(), batch[0], create_graph=True)
        damping, frequency = self.hparams["damping"], self.hparams["frequency"]
        residual = acceleration + 2 * damping * speed + frequency**2 * outputs
        return (residual / frequency**2).square().mean()
