"""`hybridlit card`: what a trained model is, what it scores and where its limits are."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from hybridlit import __version__
from hybridlit.analysis.card import given_settings, model_card
from hybridlit.analysis.digests import digest_of
from hybridlit.analysis.report import code
from hybridlit.cli.checkpoints import checkpoint_path, folder_for, recipe_of
from hybridlit.cli.loading import datamodule_of_run, load_model
from hybridlit.recipe.reading import settings_of
from hybridlit.templates.loading import read_checkpoint
from hybridlit.unwrapping import cause_of

__all__ = ["card", "leave_verdict"]

_VERDICT = "report.json"
"""What `hybridlit analyze` leaves beside the `report.html` of a run, for the card."""


def card(ckpt: str, out: str | None = None, template: str | None = None) -> list[Path]:
    """Write a model card: data, model, training, scores with intervals, limits, versions.

    Scores are taken on the test rows of the run's own data, and what the photonic part is worth is
    what hybridlit analyze has found, if it has been called. What is not known is said to be so.

    Args:
        ckpt: Checkpoint that hybridlit fit has made: a file, last or best.
        out: The card, .md or .html. Without it, card.md in the folder of the run.
        template: Class of a checkpoint that hybridlit fit has not made, such as SequentialHybrid.

    Returns:
        The files written, the card first; of a card in Markdown, pictures lie beside it.
    """
    if out is not None and Path(out).suffix not in (".html", ".md"):
        raise ValueError(f"out must end in .html or .md, got {Path(out).name!r}")
    checkpoint = checkpoint_path(ckpt)
    model = load_model(checkpoint, template)
    content = read_checkpoint(checkpoint)
    told: dict[str, Any] = {"epochs until then": content.get("epoch", -1) + 1}
    told["steps until then"] = f"{content.get('global_step', 0):,}"
    told |= _metrics(content.get("callbacks") or {})
    recipe, data, missing = None, None, ""
    try:
        recipe = recipe_of(checkpoint)
        data = datamodule_of_run(checkpoint, template)
    except (ImportError, OSError, TypeError, ValueError) as error:
        missing = f"not measured: {cause_of(error)}"
    if recipe is not None:
        told |= _settings(settings_of(recipe), data)
    folder = folder_for(checkpoint)
    report = model_card(
        model,
        data,
        checkpoint=checkpoint,
        training=told,
        ablation=_verdict(checkpoint, folder / _VERDICT),
        without_data=missing,
    )
    return report.write(folder / "card.md" if out is None else out)


def _metrics(callbacks: Mapping[str, Any]) -> dict[str, str]:
    """Losses and metrics of the last epoch, as `ExactResume` keeps them."""
    kept = (callbacks.get("ExactResume") or {}).get("metrics", ())
    named = [pair for names, values in kept for pair in zip(names, values.tolist(), strict=True)]
    return {
        code(n): f"{value:.4g}" for n, value in sorted(named) if n.startswith(("train/", "val/"))
    }


def _settings(config: Mapping[str, Any], data: object) -> dict[str, str]:
    """Settings of the run's Trainer and of its data that are not as by default."""
    found = {"seed": code(config.get("seed_everything"))}
    for name, value in _given(config.get("trainer"), Trainer):
        if name in ("callbacks", "logger"):  # with all their arguments they would fill the page
            given = value if isinstance(value, list) else [value]
            value = [each["class_path"] if isinstance(each, dict) else each for each in given]
        found[f"trainer: {code(name)}"] = code(value)
    section = config.get("data") or {}
    found["data"] = code(section.get("class_path"))
    for name, value in _given(section.get("init_args"), type(data)):
        found[f"data: {code(name)}"] = code(value)
    return found


def _given(settings: Mapping[str, Any] | None, kind: type) -> list[tuple[str, Any]]:
    """The settings that are not what a class has by default, nor null, which is not given."""
    changed = given_settings(kind, settings or {})
    return [(name, value) for name, value in changed.items() if value is not None]


# --- the verdict of an ablation -------------------------------------------------------------------


def leave_verdict(
    report: Path, checkpoint: Path, command: str, conclusion: str, study: Any
) -> Path:
    """Write what `hybridlit analyze` has found beside its report, and return the file.

    `conclusion` is in Markdown, `study` are plain values, or None.
    """
    path = report.with_suffix(".json")
    content = {
        "checkpoint": checkpoint.name,
        "sha256": _digest(checkpoint),
        "command": command,
        "conclusion": conclusion,
        "study": study,
        "hybridlit": __version__,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _verdict(checkpoint: Path, path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        text, command = str(found["conclusion"]), code(found["command"])
    except FileNotFoundError:
        return (
            f"not measured: {code(shlex.join(['hybridlit', 'analyze', '--ckpt', str(checkpoint)]))}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"not known: {code(path)} is none that hybridlit analyze has left"
    other = (
        ""
        if found.get("sha256") == _digest(checkpoint)
        else (
            f"This was found of another checkpoint of the run, {code(found.get('checkpoint'))}.\n\n"
        )
    )
    return f"{other}{text}\n\nFound by {command}."


def _digest(path: Path) -> str:
    """Of the weights: what `hybridlit calibrate` adds to a file makes no other model of it."""
    state = read_checkpoint(path)["state_dict"]
    return digest_of(state.values(), "\n".join(state).encode())
