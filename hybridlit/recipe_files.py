"""Recipes by path or by name: files of the user, and those that hybridlit carries.

An installed package has its recipes in a folder of its own (`recipes/carry.py` puts them there), a
clone in `recipes/`. Nothing heavy is imported here.
"""

from __future__ import annotations

import re
from pathlib import Path

from hybridlit.words import meant, quoted

__all__ = ["carried_recipes", "needed_files", "recipe_file", "scripts_of"]

_PACKAGE = Path(__file__).parent
_PLACES = (_PACKAGE / "carried_recipes", _PACKAGE.parent / "recipes")

_MENTIONED = re.compile(r"\brecipes/([\w./-]+\.\w+)")
_SCRIPT = re.compile(r"^# +python (\S+\.py)$", re.MULTILINE)
_MODULE = re.compile(r"\bclass_path: (\w+)\.\w")


def carried_recipes() -> dict[str, Path]:
    """Return the recipes that come with hybridlit, by name in alphabetical order."""
    place = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    return {path.stem: path for path in sorted(place.glob("*.yaml"))}


def needed_files(recipe: Path) -> list[str]:
    """Return the files that a carried recipe needs, relative to its folder.

    They are those that it names and that come with it: tables, scripts that write data, modules
    beside it. What such a script writes is none of them, since it does not come with it.
    """
    text = recipe.read_text(encoding="utf-8")
    named = [*_MENTIONED.findall(text), *(f"{name}.py" for name in _MODULE.findall(text))]
    known = {name for name in named if (recipe.parent / name).is_file()}
    return sorted(known - {recipe.name})


def scripts_of(recipe: Path) -> list[str]:
    """Return the scripts that a recipe says to run before it, since they write its data."""
    return _SCRIPT.findall(recipe.read_text(encoding="utf-8"))


def recipe_file(given: str | Path) -> Path:
    """Return the file that is meant by a recipe.

    Args:
        given: A file, or a name without a folder and a suffix: of a recipe in the working folder,
            in its folder `recipes`, or of those that hybridlit carries, in this order.

    Raises:
        FileNotFoundError: If there is none, or if it is carried and needs files that are not here.
    """
    path = Path(given)
    if path.exists() and not path.is_dir():  # a pipe is no file
        return path
    known = carried_recipes()
    if path.name != str(given) or path.suffix:
        named = f"; the name alone, {path.stem}, is a recipe that comes with hybridlit"
        raise FileNotFoundError(f"no file {path}{named if path.stem in known else ''}")
    for own in (Path(f"{given}.yaml"), Path("recipes", f"{given}.yaml")):
        if own.is_file():
            return own
    if path.name not in known:
        raise FileNotFoundError(
            f"no file {path}, and no recipe of that name{meant(path.name, known)}; "
            "hybridlit recipes lists them"
        )
    found = known[path.name]
    paths = [name for name in needed_files(found) if "/" in name]  # modules are found beside it
    lacking = [f"recipes/{name}" for name in paths if not Path("recipes", name).is_file()]
    if lacking:
        raise FileNotFoundError(
            f"the recipe {given} needs {quoted(lacking, quote=False)} in the working folder: "
            f"hybridlit recipes copy {given} writes what it needs, and a recipe that finds it"
        )
    return found
