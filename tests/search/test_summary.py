"""The report of a search: tables and Optuna's plots in one file; a picture never ends it."""

import json
import re

import pytest

pytest.importorskip("optuna")
pytest.importorskip("matplotlib")

import matplotlib
from matplotlib import pyplot
from small_searches import a_final, a_search

from hybridlit.analysis.report import Report
from hybridlit.search.outcomes import outcomes
from hybridlit.search.pictures import _front
from hybridlit.search.summary import SearchSummary


@pytest.fixture
def captions(monkeypatch):
    """What figures show, without drawing them."""
    found = []
    monkeypatch.setattr(Report, "figure", lambda self, figure, caption: found.append(caption))
    return found


@pytest.mark.slow
def test_a_report_holds_everything_in_one_page(tmp_path):
    search = a_search(12, pruned=[3], failed=[4], refused=[6, 9])
    found = SearchSummary(search, a_final(0.8, 0.95))
    settings, figures = dict(matplotlib.rcParams), pyplot.get_fignums()
    (path,) = found.report("hybridlit search --config x.yaml").write(tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]{0,22})', page)
    # history; of each arm importances, parallel coordinates, slices and curves
    assert len(sources) == 1 + 2 * 4
    assert all(each.startswith("data:image/png;base64") for each in sources)
    assert "The classical arm wins" in page and "Not drawn" not in page
    assert page.count("memory: 3 GiB, and the budget allows 2 GiB") == 2
    assert page.count("ValueError: it diverged") == 2  # in the conclusion and the table
    assert "hybridlit search --config x.yaml" in page
    assert "classical better" in page and "0.8625" in page  # the score of trial 7
    assert dict(matplotlib.rcParams) == settings and pyplot.get_fignums() == figures


@pytest.mark.slow
def test_several_objectives_have_a_front(captions):
    search = a_search(10, objective=["score", "parameters"])
    text = str(SearchSummary(search).report())
    assert "## The Pareto front" in text and "Not drawn" not in text
    assert captions[0].startswith("Score and parameters of each trial")
    assert captions[2].startswith("The parameters of each trial")
    assert len(captions) == 3 + 2 * 3  # Optuna does not prune with several


@pytest.mark.parametrize("objective", ["score", ["score", "parameters"]])
def test_lines_are_the_darker_the_higher_their_score(objective, monkeypatch):
    found = {}
    monkeypatch.setattr(
        Report,
        "figure",
        lambda self, figure, caption: found.update({caption: figure.axes[0].collections}),
    )
    str(SearchSummary(a_search(10, objective=objective)).report())
    shades = [lines[0].get_cmap() for said, lines in found.items() if "the darker the" in said]
    assert len(shades) == 2
    assert all(sum(shade(1.0)[:3]) < sum(shade(0.0)[:3]) for shade in shades)


def test_a_front_against_a_cost_that_classical_models_do_not_have():
    search = a_search(10, objective=["score", "states"])
    trials = outcomes(search.study)
    assert _front(trials, "states").axes[0].get_xscale() == "log"
    photonless = [t._replace(cost={**t.cost, "states": 0}) for t in trials if t.number % 2 == 0]
    (axes,) = _front(trials[::2] + photonless, "states").axes
    assert axes.get_xscale() == "symlog"
    shown = [tuple(point) for each in axes.collections for point in each.get_offsets()]
    assert {x for x, _ in shown} == {0.0, 10.0}


def test_a_picture_that_cannot_be_drawn_is_told(monkeypatch, captions):
    from optuna.visualization import matplotlib as plots

    def broken(*given, **options):
        pyplot.figure()
        raise RuntimeError("no ink\nat all")

    monkeypatch.setattr(plots, "plot_slice", broken)
    figures = pyplot.get_fignums()
    text = str(SearchSummary(a_search(10), a_final(0.8, 0.95)).report())
    assert text.count("Not drawn: slices of the ") == 2 and "(no ink)" in text
    assert "The classical arm wins" in text and len(captions) == 1 + 2 * 3
    assert pyplot.get_fignums() == figures


def test_a_search_of_nothing_has_a_report(captions):
    text = str(SearchSummary(a_search(2, failed=[0, 1])).report())
    assert "Nothing is decided" in text and "2 trials failed" in text


def test_numbers_are_plain():
    found = SearchSummary(a_search(10, pruned=[3]), a_final(0.8, 0.95)).to_dict()
    again = json.loads(json.dumps(found))
    assert again["finals"]["arms"][1]["verdict"] == "hurts"
    assert [each["outcome"] for each in again["trials"]].count("pruned") == 1
    assert again["objectives"] == ["score"] and again["conclusion"].startswith("- The classical")
