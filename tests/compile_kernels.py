"""Compile the machine code of the CPU kernels, for which the first tests that need it would wait.

python tests/compile_kernels.py
"""

import re
from pathlib import Path

from hybridlit.photonics.kernels.compiled import machine_code

SOURCE = Path(machine_code.__file__).parent / "source"
ENTRY_POINT = re.compile(r"^@entry_point\ndef (\w+)\(\s*(like\b)?", re.MULTILINE)


def entry_points():
    """Yield the name of each and the bytes of its numbers; those without `like` have one kind."""
    for path in sorted(SOURCE.glob("*.py")):
        for name, like in ENTRY_POINT.findall(path.read_text(encoding="utf-8")):
            yield from ((f"{path.stem}.{name}", size) for size in ((4, 8) if like else (8,)))


if __name__ == "__main__":
    for each in entry_points():
        machine_code.entry_point(*each)
