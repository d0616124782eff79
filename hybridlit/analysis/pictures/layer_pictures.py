"""All pictures of one photonic module."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from hybridlit.analysis.pictures.heat_map import Picture
from hybridlit.analysis.pictures.module_calls import CallRows
from hybridlit.analysis.pictures.panels import (
    interferometer_picture,
    mode_picture,
    outcome_picture,
    output_picture,
    phase_picture,
    readout_picture,
)
from hybridlit.analysis.pictures.photon_statistics import photon_statistics
from hybridlit.photonics import QuantumLayer, QuantumLayerStack
from hybridlit.photonics.readouts.linear import LinearReadout
from hybridlit.undisturbed import undisturbed

__all__ = ["layer_pictures"]


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
        rows: What it got and gave, or None if that is not known.
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
    if rows is not None:
        # features of half precision would round the probabilities
        features, groups = rows.features.to(layer.phases.dtype), rows.groups
        outcomes, modes, missing = photon_statistics(layer, features, groups)
        if outcomes is not None:
            words = f"where photons go: {title}, {samples}"
            yield "outcomes", outcome_picture(outcomes, groups, layer.fock_space, words)
        if modes is not None:
            yield "modes", mode_picture(modes, groups, f"photons by mode: {title}, {samples}")
        if missing:
            yield "output", _mean_output(rows, f"mean output ({missing}): {title}, {samples}")
    yield "interferometers", interferometer_picture(layer.phases, f"interferometers: {title}")
    yield "phases", phase_picture(layer.phases, f"phases modulo 2 pi: {title}")
    if gradient is not None:
        words = f"gradient of each phase: {title}"
        yield "phase_gradients", phase_picture(gradient, words, gradients=True)
    if isinstance(layer.readout, LinearReadout):
        words = f"readout weights: {title}"
        yield "readout", readout_picture(layer.readout.weight, layer.fock_space, words)


def _mean_output(rows: CallRows, title: str) -> Picture:
    outputs = rows.outputs.reshape(len(rows.outputs), -1)
    return output_picture(rows.groups.means(outputs.float()).cpu(), rows.groups, title)
