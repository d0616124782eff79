"""`hybridlit draw`: the circuit of a recipe or a checkpoint."""

from __future__ import annotations

from pathlib import Path

from hybridlit.analysis.pictures.circuit_text import describe_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit
from hybridlit.cli.checkpoints import checkpoint_path
from hybridlit.cli.loading import load_model
from hybridlit.components import photonic_modules
from hybridlit.photonics import PhotonicCircuit
from hybridlit.photonics.chip_layer import ChipLayer
from hybridlit.recipe.building import model_of_recipe

__all__ = ["FIGURES", "draw"]

FIGURES = (".svg", ".png", ".pdf")
"""Suffixes of files that matplotlib writes."""


def draw(
    config: str | None = None,
    ckpt: str | None = None,
    out: str | None = None,
    mesh: bool = False,
    template: str | None = None,
) -> None:
    """Draw the circuit of a model, with letters or as a figure.

    Args:
        config: Recipe of the model, a YAML file or a name.
        ckpt: Checkpoint of the model, instead of a recipe: a file, last or best.
        out: File to write, with the suffix .txt, .svg, .png or .pdf; if the model has several
            photonic modules, one file each, with their names added. Without it, the drawing with
            letters is printed.
        mesh: Unfold interferometers into beam splitters and phase shifters, in a figure.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.
    """
    suffix = "" if out is None else Path(out).suffix.lower()
    if out is not None and suffix not in (".txt", *FIGURES):
        raise ValueError(f"out must end in .txt, {', '.join(FIGURES)}, got {out!r}")
    if mesh and suffix not in FIGURES:
        raise ValueError(f"mesh needs a figure: give out with a suffix of {', '.join(FIGURES)}")
    circuits = _circuits(config, ckpt, template)
    for name, circuit in circuits.items():
        if out is None or suffix == ".txt":
            text = describe_circuit(circuit)
        if out is None:
            print(f"{name}\n{text}\n" if len(circuits) > 1 else text)
            continue
        path = Path(out)
        if len(circuits) > 1:
            path = path.with_name(f"{path.stem}-{name}{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".txt":
            path.write_text(text + "\n", encoding="utf-8")
        else:
            draw_circuit(circuit, mesh=mesh).savefig(path)
        print(path)


def _circuits(
    config: str | None, checkpoint: str | None, template: str | None
) -> dict[str, PhotonicCircuit | ChipLayer]:
    if (config is None) == (checkpoint is None):
        raise ValueError(
            "give one of --config and --ckpt, got " + ("neither" if config is None else "both")
        )
    if config:
        model = model_of_recipe(config)
    else:
        model = load_model(checkpoint_path(checkpoint or ""), template)
    photonic = photonic_modules(model)
    circuits = {
        name or "model": module
        for name, module in photonic.items()
        if isinstance(module, (PhotonicCircuit, ChipLayer))
    }
    if not circuits:
        why = (
            f"only modules of other libraries: {list(photonic)}"
            if photonic
            else "no photonic module (with quantum: mlp, a classical block is in its place)"
        )
        raise ValueError(f"{type(model).__name__} has no circuit to draw, {why}")
    return circuits
