"""Random rules of post-selection, with what they mean in plain Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from random import Random

_COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONNECTIVES = {
    "&": (("&", "and", "AND"), lambda values: all(values)),
    "|": (("|", "or", "OR"), lambda values: any(values)),
    "^": (("^", "xor", "XOR"), lambda values: sum(values) % 2 == 1),
}

Kept = Callable[[Sequence[int]], bool]


def _condition(rng: Random, modes: int, photons: int) -> tuple[str, Kept]:
    where = rng.sample(range(modes), rng.randint(1, min(3, modes)))
    sign, number = rng.choice(list(_COMPARISONS)), rng.randint(0, max(1, photons - 1))
    space = rng.choice(["", " "])
    text = f"[{f',{space}'.join(map(str, where))}]{space}{sign}{space}{number}"
    return text, lambda state: _COMPARISONS[sign](sum(state[mode] for mode in where), number)


def _is_condition(text: str) -> bool:
    return text[0] == "[" and not any(sign in text for sign in "&|^aoxAOX")


def random_rule(rng: Random, modes: int, photons: int, depth: int = 2) -> tuple[str, Kept]:
    """Return a rule in Perceval's syntax, and whether a state is kept, from the definitions."""
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return _condition(rng, modes, photons)
    if kind < 0.45:
        text, kept = random_rule(rng, modes, photons, depth - 1)
        return f"{rng.choice(['!', 'NOT '])}({text})", lambda state: not kept(state)
    names, join = _CONNECTIVES[rng.choice(list(_CONNECTIVES))]
    parts = [random_rule(rng, modes, photons, depth - 1) for _ in range(rng.randint(2, 3))]
    texts = [text if _is_condition(text) else f"({text})" for text, _ in parts]
    joined = rng.choice([f" {name} " for name in names])
    return joined.join(texts), lambda state: join([kept(state) for _, kept in parts])
