"""Cases of the blocks that templates are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from fuzzing.judging import Case
from fuzzing.oracles import (
    check_close,
    check_features_count,
    check_finite,
    check_gradients,
    check_state_dict,
    in_float64,
    require,
)
from fuzzing.values import Values, drawn, one_of, or_none, real, several, whole
from hybridlit import (
    AttentionFusion,
    ConcatFusion,
    Experiment,
    GatedFusion,
    GradientScaledQuantumLayer,
    MatchedMLP,
    MultiScale,
    NormalizationLayer,
    QuantumLayer,
    RandomFeatures,
    RowSafeBatchNorm1d,
    SumFusion,
)
from hybridlit.blocks import CNNFront, Conv1dFront, GainGate, GRUFront, InputGate, ModuleStack
from hybridlit.blocks.dense import dense

__all__ = ["KINDS"]

WIDTH = whole(1, 6)


def shape_of(*axes: Values) -> Values:
    """A list with one size for each axis."""

    def fitting(rng: Random) -> list[int]:
        return [axis.fitting(rng) for axis in axes]

    wrong = ([], [0] * len(axes), [3] * (len(axes) + 1), 3, "ab", [1.5] * len(axes), None)
    return Values(fitting, wrong)


def run_and_check(
    kind: str,
    given: dict[str, Any],
    parameters: Collection[str],
    make: Callable[[], nn.Module],
    x: Any,
    wrong: str | None,
    points: Any = None,
) -> Case:
    """A block of one input: outputs finite, the same again, in float64, row by row, restored."""

    def call() -> tuple[nn.Module, Tensor]:
        block = make()
        outputs = block(*x)
        if outputs.requires_grad:
            outputs.square().sum().backward()
        return block, outputs

    def check(result: tuple[nn.Module, Tensor]) -> None:
        block, outputs = result
        require(len(outputs) == len(x[0]), "number of rows")
        check_finite(outputs, "outputs")
        check_gradients(block)
        block.eval()
        exact = in_float64(block)
        with torch.no_grad():
            again = block(*x)
            check_close(again, exact(*(t.double() for t in x)), 1e-4, "outputs in float64")
            each = [block(*(t[row : row + 1] for t in x)) for row in range(len(x[0]))]
            if each:
                check_close(torch.cat(each), again, 1e-4, "outputs of a batch and of its rows")
        check_state_dict(block, make, lambda module: module.eval()(*x))
        if points is not None and exact(points).std(0).max() > 0:
            check_features_count(exact, points)

    return Case(kind, {**given, "x": x}, parameters, call, check, wrong)


def front(rng: Random) -> Case:
    """A classical front of images or sequences."""
    side = whole(1, 9)
    cls, axes = rng.choice([(CNNFront, 3), (Conv1dFront, 2), (GRUFront, 2)])
    values = {"shape": shape_of(*[side] * axes), "output_size": WIDTH}
    given, wrong = drawn(rng, values, ("shape", "output_size"))
    sizes = given["shape"] if wrong != "shape" else [2] * axes
    x = (torch.randn(rng.choice([1, 2, 4]), *sizes),)
    points = torch.randn(8, *sizes, dtype=torch.float64)
    return run_and_check(cls.__name__, given, values, lambda: cls(**given), x, wrong, points)


def fusion(rng: Random) -> Case:
    """A fusion of one to three components, some of them of a wrong width."""
    cls = rng.choice([ConcatFusion, SumFusion, GatedFusion, AttentionFusion])
    values = {"widths": several(WIDTH), "output_dim": WIDTH, "hidden_dim": or_none(WIDTH)}
    given, wrong = drawn(rng, values, ("widths", "output_dim"))
    widths = list(given["widths"]) if wrong != "widths" else [1]
    if wrong is None and rng.random() < 0.15:
        widths[rng.randrange(len(widths))] += 1
        wrong = "components of other widths"
    rows = rng.choice([0, 1, 3])
    x = [torch.randn(rows, width) for width in widths]

    def call() -> tuple[Any, Tensor]:
        block = cls(**given)
        outputs = block(x)
        outputs.square().sum().backward()
        return block, outputs

    def check(result: tuple[Any, Tensor]) -> None:
        block, outputs = result
        require(outputs.shape == (rows, given["output_dim"]), "shape of the outputs")
        check_finite(outputs, "outputs")
        if block.weights is not None and rows:
            check_close(block.weights.sum(1), torch.ones(rows), 1e-5, "sums of the weights")
        exact = in_float64(block)
        check_close(outputs, exact([t.double() for t in x]), 1e-4, "outputs in float64")
        check_state_dict(block, lambda: cls(**given), lambda module: module(x))

    return Case(cls.__name__, {**given, "components": x}, values, call, check, wrong)


def normalization(rng: Random) -> Case:
    """A normalization of any method and of features of any size."""
    values = {"method": one_of("sigmoid", "tanh", "minmax", "standard"), "num_features": WIDTH}
    given, wrong = drawn(rng, values, ("method", "num_features"))
    size = int(given["num_features"]) if wrong != "num_features" else 2
    rows = rng.choice([0, 1, 2, 5])
    scale = rng.choice([1e-6, 1.0, 1.0, 1e3, 1e30])
    x: Any = torch.randn(rows, size) * scale + rng.choice([0.0, 0.0, 5.0 * scale])
    fault = None
    if rng.random() < 0.15:
        fault = rng.choice(["width", "numpy", "training data that are not finite"])
        if fault == "width":
            x = torch.randn(3, size + 1)
        elif fault == "numpy":
            x = torch.randn(3, size).numpy()
        elif given["method"] == "standard":
            x = torch.full((3, size), math.nan)
        else:
            fault = None
    if given["method"] == "standard" and not len(x):
        fault = fault or "no training data"

    def make() -> NormalizationLayer:
        return NormalizationLayer(**given)

    def call() -> tuple[NormalizationLayer, Tensor]:
        block = make()
        if block.method == "standard":
            block.fit(x)
        return block, block(x)

    def check(result: tuple[NormalizationLayer, Tensor]) -> None:
        block, outputs = result
        require(outputs.shape == x.shape and outputs.dtype == x.dtype, "shape or dtype")
        check_finite(outputs, "outputs")
        if block.method != "standard":
            require(bool(((outputs >= 0) & (outputs <= 1)).all()), "outputs outside of [0, 1]")
        elif len(x) > 1:
            check_close(outputs.mean(0), torch.full((size,), 0.5), 1e-3, "means and 0.5")
        exact = in_float64(block)
        check_close(outputs, exact(x.double()), 1e-3, "outputs in float64")
        check_state_dict(block, make, lambda module: module(x))
        if block.method != "minmax" or size > 2:
            # a sigmoid of large features is flat; statistics of large ones are felt by such only
            near = max(1.0, scale) if block.method == "standard" else 1.0
            check_features_count(exact, near * torch.randn(4, size, dtype=torch.float64))

    return Case("NormalizationLayer", {**given, "x": x}, values, call, check, wrong or fault)


def multi_scale(rng: Random) -> Case:
    """An input at several resolutions."""
    axes = rng.choice([1, 2, 3])
    values = {
        "shape": shape_of(*[whole(2, 7)] * axes),
        "scales": several(whole(1, 4)),
        "width": or_none(WIDTH),
    }
    given, wrong = drawn(rng, values, ("shape", "scales"))
    sizes = given["shape"] if wrong != "shape" else [3] * axes
    x = (torch.randn(rng.choice([1, 3]), *sizes),)
    points = torch.randn(2, *sizes, dtype=torch.float64)
    return run_and_check("MultiScale", given, values, lambda: MultiScale(**given), x, wrong, points)


def of_sizes(rng: Random) -> Case:
    """Blocks from vectors to vectors."""
    kind = rng.choice(["MatchedMLP", "RandomFeatures", "dense", "ModuleStack", "BatchNorm"])
    values: dict[str, Values]
    if kind == "MatchedMLP":
        values = {"input_size": WIDTH, "output_size": WIDTH, "parameters": whole(0, 200)}
        needed, make = tuple(values), MatchedMLP
    elif kind == "RandomFeatures":
        values = {
            "input_size": WIDTH,
            "output_size": WIDTH,
            "features": or_none(WIDTH),
            "scale": real(0.1, 3.0, (0.0, -1.0)),
        }
        needed, make = ("input_size", "output_size"), RandomFeatures
    elif kind == "dense":
        values = {"widths": several(WIDTH, 4, 2), "dropout": real(0.0, 0.9, (1.0, -0.1))}
        needed, make = ("widths",), dense
    elif kind == "ModuleStack":
        values = {"layers": Values(lambda rng: rng.randint(1, 3), (0,))}
        needed = ("layers",)

        def make(layers: int) -> ModuleStack:
            return ModuleStack(nn.Linear(2, 3) for _ in range(layers))
    else:
        values = {"num_features": Values(lambda rng: rng.randint(1, 5))}
        needed, make = ("num_features",), RowSafeBatchNorm1d
    given, wrong = drawn(rng, values, needed)
    size = {"dense": lambda: given["widths"][0], "ModuleStack": lambda: 2}.get(
        kind, lambda: given[needed[0]]
    )
    wide = 1 if wrong else int(size())
    x = (torch.randn(rng.choice([1, 2, 5]), wide),)
    points = torch.randn(50, wide, dtype=torch.float64)  # all units of a ReLU may rest at a few
    return run_and_check(kind, given, values, lambda: make(**given), x, wrong, points)


def gate(rng: Random) -> Case:
    """A gate, opened, and one that is given another width."""
    cls = rng.choice([GainGate, InputGate])
    given, wrong = drawn(rng, {"width": WIDTH}, ("width",))
    size = 2 if wrong else int(given["width"])

    def make() -> nn.Module:
        block = cls(**given)
        for parameter in block.parameters():
            nn.init.uniform_(parameter, 0.5, 1.0)
        return block

    x = (torch.randn(3, size), torch.randn(3, size))
    return run_and_check(cls.__name__, given, ("width",), make, x, wrong)


def gradient_scaling(rng: Random) -> Case:
    """A layer whose gradient is scaled."""
    inner = QuantumLayer(2, 3, experiment=Experiment("series", 3, 1))
    layers = Values(lambda rng: inner, (None, "layer", QuantumLayer))
    values = {"quantum_layer": layers, "scale_factor": real(0.0, 10.0, (-1.0,))}
    given, wrong = drawn(rng, values, ("quantum_layer",))
    x = torch.rand(4, 2, requires_grad=True)

    def call() -> tuple[Any, Tensor]:
        block = GradientScaledQuantumLayer(**given)
        return block, block(x)

    def check(result: tuple[Any, Tensor]) -> None:
        block, outputs = result
        plain = inner(x)
        require(torch.equal(outputs, plain), "outputs are not those of the layer")
        found, own = (torch.autograd.grad(y.square().sum(), x)[0] for y in (outputs, plain))
        check_close(found, block.scale_factor * own, 1e-4, "the gradient and its share")

    return Case("GradientScaledQuantumLayer", given, values, call, check, wrong)


KINDS = {
    front: 2,
    fusion: 3,
    normalization: 3,
    multi_scale: 2,
    of_sizes: 3,
    gate: 1,
    gradient_scaling: 1,
}
