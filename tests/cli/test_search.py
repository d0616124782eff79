"""`hybridlit search`: from a recipe to a conclusion and a report."""

from pathlib import Path

import pytest
import yaml
from fake_trials import fake_train, recipe
from small_searches import a_final

from hybridlit.cli import main
from hybridlit.search import finals, study, summary, worker

JOURNAL = ["--storage", "journal:///study.journal"]  # quicker than a database


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """An own folder with a recipe, a formula in the place of each training, and no pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "train", fake_train)
    monkeypatch.setattr(summary, "add_pictures", lambda *given: None)
    monkeypatch.setattr(worker, "Judge", lambda *given: lambda changes: (None, None))
    monkeypatch.setattr(study, "note_speed", lambda *given: None)
    Path("small.yaml").write_text(yaml.safe_dump(recipe(trials=4)))


@pytest.fixture
def final(monkeypatch):
    """What the final was asked for, and a result that is none of it."""
    asked = []

    def train_finals(search, seeds, *, margin, run):
        asked.append((search.task.name, seeds))
        return a_final(0.8, 0.95)

    monkeypatch.setattr(summary, "train_finals", train_finals)
    return asked


def test_a_search_ends_with_a_conclusion_and_a_report(final, capsys):
    main(["search", "--config", "small.yaml", "--report", "found/report.html", "--seeds", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:4]] == [f"trial {n} of 4" for n in (1, 2, 3, 4)]
    assert lines[5].startswith("- The classical arm wins") and final == [("small", 3)]
    assert "Study: sqlite:///runs/search/small/study.db, named small" in lines
    assert "TensorBoard: tensorboard --logdir runs/search/small/trials" in lines
    assert lines[-1] == "found/report.html"
    page = Path("found/report.html").read_text()
    assert "hybridlit search --config=small.yaml --seeds=3 --report=found/report.html" in page
    assert len(list(Path("runs/search/small/trials").iterdir())) == 4


def test_a_further_worker_trains_no_final(final, capsys):
    main(["search", "--config", "small.yaml", "--trials_only", *JOURNAL])
    out = capsys.readouterr().out
    assert not final and "- Nothing is decided: the best trials were not trained again" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--report", "report.pdf"], "report must end in .html or .md, got 'report.pdf'"),
        (["--seeds", "1"], "seeds must be at least 2, got 1"),
        (["--cluster", "slrum"], "cluster must be one of ['slurm', 'local']"),
    ],
)
def test_what_the_end_could_not_do_is_refused_before_the_first_trial(options, said, capsys):
    with pytest.raises(SystemExit):
        main(["search", "--config", "small.yaml", *options])
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1
    assert "trial" not in captured.out


def test_an_interruption_of_the_final_keeps_the_trials(monkeypatch, capsys):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(finals, "train", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["search", "--config", "small.yaml", *JOURNAL])
    assert ended.value.code == 130
    assert "4 of 4 trials are done; the same command goes on." in capsys.readouterr().err


def test_one_training_of_the_recipe_ignores_the_search():
    main(["fit", "--config", "small.yaml", "--trainer.max_epochs=1"])
    [saved] = Path("runs", "small").glob("version_0/config.yaml")
    assert not {"search", "federated"} & set(yaml.safe_load(saved.read_text()))
