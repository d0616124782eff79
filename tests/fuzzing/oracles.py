"""What must hold of any module, whatever it computes."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fuzzing.judging import DroppedFeature, SilentlyWrong
from hybridlit import PhotonicCircuit, use_kernel
from hybridlit.photonics.amplitudes import occupied_modes
from hybridlit.photonics.circuit.lowered import Lowered
from hybridlit.photonics.propagation import probabilities_in_torch

__all__ = [
    "check_close",
    "check_distribution",
    "check_features_count",
    "check_finite",
    "check_gradients",
    "check_state_dict",
    "exact_probabilities",
    "in_float64",
    "require",
]


def require(condition: bool, message: str) -> None:
    """Raise `SilentlyWrong` unless something holds."""
    if not condition:
        raise SilentlyWrong(message)


def check_finite(tensor: Tensor, what: str) -> None:
    """Check that there is no NaN and no infinity."""
    require(bool(torch.isfinite(tensor).all()), f"{what} are not finite")


def check_close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Compare relative to the largest expected value, or to 1 if that is larger."""
    require(found.shape == expected.shape, f"{what}: {found.shape} is not {expected.shape}")
    if found.numel():
        difference = float((found.double() - expected.double()).abs().max())
        scale = max(1.0, float(expected.double().abs().max()))
        message = f"{what} differ by {difference / scale:.2g}, more than {tolerance:g}"
        require(difference <= tolerance * scale, message)


def check_distribution(probabilities: Tensor, tolerance: float) -> None:
    """Check that rows are distributions."""
    check_finite(probabilities, "probabilities")
    require(bool((probabilities >= 0).all()), "a probability is negative")
    sums = probabilities.double().sum(-1)
    if sums.numel():
        off = float((sums - 1).abs().max())
        require(off <= tolerance, f"probabilities miss a sum of 1 by {off:.2g}")


def check_gradients(module: nn.Module) -> None:
    """Check the gradients that a backward pass has left."""
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            check_finite(parameter.grad, f"gradients of {name}")


def check_state_dict(
    module: nn.Module, fresh: Callable[[], nn.Module], run: Callable[[nn.Module], Tensor]
) -> None:
    """Check that a new module with the saved state computes the very same."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = fresh()
    other.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        same = torch.equal(run(module), run(other))
    require(same, "a module with the saved state dict computes something else")


def in_float64(module: nn.Module) -> Any:
    """Copy a module, and compute in float64."""
    return copy.deepcopy(module).double()


def check_features_count(run: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
    """Check that the outputs depend on each feature.

    Args:
        run: From inputs of shape (rows, ...) to outputs, row by row, in float64.
        inputs: Inputs at generic points, of shape (points, ...): one is enough, except where a
            feature may be without effect here and there, behind a ReLU say.
    """
    x = inputs.detach().double().requires_grad_()
    outputs = run(x).reshape(len(x), -1)
    felt = torch.zeros(x[0].numel(), dtype=torch.float64)
    for _ in range(3):  # random directions among the outputs: what is 0 in all of them is 0
        direction = torch.randn(outputs.shape[1], dtype=torch.float64)
        (slope,) = torch.autograd.grad((outputs @ direction).sum(), x, retain_graph=True)
        check_finite(slope, "gradients of the inputs")
        felt = torch.maximum(felt, slope.abs().amax(0).flatten())
    felt *= max(1.0, float(inputs.abs().max()))
    lost = (felt <= 1e-9 * max(1e-3, float(felt.max()))).nonzero().flatten().tolist()
    if lost:
        raise DroppedFeature(f"outputs do not depend on features {lost} of {len(felt)}")


def exact_probabilities(circuit: PhotonicCircuit, x: Tensor) -> Tensor:
    """Simulate in float64, in torch operations, with data phases from exact arithmetic.

    Args:
        circuit: A layer or a stack.
        x: Features of shape (rows, input_size).

    Returns:
        Shape (rows, D), or (rows, count, D) of a stack.
    """
    layer = in_float64(circuit)
    factors = circuit.experiment.encoding_for(circuit.input_size)
    columns, modes, _ = factors.shape
    encoded = np.argwhere(factors.any(axis=2)).tolist()
    places = circuit.lowering.tuned_by.reshape(columns, modes)
    tuned = circuit.bandwidth
    widths = [None] if tuned is None else tuned.detach().reshape(-1, tuned.shape[-1]).tolist()
    rows = [[Fraction(value) for value in row] for row in x.detach().double().tolist()]
    phases = torch.zeros(len(widths), columns, modes, len(rows), dtype=torch.float64)
    for number, width in enumerate(widths):
        for column, mode in encoded:
            factor = Fraction(1) if width is None else Fraction(width[places[column, mode]])
            each = [(f, Fraction(e)) for f, e in enumerate(factors[column, mode].tolist()) if e]
            for sample, row in enumerate(rows):
                turns = factor * sum(e * row[f] for f, e in each)
                phases[number, column, mode, sample] = float(turns % 2) * torch.pi
    if circuit.count is None:
        phases = phases[0]
    else:
        phases = phases.expand(circuit.count, -1, -1, -1)
    occupied = tuple(occupied_modes(circuit.input_state))  # any other order loses digits
    with use_kernel("torch"), torch.no_grad():
        meshes = layer.phases if layer.lowering.slots is None else layer.interferometers()
        lowered = Lowered(meshes, phases, occupied)
        found = probabilities_in_torch(lowered, circuit.outcomes)[0]
    return found if circuit.count is None else found.transpose(0, 1)
