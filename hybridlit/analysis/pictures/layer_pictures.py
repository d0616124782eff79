"""All pictures of one photonic module, and what they are of: where the photons go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hybridlit.analysis.pictures import panels
from hybridlit.analysis.pictures.heat_map import Picture
from hybridlit.analysis.pictures.samples import CallRows, SampleGroups
from hybridlit.photonics import QuantumLayer, QuantumLayerStack
from hybridlit.photonics.readouts.linear import LinearReadout
from hybridlit.undisturbed import undisturbed
from hybridlit.words import in_digits

__all__ = ["PhotonStatistics", "layer_pictures", "photon_statistics"]

_ROWS = 2**22
"""Numbers held for a part of the samples at a time."""

_LARGEST = 2**24
"""Mean probabilities beyond which they are not kept."""


def layer_pictures(
    module: nn.Module,
    rows: CallRows | None,
    gradient: Tensor | None,
    title: str,
    samples: str,
    max_circuits: int = 4,
) -> Iterator[tuple[str, Picture]]:
    """Make the pictures that there are of a photonic module.

    Args:
        module: A `QuantumLayer` or `QuantumLayerStack`; of other modules, only the output is shown.
        rows: What it took and gave, or None if that is not known.
        gradient: Of its phases, in their shape, or None.
        title: What the pictures are of, a module and a moment.
        samples: What the rows are, for titles.
        max_circuits: Circuits of a stack shown at most, at least 1, the first ones.

    Yields:
        Name and picture: `outcomes`, `modes`, `output`, `interferometers`, `phases`,
        `phase_gradients` and `readout`, as far as they exist; of a stack, for each circuit, as
        `<index>/outcomes` and so on.
    """
    if isinstance(module, QuantumLayer):
        yield from _of_layer(module, rows, gradient, title, samples)
    elif isinstance(module, QuantumLayerStack):
        with undisturbed():  # new layers draw phases, before they get those of the stack
            layers = module.layers()
        for index, layer in enumerate(layers[:max_circuits]):
            own = None if rows is None else rows.of_circuit(index)
            of_this = None if gradient is None else gradient[index]
            words = f"circuit {index} of {title}"
            for name, picture in _of_layer(layer, own, of_this, words, samples):
                yield f"{index}/{name}", picture
    elif rows is not None:
        yield "output", _mean_output(rows, f"mean output: {title}, {samples}")


def _of_layer(
    layer: QuantumLayer, rows: CallRows | None, gradient: Tensor | None, title: str, samples: str
) -> Iterator[tuple[str, Picture]]:
    shown = layer.outcomes
    if rows is not None:
        # features of half precision would round the probabilities
        features, groups = rows.features.to(layer.phases.dtype), rows.groups
        outcomes, modes, missing = photon_statistics(layer, features, groups)
        if outcomes is not None:
            words = f"where photons go: {title}, {samples}"
            yield "outcomes", panels.outcome_picture(outcomes, groups, shown, words)
        if modes is not None:
            words = f"photons by mode: {title}, {samples}"
            yield "modes", panels.mode_picture(modes, groups, words)
        if missing:
            yield "output", _mean_output(rows, f"mean output ({missing}): {title}, {samples}")
    words = f"interferometers: {title}"
    yield "interferometers", panels.interferometer_picture(layer.interferometers(), words)
    mesh = layer.lowering.slots is None
    if layer.phases.numel():
        words = f"{'phases modulo 2 pi' if mesh else 'trainable angles'}: {title}"
        yield "phases", _of_phases(layer, layer.angles(), words)
    if gradient is not None:
        words = f"gradient of each {'phase' if mesh else 'angle'}: {title}"
        yield "phase_gradients", _of_phases(layer, gradient, words, gradients=True)
    if isinstance(layer.readout, LinearReadout):
        words = f"readout weights: {title}"
        yield "readout", panels.readout_picture(layer.readout.weight, shown, words)


def _of_phases(layer: QuantumLayer, values: Tensor, title: str, gradients: bool = False) -> Picture:
    if layer.lowering.slots is None:
        return panels.phase_picture(values, title, gradients=gradients)
    return panels.angle_picture(values, layer, title, gradients=gradients)


def _mean_output(rows: CallRows, title: str) -> Picture:
    outputs = rows.outputs.reshape(len(rows.outputs), -1)
    return panels.output_picture(rows.groups.means(outputs.float()).cpu(), rows.groups, title)


class PhotonStatistics(NamedTuple):
    """Means over the samples of each group.

    Attributes:
        outcomes: Probability of each outcome, shape (groups, D); None if there is no such thing.
        modes: Photons in each output mode, shape (groups, modes); None if there is no such thing.
        missing: Why something is None; empty if nothing is.
    """

    outcomes: Tensor | None
    modes: Tensor | None
    missing: str


def photon_statistics(
    layer: QuantumLayer, features: Tensor, groups: SampleGroups
) -> PhotonStatistics:
    """Average what a layer's photons do over groups of samples.

    Args:
        layer: The layer; its readout plays no part.
        features: What it is given, shape (samples, input_size).
        groups: Groups of these samples.

    Returns:
        The means, on the CPU. Circuits that are read out by expectations have no outcomes, since
        simulating them may be out of reach.
    """
    kept = layer.outcomes
    state = layer.experiment.superposition
    photons = torch.diag(torch.tensor(layer.experiment.mean_photons))
    density = photons if state is None else torch.tensor(state.one_body())

    def occupation(rows: Tensor) -> Tensor:
        unitary = layer.unitary(rows)
        light: Tensor = unitary.conj() @ density.to(unitary) * unitary
        photons = light.sum(-1).real
        return photons if layer.noise is None else photons * layer.noise.mean_photons(photons)

    def mean(run: Callable[[Tensor], Tensor], width: int) -> Tensor:
        """By parts of the samples, few enough that `width` numbers for each fit well."""
        rows = max(1, _ROWS // width)
        parts = enumerate(features.split(rows))
        sums = [groups.sums(run(part), number * rows) for number, part in parts]
        return torch.stack(sums).sum(0).cpu() / groups.counts()[:, None]

    expectations = not layer.ansatz.needs_amplitudes
    missing = f"{in_digits(kept.size)} {kept.words} are too many to show"
    with torch.no_grad():
        if not expectations and kept.size * len(groups.names) <= _LARGEST:
            outcomes = mean(layer.probabilities, kept.size)
            states = torch.tensor(kept.states, dtype=torch.float64)
            return PhotonStatistics(outcomes, (outcomes.double() @ states).to(outcomes.dtype), "")
        if not kept.resolves:
            return PhotonStatistics(None, None, missing)
        if expectations:
            missing = "expectations are simulated without outcomes"
        return PhotonStatistics(None, mean(occupation, kept.modes**2), missing)
