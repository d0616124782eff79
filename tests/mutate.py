"""Do the tests notice? Breaks the package in one place after another and runs the tests.

    python tests/mutate.py [--list] [--only SUBSTRING] [--jobs 1]

Each mutation of `tests/mutations/` is made in a copy of the tree, and the tests that should notice
run there. It is `killed` if one of them fails or does not end, `alive` if all pass, and an `error`
if they could not even run. Exit code 1 if more than 5 % live, or anything could not be tried.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from mutations import Mutation, all_mutations, fault_of

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
TOLERATED = 0.05  # share of mutations that may live
TIME_LIMIT = 300.0  # seconds that the tests of one mutation may take
TIME_LIMIT_OF_ALL = 3600.0  # seconds that all tests together may take, without mutations
PASSED, FAILED = 0, 1  # exit codes of pytest; others say that it could not run the tests

# Every run is a fork of a process that has imported what takes seconds, but nothing of the package.
METHODS = multiprocessing.get_all_start_methods()
PROCESSES = multiprocessing.get_context("forkserver" if "forkserver" in METHODS else "spawn")
IMPORTED = ["torch.utils.tensorboard", "lightning.pytorch", "torchmetrics", "scipy.stats", "pytest"]


class Outcome(NamedTuple):
    mutation: Mutation
    word: str  # killed, alive, stale or error
    remark: str = ""


def copy_of_tree(root: Path, folder: Path) -> Path:
    """Copy what the tests need into a new folder."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("hybridlit", "tests", "recipes"):
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=ignored)
    for file in (*root.glob("*.toml"), *root.glob("*.md")):
        shutil.copy(file, folder)
    return folder


def run_tests(tree: Path, tests: tuple[str, ...], time_limit: float) -> tuple[int | None, str]:
    """Run tests of a tree on its own package; return pytest's exit code, None if it took too long,
    and the end of what it wrote."""
    log = tree / "log.txt"
    process = PROCESSES.Process(target=_run_pytest, args=(str(tree), tests, str(log)))
    process.start()
    process.join(time_limit)
    ended = process.exitcode is not None
    process.kill()
    process.join()
    output = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    return (process.exitcode, output) if ended else (None, f"more than {time_limit:g} s")


def _run_pytest(tree: str, tests: tuple[str, ...], log: str) -> None:
    """What the process of one run does."""
    import pytest

    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    sys.path[:] = [tree, *(path for path in sys.path if Path(path or ".").resolve() != TESTS)]
    os.environ["PYTHONPATH"] = tree
    # of its own; keyed by the source, so that mutated kernels are compiled anew
    os.environ["HYBRIDLIT_CACHE_DIR"] = os.path.join(tree, ".machine_code")
    # a file changed twice within a second has the time stamp of its old bytecode
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    paths = [f"tests/{test}" for test in tests]
    arguments = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "-m", "slow or not slow", *paths]
    code = int(pytest.main(arguments))
    sys.stdout.flush()
    os._exit(code)  # not by way of whatever the tests have left to be done at the end


def tried(mutation: Mutation, tree: Path) -> Outcome:
    """Make a mutation in a tree, run its tests, and take it back."""
    fault = fault_of(mutation, tree)
    if fault is not None:
        return Outcome(mutation, "stale", fault)
    file = tree / mutation.file
    original = file.read_text(encoding="utf-8")
    file.write_text(mutation.of(original), encoding="utf-8")
    try:
        code, output = run_tests(tree, mutation.tests, TIME_LIMIT)
    finally:
        file.write_text(original, encoding="utf-8")
    if code is None or code == FAILED:
        return Outcome(mutation, "killed", output if code is None else "")
    return Outcome(mutation, "alive" if code == PASSED else "error", output)


def try_all(mutations: list[Mutation], root: Path, jobs: int) -> list[Outcome]:
    """Try mutations in `jobs` copies of a tree, and say how each of them ends."""
    with tempfile.TemporaryDirectory(prefix="mutations_") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            (place := Path(folder) / str(number)).mkdir()
            trees.put(copy_of_tree(root, place))

        def attempt(mutation: Mutation) -> Outcome:
            tree = trees.get()
            try:
                outcome = tried(mutation, tree)
            finally:
                trees.put(tree)
            print(f"{outcome.word:7} {named(mutation)}", flush=True)
            return outcome

        tree = trees.get()
        tests = tuple(sorted({test for mutation in mutations for test in mutation.tests}))
        print(f"{len(mutations)} mutations; their tests without any of them:", flush=True)
        code, output = run_tests(tree, tests, TIME_LIMIT_OF_ALL)
        trees.put(tree)
        if code != PASSED:
            raise SystemExit(f"the tests do not pass without any mutation:\n{output}")
        print(output.splitlines()[-1], flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(attempt, mutations))


def named(mutation: Mutation) -> str:
    file = mutation.file.removeprefix("hybridlit/")
    return f"{file}: {mutation.why}: {mutation.old.strip()!r} -> {mutation.new.strip()!r}"


def summary(outcomes: list[Outcome]) -> str:
    """A table of outcomes by folder, and what lives or could not be tried."""
    words = ("killed", "alive", "stale", "error")
    counts = Counter((outcome.mutation.file.split("/")[1], outcome.word) for outcome in outcomes)
    folders = sorted({folder for folder, _ in counts})
    lines = ["", f"{'':10}" + "".join(f"{word:>8}" for word in words)]
    for folder in folders:
        lines.append(f"{folder:10}" + "".join(f"{counts[folder, word]:8}" for word in words))
    totals = [sum(counts[folder, word] for folder in folders) for word in words]
    lines.append(f"{'all':10}" + "".join(f"{total:8}" for total in totals))
    for outcome in outcomes:
        if outcome.word != "killed":
            lines += ["", f"{outcome.word}: {named(outcome.mutation)}"]
            lines.append(f"  tests: {' '.join(outcome.mutation.tests)}")
            if outcome.word != "alive":
                lines.append(f"  {outcome.remark}")
    return "\n".join(lines)


def verdict(outcomes: list[Outcome]) -> int:
    """Exit code: 0 if all could be tried and few enough live."""
    words = Counter(outcome.word for outcome in outcomes)
    untried = words["stale"] + words["error"]
    return int(untried > 0 or words["alive"] > TOLERATED * len(outcomes))


def main() -> int:
    os.environ.update({"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"})
    if "forkserver" in METHODS:
        PROCESSES.set_forkserver_preload(IMPORTED)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--only", default="", help="only mutations whose description has this")
    parser.add_argument("--jobs", type=int, default=1, help="how many to try at a time")
    arguments = parser.parse_args()
    chosen = [mutation for mutation in all_mutations() if arguments.only in named(mutation)]
    if not chosen:
        parser.error(f"no mutation has {arguments.only!r} in its description")
    if arguments.list:
        print("\n".join(map(named, chosen)))
        return 0
    outcomes = try_all(chosen, ROOT, max(1, arguments.jobs))
    print(summary(outcomes))
    return verdict(outcomes)


if __name__ == "__main__":
    sys.exit(main())
