"""Classes of the user: the folders they are found in, and those that settings name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["class_paths", "importable"]


def importable(*recipes: str | Path) -> None:
    """Find modules of the user in the working folder, and beside these recipes.

    They come behind all that is installed, so that no file there takes the place of a module that
    hybridlit needs.
    """
    for folder in (Path.cwd(), *(Path(each).resolve().parent for each in recipes)):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def class_paths(settings: Any) -> Iterator[str]:
    """Yield the classes that settings name as `module.Class`."""
    if isinstance(settings, Mapping):
        path = settings.get("class_path")
        if isinstance(path, str) and "." in path:
            yield path
        settings = list(settings.values())
    if isinstance(settings, list):
        for each in settings:
            yield from class_paths(each)
