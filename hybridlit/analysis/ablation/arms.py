"""What the arms of the study are: one row each, and what stands in for the photonic layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hybridlit.analysis.recording import Call, recorded
from hybridlit.blocks.stand_ins import MatchedMLP, RandomFeatures
from hybridlit.blocks.wrappers import ModuleStack
from hybridlit.components import mark_photonic, photonic_modules, split_parameters
from hybridlit.photonics import PhotonicCircuit, QuantumLayer, QuantumLayerStack
from hybridlit.photonics.distinguishable import DistinguishableLayer, DistinguishableLayerStack

__all__ = ["ARMS", "Arm", "DoesNotApply", "Question", "Widths", "apply_arm", "observed_widths"]


class Question(Enum):
    """What comparisons with retrained arms decide about, in the order in which that is told."""

    NONLINEARITY = "the photonic nonlinearity"
    TRAINING = "training the photonic parameters"
    INTERFERENCE = "interference between photons"
    BESIDE = "the photonic part beside the classical one"


class DoesNotApply(Exception):
    """Says why an arm makes no sense for a model."""


class Widths(NamedTuple):
    """Numbers of features that go into a photonic layer, and come out."""

    inputs: int
    outputs: int


Maker = Callable[[str, nn.Module, Mapping[str, Widths]], nn.Module]
"""From name, module and widths to what takes the module's place; or to the module, changed."""


@dataclass(frozen=True)
class Arm:
    """A kind of model that is trained beside the hybrid one.

    Attributes:
        words: What it is.
        make: Makes what takes the place of each photonic module of a fresh model, and raises
            `DoesNotApply` where that makes no sense; None: the model stays as it is.
        question: What the comparison with it decides about; None for the model as it is.
        differs_too: What else differs from the model, if more does than the question asks for.
        learns: Whether classical layers that learn stand in for the photonic ones. They are trained
            with the settings of either component.
        around: Whether it makes sense only if something goes around the photonic layers.
        note: What has to be said beside its row in the table.
    """

    words: str
    make: Maker | None = None
    question: Question | None = None
    differs_too: str | None = None
    learns: bool = False
    around: bool = False
    note: str | None = None


def observed_widths(model: nn.Module, run: Callable[[], object]) -> dict[str, Widths]:
    """Find the widths of the photonic modules of a model, by qualified name.

    Those that do not say are watched while `run` runs the model on some batch. Left out are modules
    that do not map one tensor (..., inputs) to one (..., outputs).
    """
    modules = photonic_modules(model)
    found = {
        name: Widths(module.input_size, module.output_size)
        for name, module in modules.items()
        if isinstance(module, PhotonicCircuit)
    }
    silent = {name: module for name, module in modules.items() if name not in found}
    if silent:
        with recorded(silent, _widths_of) as calls:
            run()
        found |= {name: each for name, kept in calls.items() for each in kept if each is not None}
    return found


def _widths_of(call: Call) -> Widths | None:
    shapes = [t.shape for t in (call.given, call.output) if isinstance(t, Tensor) and t.dim() > 1]
    if len(shapes) < 2 or shapes[0][:-1] != shapes[1][:-1]:
        return None
    return Widths(shapes[0][-1], shapes[1][-1])


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
        widths: As from `observed_widths`.
        photonic_stage: Whether the training has a stage for photonic parameters: what stands in for
            them is then trained in it, and must have some.
        marked: Whether what learns in their place has the settings of photonic parameters anyway.

    Raises:
        DoesNotApply: With the reason why the arm makes no sense for this model.
    """
    row = ARMS[arm]
    for name, module in photonic_modules(model).items():
        if row.make is None:
            break
        if not name:
            raise DoesNotApply("the model itself is marked as photonic")
        other = row.make(name, module, widths)
        if row.learns and (photonic_stage or marked):
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


# --- classical blocks -----------------------------------------------------------------------------


def _classical(make: Callable[[nn.Module, int, int], nn.Module]) -> Maker:
    """Make blocks, or a stack of them, with the widths of a photonic module."""

    def maker(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
        if name not in widths:
            raise DoesNotApply(
                f"{name} does not map one tensor (..., inputs) to one (..., outputs)"
            )
        like = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0))
        stacked = isinstance(module, QuantumLayerStack)
        blocks = (make(module, *widths[name]) for _ in range(_count(module)))
        return (ModuleStack(blocks) if stacked else next(blocks)).to(like.device)

    return maker


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


def _mlp(module: nn.Module, inputs: int, outputs: int) -> nn.Module:
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad) // _count(module)
    return MatchedMLP(inputs, outputs, trained)


def _random_features(module: nn.Module, inputs: int, outputs: int) -> nn.Module:
    features = None
    if isinstance(module, PhotonicCircuit):
        if any(True for _ in module.readout.parameters()):  # weights of each outcome
            features = module.outcomes.size
    return RandomFeatures(inputs, outputs, features)


# --- photonic layers that lack something ----------------------------------------------------------


def _untrained(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    own = split_parameters(module)["photonic"].values()
    if not any(parameter.requires_grad for parameter in own):
        raise DoesNotApply(f"no photonic parameter of {name} is trained in the model either")
    for parameter in own:
        parameter.requires_grad_(False)
    return module


def _distinguishable(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    circuit = _known_circuit(name, module)
    if circuit.experiment.superposition is not None:
        raise DoesNotApply(f"{name} gets a superposition, whose terms interfere with one another")
    if isinstance(circuit, QuantumLayerStack):
        return DistinguishableLayerStack.from_stack(circuit)
    return DistinguishableLayer.from_layer(circuit)


def _single_photon(name: str, module: nn.Module, widths: Mapping[str, Widths]) -> nn.Module:
    circuit = _known_circuit(name, module)
    means = circuit.experiment.mean_photons
    first = next(mode for mode, photons in enumerate(means) if photons)
    state = tuple(int(mode == first) for mode in range(len(means)))
    fewest = circuit.experiment.min_detected_photons
    least = None if fewest is None else min(fewest, 1)  # of one, more are never shown
    try:
        return _changed(circuit, n_photons=1, input_state=state, min_detected_photons=least)
    except ValueError as error:
        raise DoesNotApply(
            f"one photon with {len(state)} outcomes cannot give the {circuit.output_size} outputs "
            f"of {name}: {error}"
        ) from error


def _changed(circuit: QuantumLayer | QuantumLayerStack, **fields: Any) -> nn.Module:
    """Make a circuit with fields of its experiment changed; phases and bandwidths are as drawn.

    A layer has its whole experiment, whether its model was given one or the fields one by one.
    """
    sizes = circuit.input_size, circuit.output_size
    given: dict[str, Any] = dict(
        experiment=replace(circuit.experiment, **fields),
        output_mapping_strategy=circuit.ansatz.strategy,
    )
    other: QuantumLayer | QuantumLayerStack
    if isinstance(circuit, QuantumLayerStack):
        other = QuantumLayerStack(_count(circuit), *sizes, **given)
    else:
        other = QuantumLayer(*sizes, **given)
    if other.noise is not None and circuit.noise is not None:
        other.noise.learn_like(circuit.noise)
        other.noise.load_state_dict(circuit.noise.state_dict())
    other.to(circuit.phases)
    other.recompute = circuit.recompute
    other.shots, other.shot_gradient = circuit.shots, circuit.shot_gradient
    for own, drawn in ((other.phases, circuit.phases), (other.bandwidth, circuit.bandwidth)):
        if own is not None and drawn is not None:
            own.data.copy_(drawn)
            own.requires_grad_(drawn.requires_grad)
    return other


def _known_circuit(name: str, module: nn.Module) -> QuantumLayer | QuantumLayerStack:
    if type(module) not in (QuantumLayer, QuantumLayerStack):
        raise DoesNotApply(f"what {name}, a {type(module).__name__}, simulates is not known")
    assert isinstance(module, (QuantumLayer, QuantumLayerStack))
    if module.experiment.n_photons == 1:
        raise DoesNotApply(f"{name} has one photon, which has none to interfere with")
    program = module.experiment.program
    if program is not None and program.alike == "none" and program.apart:
        raise DoesNotApply(f"{name} has photons that do not interfere with one another anyway")
    readout = module.ansatz.readout
    if not module.ansatz.needs_amplitudes and readout.distinguishable is None:
        raise DoesNotApply(
            f"{name} gives {readout.words}, which are the same with and without interference "
            "between photons"
        )
    return module


ARMS: dict[str, Arm] = {
    "hybrid": Arm("the model as it is"),
    "classical_only": Arm(
        "photonic outputs replaced by zero",
        _classical(lambda _, inputs, outputs: _Zeros(outputs)),
        Question.BESIDE,
        around=True,
        note="The parameters of classical_only include those that lead to the photonic layers, "
        "which have nothing to learn from there.",
    ),
    "linear": Arm(
        "photonic layers replaced by linear ones",
        _classical(lambda _, inputs, outputs: _Linear(inputs, outputs)),
        Question.NONLINEARITY,
        differs_too="another number of parameters, too",
        learns=True,
    ),
    "mlp": Arm(
        "photonic layers replaced by classical ones with as many parameters",
        _classical(_mlp),
        Question.NONLINEARITY,
        learns=True,
    ),
    "random_features": Arm(
        "photonic layers replaced by as many random Fourier features, never trained",
        _classical(_random_features),
        Question.NONLINEARITY,
        learns=True,
    ),
    "untrained": Arm("photonic parameters kept as they were drawn", _untrained, Question.TRAINING),
    "distinguishable": Arm(
        "photons that do not interfere with one another", _distinguishable, Question.INTERFERENCE
    ),
    "single_photon": Arm(
        "one photon in the same circuits",
        _single_photon,
        Question.INTERFERENCE,
        differs_too="fewer outcomes to read, too",
    ),
}
"""The retrained arms, by name, in the order in which they are trained and shown."""
