"""What noise a device has, from what it counted: a fit of the noise of its layer.

Settings of a known circuit are tried, each is counted many times, and `layer.noise` is moved until
the counts are as likely as they can be. Here the device is another layer, whose noise is known and
forgotten; `counts` may as well be those of a chip, one row a setting, in the order of
`layer.outcomes`, those without any photon included. How well g2 can be known is a matter of how
often a photon too many is seen: rarely, where most are lost.

    python recipes/calibrate_noise.py --shots 1000000
    python recipes/calibrate_noise.py --transmittance 0.4 --g2 0.04    # of another device
"""

import argparse

import torch
from torch import Tensor
from torch.func import functional_call, jacfwd

import hybridlit as ML

DEVICE = {"transmittance": 0.8, "indistinguishability": 0.9, "g2": 0.1}
START = {"transmittance": 0.5, "indistinguishability": 0.5, "g2": 0.05}


def circuit(noise: dict[str, float], learned: tuple[str, ...] = ()) -> ML.QuantumLayer:
    """Return three photons in an interferometer of four modes, whose phases the settings turn."""
    torch.manual_seed(0)  # the same interferometers each time
    return ML.QuantumLayer(
        3,
        experiment=ML.Experiment(
            "series",
            n_modes=4,
            input_state=(1, 1, 1, 0),
            reservoir_mode=True,
            noise=ML.Noise(**noise, trainable=learned),
        ),
        dtype=torch.float64,
    )


def counted(device: ML.QuantumLayer, settings: Tensor, shots: int, seed: int) -> Tensor:
    """Return what a device shows, shape (settings, outcomes), `shots` counts in all."""
    torch.manual_seed(seed)
    each = shots // len(settings)
    drawn = torch.multinomial(device.probabilities(settings), each, replacement=True)
    return torch.nn.functional.one_hot(drawn, len(device.outcomes)).sum(1).double()


def fit(layer: ML.QuantumLayer, settings: Tensor, counts: Tensor) -> dict[str, tuple[float, float]]:
    """Learn the noise under which counts are most likely.

    Args:
        layer: Of the device's circuit; its noise says where to begin, and what is learned.
        settings: Features of each setting, shape (settings, features).
        counts: What was shown, shape (settings, outcomes).

    Returns:
        Value and standard error of each number, by name, errors from the Fisher information.
    """
    steps = torch.optim.LBFGS(layer.noise.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        steps.zero_grad()
        likely = layer.probabilities(settings).clamp_min(1e-300).log()
        loss = -(counts * likely).sum() / counts.sum()
        loss.backward()
        return loss

    steps.step(closure)
    learned = {name: value.detach() for name, value in layer.named_parameters()}
    chances = layer.probabilities(settings).detach().clamp_min(1e-300)
    by_parameter = jacfwd(lambda now: functional_call(layer, now, (settings,)))(learned)
    slopes, found = [], {}
    for name, parameter in layer.noise.learned.items():
        value = layer.noise.value(name)
        (scale,) = torch.autograd.grad(value, parameter)
        slopes.append(by_parameter[f"noise.learned.{name}"] / scale)
        found[name] = value.item()
    slope = torch.stack(slopes, -1)
    weight = counts.sum(1)[:, None] / chances
    information = torch.einsum("sk,ska,skb->ab", weight, slope, slope)
    errors = information.inverse().diagonal().sqrt().tolist()
    return {name: (found[name], error) for name, error in zip(found, errors, strict=True)}


def main(
    shots: int = 1_000_000, seed: int = 0, settings: int = 10, **other: float
) -> dict[str, tuple[float, float]]:
    """Calibrate a device of known noise, and print how far off the result is.

    Args:
        shots: Counts in all.
        seed: Of the settings and the counts.
        settings: How many settings are tried.
        other: Numbers of the device that are not those of `DEVICE`.

    Returns:
        Value and standard error of each, by name.
    """
    device = DEVICE | other
    torch.manual_seed(seed)
    tried = torch.rand(settings, 3, dtype=torch.float64) * 2
    counts = counted(circuit(device), tried, shots, seed)
    found = fit(circuit(START, tuple(START)), tried, counts)
    for name, (value, error) in found.items():
        share = f"{error / value:.2%}"
        print(f"{name:22} {value:.5f} +- {error:.5f} ({share})   (device: {device[name]})")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    for name, value in DEVICE.items():
        parser.add_argument(f"--{name}", type=float, default=value, help="of the device")
    main(**vars(parser.parse_args()))
