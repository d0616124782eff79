"""`hybridlit compare`: does the photonic layer of a recipe help?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch

from hybridlit import __version__
from hybridlit.analysis.ablation import AblationStudy
from hybridlit.analysis.ablation.kept import SUFFIX
from hybridlit.analysis.ablation.tables import summary
from hybridlit.atomic_write import atomic_write
from hybridlit.recipe import compare_recipe, read_recipe
from hybridlit.recipe.comparison import TWINS
from hybridlit.words import aligned, piped

__all__ = ["compare"]


def compare(
    recipes: list[str],
    /,
    seeds: int = 5,
    jobs: int = 1,
    arms: list[str] | str | None = None,
    epochs: int | None = None,
    margin: float = 0.01,
    baselines: bool = True,
    out: str | None = None,
) -> list[Path]:
    """Train recipes and their twins without photons over seeds, and say whether a layer helps.

    With out, finished runs are kept in that folder until all recipes are done, in files that end in
    .compare.arms: if the command is killed, the same command goes on, and the numbers are the same.

    Args:
        recipes: YAML files of models with photonic layers, or names of recipes of hybridlit.
        seeds: Runs of each arm, at least 2. A seed decides initial weights and split.
        jobs: Processes that train side by side, one thread each. Scores do not depend on it.
        arms: What is trained beside each recipe, such as linear, mlp, random_features, untrained,
            distinguishable, single_photon, classical_only; several as '[linear, mlp]'; mlp and
            untrained without it.
        epochs: Epochs of each training, at least 1; those of the recipe without it.
        margin: Smallest difference of the score that matters.
        baselines: Fit classical models of scikit-learn to the same rows as well.
        out: Folder for what was found, of each recipe and of all: .md and .json.

    Returns:
        The files written.
    """
    paths = [Path(recipe) for recipe in recipes]
    names = [path.stem for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"recipes must have different names, got {name} {names.count(name)} x")
    settings = {path.stem: read_recipe(path) for path in paths}
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise ValueError(f"out must be a folder, and {out!r} is none")
    files = []
    kept = {} if out is None else {name: Path(out) / f"{name}.compare{SUFFIX}" for name in settings}
    studies: dict[str, AblationStudy] = {}
    for name, given in settings.items():
        try:
            studies[name] = study = compare_recipe(
                given,
                arms=TWINS if arms is None else [arms] if isinstance(arms, str) else arms,
                seeds=seeds,
                epochs=epochs,
                margin=margin,
                baselines=baselines,
                jobs=jobs,
                progress=partial(_tell, name),
                keep=kept.get(name),
            )
        except RuntimeError as error:  # of an arm, which it names
            raise ValueError(f"{name}: {error}") from error
        print(f"\n{study}\n", flush=True)
        if out is not None:
            files += _write(Path(out) / name, f"# {name}\n\n{study.to_markdown()}", study.to_dict())
    if len(studies) > 1:
        print(f"{summary(studies, aligned)}\n")
        if out is not None:
            files += _write(Path(out) / "summary", f"{summary(studies, piped)}\n")
    for path in kept.values():
        path.unlink(missing_ok=True)
    return files


def _tell(name: str, line: str) -> None:
    print(f"{name}  {line}", flush=True)


def _write(path: Path, text: str, found: dict[str, object] | None = None) -> list[Path]:
    """Write a text, and what was found as JSON with the versions that it was found with."""
    contents = {path.with_name(f"{path.name}.md"): text}
    if found is not None:
        versions = {"hybridlit": __version__, "torch": torch.__version__}
        content = json.dumps({**versions, **found}, indent=1)
        contents[path.with_name(f"{path.name}.json")] = f"{content}\n"
    for file, content in contents.items():
        with atomic_write(file) as unfinished:
            unfinished.write_text(content, encoding="utf-8")
    return list(contents)
