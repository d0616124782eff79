"""`hybridlit recipes`: those that come with hybridlit, with what to expect of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from hybridlit.recipe_files import carried_recipes, needed_files, scripts_of
from hybridlit.words import aligned, in_seconds, meant

__all__ = ["recipes"]

_ACTIONS = ("list", "copy")

_LEGEND = """\
Score: of the test rows, at the weights of the best validation. Time: of one training, on an AMD
EPYC with one thread. Both are means over some seeds; - was not measured.
  hybridlit fit --config NAME     trains one
  hybridlit recipes copy NAME     writes one, and what it needs, into the working folder"""


def recipes(
    action: str = "list", name: str | None = None, /, to: str = ".", force: bool = False
) -> None:
    """List the recipes that come with hybridlit, or copy one.

    Args:
        action: `list` or `copy`.
        name: Of copy: name of the recipe.
        to: Of copy: folder for it, made if it is not there; what it needs is written there too.
        force: Of copy: overwrite files that differ.
    """
    known = carried_recipes()
    if action not in _ACTIONS:
        raise ValueError(f"recipes takes list or copy, got {action!r}{meant(action, _ACTIONS)}")
    if action == "list":
        if name is not None:
            raise ValueError(f"list takes no name, got {name!r}: hybridlit recipes copy {name}")
        rows = [(known_name, *_expected(path), _about(path)) for known_name, path in known.items()]
        print(aligned(("recipe", "score", "time", "what"), rows))
        print(f"\n{_LEGEND}")
        return
    if name not in known:
        given = "" if name is None else f", got {name!r}{meant(name, known)}"
        raise ValueError(f"copy takes the name of a recipe{given}; hybridlit recipes lists them")
    files = _copies(known[name], Path(to))
    differ = [path for path, text in files.items() if path.exists() and path.read_bytes() != text]
    if differ and not force:
        raise FileExistsError(
            f"{differ[0]} is there already, and differs: give --force, or another --to"
        )
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(path)
    copy = next(iter(files))
    scripts = (f"python {script}" for script in scripts_of(copy))
    commands = [*scripts, f"hybridlit fit --config {copy}"]
    print("\nNext:", *(f"  {each}" for each in commands), sep="\n")


def _about(recipe: Path) -> str:
    """Return the first sentence of the comment on top, as far as its first stop of any kind."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    head = lines[: next(row for row, line in enumerate(lines) if not line.startswith("#"))]
    return re.split(r"[.:;](?:\s|$)", " ".join(line.lstrip("# ") for line in head))[0]


def _expected(recipe: Path) -> tuple[str, str]:
    """Return score and time of a training, or dashes where they were not measured."""
    results = recipe.parent / "results"
    study = _read(results / "compare" / f"{recipe.stem}.json")
    alone = _read(results / "scores.json").get(recipe.stem)
    found = {**study, **study["retrained"][0]} if study else alone
    if found is None:
        return "-", "-"
    score = sum(found["scores"]) / len(found["scores"])
    return f"{found['metric']} {score:.3f}", in_seconds(found["seconds"])


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def _copies(recipe: Path, folder: Path) -> dict[Path, bytes]:
    """Return the files of a copy, itself first; `recipes/` in it reads as the folder."""
    place = "" if folder == Path() else f"{folder.as_posix()}/"
    if not _plain(f"{place}x") or " " in place:
        raise ValueError(
            f"to must be a folder that YAML and shells take without quotes, got {str(folder)!r}"
        )
    text = re.sub(r"\brecipes/(?=\w)", lambda _: place, recipe.read_text(encoding="utf-8"))
    others = {folder / each: (recipe.parent / each).read_bytes() for each in needed_files(recipe)}
    return {folder / recipe.name: text.encode(), **others}


def _plain(text: str) -> bool:
    try:
        return bool(yaml.safe_load(f"path: {text}") == {"path": text})
    except yaml.YAMLError:
        return False
