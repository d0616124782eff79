"""Numbers in texts are those of the results that their commands have left."""

import functools
import importlib
import json
import re

import pytest
from pages import ROOT

BENCHMARKS = ROOT / "recipes" / "benchmarks"


@functools.cache
def result(name):
    return json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))


def claim(name, number):
    return result("claims")[name]["found"][number]


def ratio(name, what, **point):
    """Of two that were timed in turns, at a point of a grid."""
    (found,) = (each for each in result(name)["points"] if point.items() <= each.items())
    times = found.get("times", found)
    return times.get(what, times)["ratio"]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


CHANGES, TEMPLATES = "CHANGELOG.md", "hybridlit/templates/README.md"
LAYERS, NOISE = "hybridlit/photonics/README.md", "hybridlit/photonics/noise/README.md"
BOTH = "forward+backward"
TINY = {"modes": 4, "photons": 2, "batch": 64}
LOSSY = {"noise": "loss and indistinguishability", "point": "8,4,16"}
G2 = {"noise": "g2", "point": "6,3,16"}

SAID = [  # a text, the words around a number, and what was found
    (LAYERS, "layer are {} times as fast", lambda: result("merlin")["geometric_means"][BOTH]),
    (LAYERS, "JAX takes {} times as long", lambda: ratio("piquasso", BOTH, **TINY)),
    (LAYERS, "other physics, {} times as", lambda: ratio("pennylane-jax", BOTH, **TINY)),
    (NOISE, "batch 16 take {} times the", lambda: 1 / ratio("noise", "gradients, ideal", **LOSSY)),
    (NOISE, "1/{} of MerLin's", lambda: ratio("noise", "gradients, merlin", **LOSSY)),
    (NOISE, "(6, 3, 16) 1/{} (", lambda: ratio("noise", "gradients, merlin", **G2)),
    (NOISE, "at (8, 4): 1/{}\n", lambda: ratio("shots", "", point="8,4,64")),
    (TEMPLATES, "here from\n  {} to", lambda: claim("checkpoint", "peak_mib_without")),
    (TEMPLATES, "to {} MiB; the compiled", lambda: claim("checkpoint", "peak_mib_with")),
    (TEMPLATES, "with 4 layers takes {} times", lambda: claim("bank", "ratio")),
    (CHANGES, "backward takes {} times a", lambda: claim("curvature", "second_to_first_order")),
    (CHANGES, "operations {} times\n", lambda: claim("curvature", "in_torch_to_compiled")),
    (CHANGES, "16 rows costs {}\n", lambda: claim("wide", "(200, 2, 16)_to_(128, 2, 16)")),
]


@pytest.mark.parametrize(("name", "words", "found"), SAID, ids=[words for _, words, _ in SAID])
def test_what_is_said_was_found(name, words, found):
    """To the last digit that is given; of thousands, to a hundredth."""
    (said,) = re.findall(re.escape(words).replace(r"\{\}", r"([\d,.]*\d)"), text_of(name))
    half = 0.501 / 10 ** len(said.partition(".")[2])
    assert float(said.replace(",", "")) == pytest.approx(found(), abs=half, rel=5e-3)


def test_learning_rates_are_those_that_were_found():
    text = text_of("hybridlit/templates/TRAINING.md")
    for recipe, found in result("claims")["rates"]["found"].items():
        (row,) = re.findall(rf"^\| `{recipe}` \|(.*)\|$", text, flags=re.MULTILINE)
        given, suggested, *losses = (cell.strip() for cell in row.split("|"))
        assert [*map(float, given.split(","))] == [*found["given"].values()]
        rounded = [float(f"{rate:.2g}") for rate in found["suggested"].values()]
        assert [*map(float, suggested.split(","))] == rounded
        assert losses == [f"{found['losses'][at]:.3f}" for at in ("default", "recipe", "suggested")]


def test_callbacks_cost_what_was_found(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    table = importlib.import_module("callbacks").table
    assert table(result("callbacks_digits_sequential")["arms"]) in text_of(
        "hybridlit/callbacks/README.md"
    )


def test_recipes_score_what_was_found():
    compared = (ROOT / "recipes" / "results" / "compare" / "summary.md").read_text(encoding="utf-8")
    assert compared in text_of("recipes/README.md")
