"""The circuit of a recipe, made as large or as small as a budget allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hybridlit.components import photonic_modules
from hybridlit.photonics import Experiment, PhotonicCircuit
from hybridlit.photonics.budget import Budget, largest, shapes
from hybridlit.recipe.building import build_data
from hybridlit.recipe.cost import dtype_of, empty_model, rows_of
from hybridlit.recipe.reading import Settings, changed
from hybridlit.templates import HybridModule, HybridNetwork
from hybridlit.templates.cost import ModelCost, cost_of
from hybridlit.templates.quantum import experiment_of
from hybridlit.templates.sizes import sizes_of
from hybridlit.undisturbed import undisturbed
from hybridlit.words import in_bytes, in_digits, in_seconds, plural

__all__ = ["Fitted", "fitted"]


class Fitted(NamedTuple):
    """A recipe whose circuit is the largest within a budget.

    Attributes:
        settings: What it says now.
        n_modes: Modes of its circuit.
        n_photons: Its photons.
        cost: What the model costs.
        line: What was done, in a sentence.
    """

    settings: Settings
    n_modes: int
    n_photons: int
    cost: ModelCost
    line: str


def fitted(settings: Mapping[str, Any], budget: Budget | str) -> Fitted:
    """Make the circuit of a recipe as large, or as small, as a budget allows.

    All else stays as it is. Circuits are tried with ever more modes, and as many photons for each
    mode as the recipe has, rounded down; that of the recipe is one of them. A circuit with an
    `input_state`, an `encoding` or components, which say how many modes there are, is taken as it
    is or refused.

    Args:
        settings: What a recipe says.
        budget: A `Budget`, or what `Budget.parse` takes.

    Returns:
        The recipe, changed.

    Raises:
        ValueError: If no circuit is within the budget, or the model has none that could change.
    """
    chosen = Budget.parse(budget) if isinstance(budget, str) else budget
    with undisturbed():  # weights are drawn as without a budget
        data = build_data(settings)
        sizes, rows = sizes_of(data), rows_of(data)
    dtype = dtype_of(settings)
    model = empty_model(settings["model"], sizes, dtype)
    own = _circuit(model)
    where = "model." if model.hparams["experiment"] is None else "model.experiment."

    def at(modes: int, photons: int) -> Settings:
        if (modes, photons) == (own.n_modes, own.n_photons):
            return dict(settings)
        return changed(settings, {f"{where}n_modes": modes, f"{where}n_photons": photons})

    def look(modes: int, photons: int) -> tuple[ModelCost, Experiment]:
        model = empty_model(at(modes, photons)["model"], sizes, dtype)
        return cost_of(model, rows), _circuit(model)

    given = ("input_state", "encoding", "circuit")
    fixed = next((name for name in given if getattr(own, name) is not None), None)
    unbunched, numbers = own.fock_space.unbunched, (own.n_modes, own.n_photons)
    if fixed is not None:
        line = shapes(*numbers, unbunched)
    else:
        fits = _fits(chosen, look, *numbers)
        filling, first = own.n_photons / own.n_modes, own.n_modes if fits else 2
        line = shapes(None, None, unbunched, filling, first)
    try:
        modes, photons, cost = largest(chosen, line, look)
    except ValueError as error:
        if fixed is None:
            raise
        raise ValueError(f"{error}; {fixed} says how many modes there are: leave it out") from None
    same = (modes, photons) == numbers
    others = "as before" if same else f"instead of {own.n_modes} and {own.n_photons}"
    taken = "a time that is not known" if cost.seconds is None else in_seconds(cost.seconds)
    return Fitted(
        at(modes, photons),
        modes,
        photons,
        cost,
        f"Budget of {chosen}: {plural(modes, 'mode')} and {plural(photons, 'photon')}, {others}; "
        f"{in_digits(cost.states)} states, about {in_bytes(cost.peak_bytes)} and {taken} for a "
        f"training step of {plural(rows, 'row')}.",
    )


def _fits(
    budget: Budget, look: Callable[[int, int], tuple[ModelCost, Experiment]], *numbers: int
) -> bool:
    try:
        return budget.refusal(*look(*numbers)) is None
    except MemoryError:  # of a source so noisy that not even its plan fits
        return False


def _circuit(model: HybridModule) -> Experiment:
    """Return the circuit that the arguments of a model describe, if they do."""
    name = type(model).__name__
    if not isinstance(model, HybridNetwork):
        raise ValueError(
            f"a budget is for models whose circuit is described by n_modes and n_photons, and "
            f"{name} is no HybridNetwork: leave the budget out"
        )
    layers = photonic_modules(model).values()
    if not any(isinstance(layer, PhotonicCircuit) for layer in layers):
        why = "quantum='mlp'" if model.hparams["quantum"] == "mlp" else "a layer of another library"
        raise ValueError(
            f"a budget chooses numbers of modes and photons, and {name} has {why} instead of a "
            "photonic layer: leave the budget out"
        )
    return experiment_of(model.hparams)
