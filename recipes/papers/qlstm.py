"""A long short-term memory whose four gates are interferometers, on a damped pendulum.

S. Y.-C. Chen, S. Yoo and Y.-L. L. Fang, "Quantum Long Short-Term Memory", arXiv:2009.01783 (2020):
four steps of the angular velocity predict the next one, and the first two thirds of the series
train. The gates are photonic here, as in the public reproduction with MerLin: input and state turn
a phase each behind 50:50 splitters, a trained interferometer follows, and a linear map reads mean
photon numbers.
"""

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from scipy.integrate import odeint
from torch import Tensor, nn

import hybridlit as ML


def pendulum(steps: int = 4) -> tuple[np.ndarray, np.ndarray]:
    def motion(state: np.ndarray, time: float) -> list[float]:
        return [state[1], -0.15 * state[1] - 9.81 * np.sin(state[0])]

    speed = odeint(motion, [0, 3], np.linspace(0, 20, 240))[:, 1]
    speed = 2 * (speed - speed.min()) / np.ptp(speed) - 1
    windows = np.lib.stride_tricks.sliding_window_view(speed, steps + 1)
    return windows[:, :-1, None], windows[:, -1:]


class PhotonicGates(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        circuit = ML.Circuit(2 * inputs)
        for pair in range(inputs):
            circuit.add(ML.BeamSplitter(), 2 * pair)
        for feature in range(inputs):
            circuit.add(ML.PhaseShifter(ML.Data(feature)), feature)
        circuit.add(ML.Interferometer())
        chip = ML.Experiment(circuit=circuit, input_state=[1, 0] * inputs)
        readout = "mode_expectations"
        self.chips = ML.QuantumLayerStack(
            4, inputs, experiment=chip, output_mapping_strategy=readout
        )
        self.linear = nn.Conv1d(8 * inputs, 4 * hidden, 1, groups=4)  # one linear map a gate

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.chips(x).flatten(1)[..., None])[..., 0]


class LSTM(ML.HybridModule):
    def __init__(self, hidden: int, photonic: bool) -> None:
        super().__init__(output_dim=1, task="regression", classical_lr=0.01, quantum_lr=0.01)
        inputs = 1 + hidden
        self.gates = PhotonicGates(inputs, hidden) if photonic else nn.Linear(inputs, 4 * hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), self.head.in_features)
        for step in x.unbind(1):
            i, f, g, o = self.gates(torch.cat([step, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)


def main(seed: int = 0, hidden: int = 5, epochs: int = 100) -> dict[str, float]:
    windows, following = pendulum()
    split = int(0.67 * len(windows))
    scores = {}
    for kind in ("photonic", "classical"):
        seed_everything(seed)
        data = ML.ArrayDataModule(
            windows[:split],
            following[:split],
            test=(windows[split:], following[split:]),
            val_fraction=0,
            scaling=None,
            target_scaling=None,
            batch_size=10,
            seed=seed,
        )
        model = LSTM(hidden, kind == "photonic")
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False
        )
        trainer.fit(model, data)
        scores[f"test loss, {kind}"] = trainer.test(model, data)[0]["test/loss"]
    return scores


if __name__ == "__main__":
    print(main())
