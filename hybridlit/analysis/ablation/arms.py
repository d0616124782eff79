"""What stands in for the photonic part of a network when it is trained without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hybridlit.blocks.stand_ins import MatchedMLP, RandomFeatures
from hybridlit.blocks.wrappers import ModuleStack
from hybridlit.components import mark_photonic, photonic_modules, split_parameters
from hybridlit.photonics import (
    PhotonicCircuit,
    QuantumLayer,
    QuantumLayerStack,
)
from hybridlit.photonics.distinguishable import DistinguishableLayer, DistinguishableLayerStack

__all__ = ["ARMS", "STAND_INS", "DoesNotApply", "Widths", "apply_arm", "observed_widths"]

ARMS = {
    "hybrid": "the model as it is",
    "classical_only": "photonic outputs replaced by zero",
    "linear": "photonic layers replaced by linear ones",
    "mlp": "photonic layers replaced by classical ones with as many parameters",
    "random_features": "photonic layers replaced by as many random Fourier features, never trained",
    "untrained": "photonic parameters kept as they were drawn",
    "distinguishable": "photons that do not interfere with one another",
    "single_photon": "one photon in the same circuits",
}
"""What the retrained arms are, by name."""

STAND_INS = ("linear", "mlp", "random_features")
"""Arms whose photonic layers give way to classical ones that learn."""


class DoesNotApply(Exception):
    """Says why an arm makes no sense for a model."""


@dataclass(frozen=True)
class Widths:
    """Numbers of features that go into a photonic layer and come out of it.

    Attributes:
        inputs: Width of the input.
        outputs: Width of the output.
    """

    inputs: int
    outputs: int


def observed_widths(model: nn.Module, run: Callable[[], object]) -> dict[str, Widths]:
    """Find the widths of the photonic modules of a model: by watching, where they do not say.

    Args:
        model: The model.
        run: Runs it on some batch.

    Returns:
        Widths by qualified name, of all modules that map one tensor (..., inputs) to one
        (..., outputs).
    """
    found: dict[str, Widths] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            tensors = [*inputs[:1], output]
            if all(isinstance(t, Tensor) and t.dim() > 1 for t in tensors) and len(tensors) == 2:
                if tensors[0].shape[:-1] == tensors[1].shape[:-1]:
                    found[name] = Widths(tensors[0].shape[-1], tensors[1].shape[-1])

        return hook

    handles = []
    for name, module in photonic_modules(model).items():
        if isinstance(module, PhotonicCircuit):
            found[name] = Widths(module.input_size, module.output_size)
        else:
            handles.append(module.register_forward_hook(watch(name)))
    try:
        if handles:
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def apply_arm(
    model: nn.Module,
    arm: str,
    widths: Mapping[str, Widths],
    photonic_stage: bool = False,
    marked: bool = False,
) -> None:
    """Put what stands in for them in the place of all photonic modules of a fresh model.

    Args:
        model: The model, not trained yet; it is changed.
        arm: A key of `ARMS`.
        widths: Widths of its photonic modules by name.
        photonic_stage: Whether the training has a stage for photonic parameters: what stands in for
            them is then trained in it, and must have some.
        marked: Whether to train classical layers that stand in for photonic ones with the settings
            of photonic parameters in any case.

    Raises:
        DoesNotApply: With the reason why the arm makes no sense for this model.
    """
    if arm != "hybrid":
        changed = False
        for name, module in photonic_modules(model).items():
            if not name:
                raise DoesNotApply("the model itself is marked as photonic")
            other = _MAKERS[arm](name, module, widths)
            changed |= other is not module or arm == "untrained"
            if arm in STAND_INS and (photonic_stage or marked):
                mark_photonic(other)  # not of circuits, whose readout is classical in the model
            if other is not module:
                _exchange(model, module, other)
    trainable = [p for p in split_parameters(model)["photonic"].values() if p.requires_grad]
    if photonic_stage and not trainable:
        raise DoesNotApply(
            "the training has a photonic stage, in which this arm has nothing to train"
        )


def _exchange(model: nn.Module, module: nn.Module, other: nn.Module) -> None:
    """Put a module in the place of another one, under all its names."""
    other.train(module.training)
    for name, child in list(model.named_modules(remove_duplicate=False)):
        if child is module:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, other)


# --- one function an arm: (name, module, widths) -> what stands in for the module -----------------


def _untrained(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    own = list(module.parameters(recurse=not isinstance(module, PhotonicCircuit)))
    if not any(parameter.requires_grad for parameter in own):
        raise DoesNotApply(f"no photonic parameter of {name} is trained in the model either")
    for parameter in own:
        parameter.requires_grad_(False)
    return module


def _classical_only(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    return _stand_in(name, module, widths, lambda _, outputs: _Zeros(outputs))


def _linear(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    return _stand_in(name, module, widths, _Linear)


def _mlp(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad) // _count(module)
    return _stand_in(name, module, widths, lambda i, o: MatchedMLP(i, o, trained))


def _random_features(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    features = None
    if isinstance(module, PhotonicCircuit):
        if any(True for _ in module.readout.parameters()):  # weights of each outcome
            features = module.fock_space.size
    return _stand_in(name, module, widths, lambda i, o: RandomFeatures(i, o, features))


def _distinguishable(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    circuit = _known_circuit(name, module)
    if isinstance(circuit, QuantumLayerStack):
        return DistinguishableLayerStack.from_stack(circuit)
    return DistinguishableLayer.from_layer(circuit)


def _single_photon(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    circuit = _known_circuit(name, module)
    experiment, first = circuit.experiment, circuit.input_state
    one = next(mode for mode, photons in enumerate(first) if photons)
    state = tuple(int(mode == one) for mode in range(len(first)))
    experiment = replace(experiment, n_photons=1, input_state=state)
    sizes = circuit.input_size, circuit.output_size
    given: dict[str, Any] = dict(
        experiment=experiment, output_mapping_strategy=circuit.ansatz.strategy
    )
    try:
        other: QuantumLayer | QuantumLayerStack
        if isinstance(circuit, QuantumLayerStack):
            other = QuantumLayerStack(_count(circuit), *sizes, **given)
        else:
            other = QuantumLayer(*sizes, **given)
    except ValueError as error:
        raise DoesNotApply(
            f"one photon with {len(first)} outcomes cannot give the {sizes[1]} outputs of {name}: "
            f"{error}"
        ) from error
    other.to(circuit.phases)
    with torch.no_grad():
        other.phases.copy_(circuit.phases)
        other.phases.requires_grad_(circuit.phases.requires_grad)
        if other.bandwidth is not None and circuit.bandwidth is not None:
            other.bandwidth.copy_(circuit.bandwidth)
            other.bandwidth.requires_grad_(circuit.bandwidth.requires_grad)
    return other


_MAKERS: dict[str, Callable[[str, nn.Module, Mapping[str, Widths]], nn.Module]] = {
    "classical_only": _classical_only,
    "linear": _linear,
    "mlp": _mlp,
    "random_features": _random_features,
    "untrained": _untrained,
    "distinguishable": _distinguishable,
    "single_photon": _single_photon,
}


def _known_circuit(name: str, module: nn.Module) -> QuantumLayer | QuantumLayerStack:
    if type(module) not in (QuantumLayer, QuantumLayerStack):
        raise DoesNotApply(f"what {name}, a {type(module).__name__}, simulates is not known")
    assert isinstance(module, (QuantumLayer, QuantumLayerStack))
    if sum(module.input_state) == 1:
        raise DoesNotApply(f"{name} has one photon, which has none to interfere with")
    readout = module.ansatz.readout
    if readout.expectation is not None and readout.distinguishable is None:
        raise DoesNotApply(
            f"{name} gives {readout.words}, which are the same with and without interference "
            "between photons"
        )
    return module


def _stand_in(
    name: str,
    module: nn.Module,
    widths: Mapping[str, Widths],
    make: Callable[[int, int], nn.Module],
) -> nn.Module:
    """Return a classical block, or a stack of them, with the widths of a photonic module."""
    if name not in widths:
        raise DoesNotApply(f"{name} does not map one tensor (..., inputs) to one (..., outputs)")
    sizes = widths[name].inputs, widths[name].outputs
    like = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0))
    other: nn.Module
    if isinstance(module, QuantumLayerStack):
        other = ModuleStack(make(*sizes) for _ in range(_count(module)))
    else:
        other = make(*sizes)
    return other.to(like.device)


def _count(module: nn.Module) -> int:
    return module.count or 1 if isinstance(module, PhotonicCircuit) else 1


class _Linear(nn.Linear):
    """A linear layer that says how wide it is, as photonic layers do."""

    @property
    def output_size(self) -> int:
        return self.out_features


class _Zeros(nn.Module):
    """Nothing, of the right shape."""

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.output_size)
