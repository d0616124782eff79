"""Run papers, and print what they give beside how long that took and how much code it is.

OMP_NUM_THREADS=1 python recipes/papers/run.py                       # all, of three seeds each
OMP_NUM_THREADS=1 python recipes/papers/run.py qorc qlstm --seeds 5
"""

import argparse
import ast
import logging
import runpy
import time
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PAPERS = sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__))


def lines_of_code(path: Path) -> int:
    text = path.read_text()
    docstring = ast.parse(text).body[0].end_lineno or 0
    return sum(bool(line.strip()) for line in text.splitlines()[docstring:])


def run(paper: str, seeds: int) -> str:
    main = runpy.run_path(str(HERE / f"{paper}.py"))["main"]
    begin = time.process_time()
    with redirect_stdout(StringIO()):  # of Lightning
        runs = [main(seed=seed) for seed in range(seeds)]
    seconds = (time.process_time() - begin) / seeds
    lines = lines_of_code(HERE / f"{paper}.py")
    rows = []
    for figure in dict.fromkeys(name for one in runs for name in one):
        values = np.array([one[figure] for one in runs if figure in one])
        spread = f" ({values.min():.3g} to {values.max():.3g})" if len(values) > 1 else ""
        missing = f", {seeds - len(values)} without" if len(values) < seeds else ""
        mean = f"{values.mean():.3g}{spread}{missing}"
        rows.append(f"| `{paper}` | {figure} | {mean} | {seconds:.0f} | {lines} |")
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("papers", nargs="*", default=[], choices=[*PAPERS, []])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print("| recipe | figure | mean (least to most) | seconds of a core | lines |")
    print("|---|---|---|---|---|")
    for paper in arguments.papers or PAPERS:
        print(run(paper, arguments.seeds), flush=True)
