"""Writes the table in recipes/README.md: recipes against their twins, by `hybridlit compare`.

OMP_NUM_THREADS=1 python recipes/compare.py --seeds 5 --jobs 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hybridlit.cli.compare import compare

HERE = Path(__file__).parent
BEGIN, END = "<!-- compare.py writes from here -->", "<!-- to here -->"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm, at least 2")
    parser.add_argument("--jobs", type=int, default=1, help="processes; seconds are those of one")
    parser.add_argument("--epochs", type=int, help="instead of the recipes', for every arm")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "compare")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    options = parser.parse_args(arguments)
    text = options.readme.read_text()
    if not (BEGIN in text and END in text):
        parser.error(
            f"{options.readme} lacks the lines between which the table goes: {BEGIN} {END}"
        )
    recipes = [str(path) for path in models()]
    compare(recipes, options.seeds, options.jobs, epochs=options.epochs, out=str(options.out))
    table = (options.out / "summary.md").read_text()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    options.readme.write_text(f"{before}{BEGIN}\n{table}{END}{after}")


def models() -> list[Path]:
    """Return the recipes that are there for their model, not for what else a run can have."""
    texts = {path: path.read_text() for path in sorted(HERE.glob("*.yaml"))}
    others = ("callbacks:", "ImageFolderDataModule", "MultiModalDataModule", "metrics:")
    others += ("path_dropout:", "gate_epochs:", "search:", "federated:")
    others += ("ChipTwin", " circuit:", "noise:")
    return [path for path, text in texts.items() if not any(each in text for each in others)]


if __name__ == "__main__":
    main()
