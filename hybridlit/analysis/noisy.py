"""A model whose photonic layers are under noise, for a while or from now on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from hybridlit.argument_types import checked
from hybridlit.components import photonic_modules
from hybridlit.internals.torch import own_attributes
from hybridlit.photonics import Noise, PhotonicCircuit
from hybridlit.photonics.adaptive import AdaptiveCircuit
from hybridlit.photonics.fidelity_kernel import FidelityKernel

__all__ = ["circuits_of", "put_under_noise", "restored", "under_noise"]

_OWN = own_attributes()


@contextmanager
@checked
def under_noise(
    model: nn.Module,
    noise: Noise | Mapping[str, Any] | str | None,
    *,
    detectors: str | Sequence[str] | None = None,
    min_detected_photons: int | None = None,
) -> Iterator[dict[str, PhotonicCircuit]]:
    """Put the photonic layers of a model under noise until the block ends.

    Their parameters stay the same tensors, so that a model can be trained under noise as well.

    Args:
        model: The model, or a photonic layer.
        noise: As for an `Experiment`; None: ideal photons.
        detectors: As for an `Experiment`; None: as they are.
        min_detected_photons: As for an `Experiment`; None: each layer keeps the outcomes that its
            readout was made for, see `QuantumLayer.with_noise`.

    Yields:
        The layers, by name.

    Raises:
        TypeError: If the model holds no photonic layer, or one that knows of no noise.
        ValueError: If an argument is out of range, or the readout of a layer does not fit.

    Example:
        >>> import torch
        >>> from hybridlit.photonics import QuantumLayer
        >>> layer = QuantumLayer(2, 3, n_modes=4, n_photons=2)
        >>> x = torch.rand(5, 2)
        >>> ideal = layer(x)
        >>> with under_noise(layer, "ascella"):
        ...     torch.allclose(layer(x), ideal)
        False
        >>> torch.equal(layer(x), ideal)
        True
    """
    with restored(circuits_of(model)) as layers:
        put_under_noise(
            model, noise, detectors=detectors, min_detected_photons=min_detected_photons
        )
        yield layers


def put_under_noise(
    model: nn.Module,
    noise: Noise | Mapping[str, Any] | str | None,
    *,
    detectors: str | Sequence[str] | None = None,
    min_detected_photons: int | None = None,
) -> None:
    """Put the photonic layers of a model under noise: see `under_noise`."""
    changed = {
        layer: layer.with_noise(
            noise, detectors=detectors, min_detected_photons=min_detected_photons
        )
        for layer in circuits_of(model).values()
    }
    for layer, made in changed.items():
        if made.ansatz.readout.statistic is None:  # made for outcomes, which are the same ones
            made.readout = layer.readout
        own = {name: value for name, value in vars(layer).items() if name in _OWN}
        marks = {n: value for n, value in vars(layer).items() if n.startswith("_hybridlit")}
        vars(layer).clear()
        vars(layer).update(vars(made) | own | marks)


@contextmanager
def restored(layers: Mapping[str, PhotonicCircuit]) -> Iterator[dict[str, PhotonicCircuit]]:
    """Give photonic layers back what they were when a block ends, but for values and modes."""
    before = [(layer, dict(vars(layer))) for layer in layers.values()]
    try:
        yield dict(layers)
    finally:
        for layer, attributes in before:
            mode = layer.training
            vars(layer).clear()
            vars(layer).update(attributes)
            layer.train(mode)


def circuits_of(model: nn.Module) -> dict[str, PhotonicCircuit]:
    """Return the photonic layers of a model that can be put under noise, by name.

    Raises:
        TypeError: If there is none, or one that knows of no noise.
    """
    found: dict[str, PhotonicCircuit] = {}
    for module in model.modules():
        if isinstance(module, (AdaptiveCircuit, FidelityKernel)):
            raise TypeError(
                f"model must hold photonic layers that are counted once, got a "
                f"{type(module).__name__}, which needs the amplitudes of ideal photons"
            )
    for name, module in photonic_modules(model).items():
        if not isinstance(module, PhotonicCircuit):
            raise TypeError(
                f"model must hold photonic layers of hybridlit, got {type(module).__name__} at "
                f"{name!r}, of whose noise nothing is known here"
            )
        found[name] = module
    if not found:
        raise TypeError(f"model must hold a photonic layer, got {type(model).__name__} without one")
    return found
