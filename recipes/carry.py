"""Puts the recipes into the package that setuptools builds, where `hybridlit recipes` finds them.

`[tool.setuptools.cmdclass]` in pyproject.toml names it. Small files alone: recipes, what they need
and their scores; no benchmarks, no data that a script writes. An editable install has the clone.
"""

from __future__ import annotations

from pathlib import Path

from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
FOLDER = Path("hybridlit", "carried_recipes")
CARRIED = (
    "*.yaml",
    "oscillator.py",
    "small_cnn.py",
    "*/make_*.py",
    "tables/diabetes.csv",
    "tables/rare.csv",
    "tables/wine.csv",
    "results/scores.json",
    "results/compare/*.json",
)
"""Patterns of the files."""


class CarryRecipes(build_py):
    """setuptools' step that copies the package, with the recipes as well."""

    def run(self) -> None:
        """Copy the package into the build folder, unless it is used where it is."""
        super().run()
        if self.editable_mode:
            return
        for file in carried():
            place = Path(self.build_lib, FOLDER, file.relative_to(HERE))
            self.mkpath(str(place.parent))
            self.copy_file(str(file), str(place))

    def get_source_files(self) -> list[str]:
        """Return what a source distribution must have."""
        own = [Path(__file__), *carried()]
        return super().get_source_files() + [str(file.relative_to(HERE.parent)) for file in own]


def carried() -> list[Path]:
    """Return the files, in alphabetical order."""
    return sorted({file for pattern in CARRIED for file in HERE.glob(pattern)})
