"""Small faults that the tests must notice: one line of the package each, by folder of it.

Each makes some number or verdict silently wrong, or takes a check away; none only renames or slows
down. `mutate.py` makes them one by one and runs the tests that should notice.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mutation", "all_mutations", "fault_of", "mutations_of"]


class Mutation(NamedTuple):
    """A change of one place in the package.

    Attributes:
        file: The file, from the root of the repository.
        old: A piece of it that occurs exactly once.
        new: What takes its place.
        tests: What pytest is given to notice, relative to `tests/`: files, or tests in files.
        why: What would be wrong.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str

    def of(self, text: str) -> str:
        """Return the content of the file with the change made."""
        return text.replace(self.old, self.new)


def mutations_of(
    file: str, tests: str, changes: list[tuple[str, str, str] | tuple[str, str, str, str]]
) -> list[Mutation]:
    """Make mutations of one file.

    Args:
        file: The file, relative to `hybridlit/`.
        tests: Tests that should notice, separated by spaces.
        changes: Old and new text, and what would be wrong; where other tests should notice, they
            follow: files, tests in files, or, as `::name`, tests in the file of `tests`.
    """

    def full(names: str) -> tuple[str, ...]:
        default = tests.split("::")[0]
        return tuple(default + name if name[0] == ":" else name for name in names.split())

    return [
        Mutation(f"hybridlit/{file}", old, new, full((*other, tests)[0]), why)
        for old, new, why, *other in changes
    ]


def all_mutations() -> list[Mutation]:
    """Return all of them; those of tests beside Perceval only where it is."""
    from mutations import analysis, callbacks, data, export, interop, photonics, recipe, templates

    modules = [photonics, data, templates, callbacks, analysis, export, recipe]
    if find_spec("perceval") is not None:
        modules.append(interop)
    return [m for module in modules for m in module.MUTATIONS]


def fault_of(mutation: Mutation, root: Path) -> str | None:
    """Say why a mutation cannot be made any more in the tree at `root`, or None if it can."""
    path = root / mutation.file
    if not path.is_file():
        return "there is no such file"
    found = path.read_text(encoding="utf-8").count(mutation.old)
    if found != 1:
        return f"the old text occurs {found} times, not once"
    for test in mutation.tests:
        name, *function = test.split("::")
        place = root / "tests" / name
        if not place.is_file():
            return f"there is no test file {name}"
        text = place.read_text(encoding="utf-8")
        if function and f"def {function[0].partition('[')[0]}(" not in text:
            return f"there is no test {test}"
    return None
