"""Random configurations, right and wrong: is anything silently wrong?

    python tests/fuzz.py [--cases 10000] [--seed 0] [--case N] [--kind SUBSTRING]

Each case, drawn from the seed and its number alone, tries something with arguments that are
plausible, at the edge or wrong. It must be refused, by a ValueError, TypeError, MemoryError or
OSError that names an argument, or give results that pass the checks in `tests/fuzzing/`. Exit code
1 if a case is silently wrong, takes 20 s, drops a feature or raises anything else.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from random import Random

import numpy as np
import torch
from fuzzing import (
    blocks,
    callbacks,
    chips,
    circuits,
    components,
    data,
    spaces,
    states,
    tables,
    templates,
)
from fuzzing.judging import FAULTS, OK, REFUSED, Case, Outcome, judged

MODULES = (circuits, components, spaces, states, templates, chips, blocks, data, tables, callbacks)
KINDS = {kind: weight for module in MODULES for kind, weight in module.KINDS.items()}


def case_of(seed: int, number: int) -> Case:
    """Draw a case; all random numbers that it uses later on are the same as well."""
    rng = Random(f"{seed}:{number}")
    torch.manual_seed(rng.randrange(2**63))
    np.random.seed(rng.randrange(2**32))
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    return kind(rng)


def outcomes(
    seed: int, numbers: Iterable[int], kind: str = ""
) -> Iterator[tuple[int, Case, Outcome]]:
    """Try cases of a kind, and say which, and how they end."""
    for number in numbers:
        case = case_of(seed, number)
        if kind in case.kind:
            yield number, case, judged(case)


def report(number: int, seed: int, case: Case, outcome: Outcome) -> str:
    return (
        f"{outcome.word}: {outcome.remark}\n  {case}\n"
        f"  python tests/fuzz.py --seed {seed} --case {number}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="how many cases")
    parser.add_argument("--seed", type=int, default=0, help="what they are drawn from")
    parser.add_argument("--case", type=int, help="only this one, in any case with its outcome")
    parser.add_argument("--kind", default="", help="only what has this in its name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    start, seed = time.process_time(), arguments.seed
    numbers = range(arguments.cases) if arguments.case is None else [arguments.case]
    counts: Counter[str] = Counter()
    of_kind: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for number, case, outcome in outcomes(seed, numbers, arguments.kind):
        counts[outcome.word] += 1
        of_kind[case.kind][outcome.word] += 1
        if outcome.word in FAULTS or arguments.case is not None:
            print(report(number, seed, case, outcome), flush=True)
    words = (OK, REFUSED, *FAULTS)
    print(f"{'':28}" + "".join(f"{word:>18}" for word in words))
    for kind, own in sorted(of_kind.items()):
        print(f"{kind:28}" + "".join(f"{own[word]:18}" for word in words))
    print(f"{'all':28}" + "".join(f"{counts[word]:18}" for word in words))
    print(f"{sum(counts.values())} cases, {time.process_time() - start:.0f} s of processor time")
    return int(any(counts[word] for word in FAULTS))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
