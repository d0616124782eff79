"""Data re-uploading on two modes: one photon, fixed splitters, phases that are data or trained.

M. F. X. Mauser et al., "Experimental data re-uploading with provable enhanced learning
capabilities", arXiv:2507.05120 (2025), figures 2 and 5: circles of factor 0.6 with noise of 0.05,
400 rows to train on and 100 to test. In each layer both features turn an interferometer, and two
parameters another one; Fisher's criterion of the photon's mode is the loss, and the nearer mean the
class. One unit of a feature is a tenth of pi here, as in the public reproduction with MerLin.
"""

import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.datasets import make_circles
from torch import Tensor, pi

import hybridlit as ML


def reuploading(layers: int) -> ML.Circuit:
    circuit = ML.Circuit(2)
    for layer in range(layers):
        for angle in (ML.Data(0, pi / 10), ML.Data(1, pi / 10), f"a{layer}", f"b{layer}"):
            circuit.add(ML.BeamSplitter(), 0).add(ML.PhaseShifter(angle), 0)
    return circuit.add(ML.BeamSplitter(), 0)


class Reuploading(ML.HybridModule):
    def __init__(self, layers: int) -> None:
        super().__init__(output_dim=1, task="binary", quantum_lr=0.05)
        chip = ML.Experiment(circuit=reuploading(layers), input_state=[0, 1])
        self.layer = ML.QuantumLayer(2, experiment=chip, output_mapping_strategy="none")

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, :1]

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        zeros, ones = outputs[targets == 0], outputs[targets == 1]
        return ((zeros.var() + ones.var()) / (zeros.mean() - ones.mean()).square()).log()


def main(
    seed: int = 0, layers: tuple[int, ...] = (1, 2, 3, 4), epochs: int = 600
) -> dict[str, float]:
    rows, classes = make_circles(500, factor=0.6, noise=0.05, random_state=seed)
    scores = {}
    for number in layers:
        seed_everything(seed)
        data = ML.ArrayDataModule(
            rows, classes, scaling=None, val_fraction=0, batch_size=400, seed=seed
        )
        model = Reuploading(number)
        trainer = Trainer(
            accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False
        )
        trainer.fit(model, data)
        with torch.no_grad():
            (outputs, targets), tested = ((model(x)[:, 0], y) for x, y in (data.train, data.test))
        means = torch.stack([outputs[targets == k].mean() for k in (0, 1)])
        nearer = (tested[0][:, None] - means).abs().argmin(1)
        scores[f"accuracy, {number} layers"] = float((nearer == tested[1]).float().mean())
    return scores


if __name__ == "__main__":
    print(main())
