"""The head of a report: the verdict, and what to do next, for findings made up for the purpose."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hybridlit.analysis.ablation.baselines import Baseline
from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.retrained import RetrainedArm
from hybridlit.analysis.scores import Score
from hybridlit.analysis.statistics import Interval
from hybridlit.callbacks.measuring.history import History
from hybridlit.cli.next_steps import Found, next_steps, verdict

CHECKPOINT, RECIPE = Path("run/checkpoints/last.ckpt"), Path("run/config.yaml")


def found(**changes):
    model = SimpleNamespace(hparams={"class_weights": None})
    return Found(model, None, CHECKPOINT, RECIPE, **changes)


def arm(name, word, reason=None, **changes):
    difference = None if word is None else Interval(0.1, 0.05, 0.15)
    return RetrainedArm(
        name,
        (0.9, 0.9),
        10,
        2,
        1.0,
        20,
        difference=difference,
        verdict=word,
        reason=reason,
        **changes,
    )


def study(*arms, baselines=()):
    hybrid = arm("hybrid", None, beats_constant=True)
    return AblationStudy(
        "Model", "acc", 0.01, (0, 1), False, 0.9, 100, (), (hybrid, *arms), {}, tuple(baselines)
    )


def left_out(why):
    return replace(study(), left_out={"untrained": "it is", "classical_only": why})


def rival(word):
    return Baseline("SVC", (0.9,), ("a",), 1.0, Interval(-0.1, -0.2, 0.0), 0.1, word)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (study(), "was not asked: nothing was trained without it"),
        (study(arm("untrained", "helps")), "was not asked"),
        (
            left_out("no time"),
            "nothing was trained without it: classical_only was left out (no time)",
        ),
        (study(arm("mlp", "helps"), arm("linear", "inconclusive")), "is open"),
        (study(arm("mlp", "neutral"), arm("linear", "helps")), "mlp did no worse without it"),
        (study(arm("mlp", "hurts"), arm("untrained", "helps")), "No need for the photonic part"),
        (study(arm("mlp", "helps"), arm("linear", "helps")), "better than mlp and linear."),
        (study(arm("mlp", "helps"), baselines=[rival("alike")]), "mlp, but not surely than SVC."),
        (study(arm("mlp", "helps"), baselines=[rival("model better")]), "better than mlp."),
    ],
)
def test_the_verdict_is_a_sentence(given, said):
    assert said in given.verdict and given.verdict.count(".") == 1


def test_nothing_learned_is_no_verdict():
    nothing = replace(study(), retrained=(arm("hybrid", None, beats_constant=False),))
    nothing = replace(
        nothing, retrained=(*nothing.retrained, arm("mlp", "inconclusive", beats_constant=False))
    )
    assert "no model that was trained again is surely better than a constant" in nothing.verdict


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (
            Score("accuracy", Interval(0.9, 0.8, 0.95), 40, 0.25),
            "**accuracy 0.900** on 40 test rows (95 % interval 0.800 to 0.950); a constant answer "
            "scores 0.250.",
        ),
        (
            Score("accuracy", Interval(0.3, 0.2, 0.4), 40, 0.25),
            "**accuracy 0.300** on 40 test rows (95 % interval 0.200 to 0.400); a constant answer "
            "scores 0.250, and these rows do not show that the model is better.",
        ),
        (
            Score("R2", Interval(0.4, -math.inf, math.inf), 3, -0.0001),
            "**R2 0.400** on 3 test rows, so few that they tell nothing; a constant answer scores "
            "0.000.",
        ),
        (
            Score("f", Interval(0.4, 0.1, math.inf), 3),
            "**f 0.400** on 3 test rows (95 % interval 0.100 or more).",
        ),
    ],
)
def test_the_score_stands_first(score, said):
    assert verdict(found(scores=[score])) == said


def test_a_model_without_a_score_has_a_reason():
    assert verdict(found()) == "It was not scored: there are no test rows."
    assert verdict(found(unscored="it diverged")) == "It was not scored: it diverged."


def test_what_is_left_to_do_if_nothing_is_wrong():
    use, tell = next_steps(found()).splitlines()
    assert "`hybridlit predict --ckpt=run/checkpoints/last.ckpt --input=rows.csv`" in use
    assert "`hybridlit card --ckpt=run/checkpoints/last.ckpt`" in tell


def history(*losses):
    steps = range(len(losses))
    return History(
        {
            "val/loss": [*zip(steps, losses, strict=True)],
            "epoch": [*zip(steps, steps, strict=True)],
        },
        {"overfit": ["The model overfits."]},
        [],
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"history": history(0.5, 0.4)},
            "hybridlit fit --config=run/config.yaml --trainer.max_epochs=4",
        ),
        ({"history": history(0.4, 0.5)}, "The model overfits."),
        (
            {"scores": [Score("accuracy", Interval(0.3, 0.2, 0.4), 40, 0.25)]},
            "hybridlit lr-find --ckpt=",
        ),
        ({"shares": {"a": 0.9, "b": 0.1}}, "Only 10.0% of the rows are of `b`"),
        ({"study": study()}, "hybridlit analyze --ckpt=run/checkpoints/last.ckpt`"),
        (
            {"scores": [Score("R2", Interval(0.4, -math.inf, math.inf), 3, 0.0)]},
            "Get more test rows: 3 are too few to score a model on.",
        ),
        ({"study": study(arm("mlp", "inconclusive"))}, "--seeds=5`"),
        ({"study": study(arm("mlp", "helps", improving=(True,)))}, "--max_epochs=40`"),
        (
            {"study": study(arm("mlp", "helps"), baselines=[rival("alike")])},
            "Take SVC for this task",
        ),
        ({"study": replace(study(), shared_rows=("3 rows are shared",))}, "3 rows are shared."),
        ({"doubts": SimpleNamespace(calibration_error=(0.2, 0.2))}, "hybridlit calibrate --ckpt="),
    ],
)
def test_each_finding_has_its_step(changes, said, monkeypatch):
    monkeypatch.setattr("hybridlit.cli.next_steps.read_checkpoint", lambda path: {"epoch": 0})
    steps = next_steps(found(**changes))
    assert said in steps and steps.endswith(next_steps(found()))
    assert said not in next_steps(found())


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        # all of the interval of 0.5 to either side is of the seeds, as far as they differ
        ((0.9, 0.7), "Compare more seeds, to decide what is open of mlp: `{again} --seeds=5`"),
        ((0.8, 0.8), "Get more test rows, to decide what is open of mlp: 100 alone leave ±0.500,"),
    ],
)
def test_more_seeds_are_advised_only_where_they_can_decide(scores, said):
    """An interval of 2 seeds of which one is worse by 0.2 is 12.7 x 0.1 to either side."""
    half = 1.2706 if scores[0] != scores[1] else 0.5
    found_of_it = Interval(0.1, 0.1 - half, 0.1 + half)
    open_arm = replace(arm("mlp", "inconclusive"), scores=scores, difference=found_of_it)
    options = {"arms": "--arms=[mlp]", "max_epochs": "--max_epochs=7", "out": "--out=a.md"}
    steps = next_steps(found(study=study(open_arm), options=options))
    again = f"hybridlit analyze --ckpt={CHECKPOINT} '--arms=[mlp]' --max_epochs=7 --out=a.md"
    assert said.format(again=again) in steps
    others = "`hybridlit compare run/config.yaml '--arms=[mlp]' --epochs=7`"
    assert (others in steps) == ("test rows" in said) and ("--seeds" in steps) != (others in steps)


def test_what_the_user_gave_is_kept_and_what_is_advised_takes_its_place():
    given = {"retrain": "--retrain=false", "seeds": "--seeds=2", "max_epochs": "--max_epochs=3"}
    steps = next_steps(found(study=study(), options=given))
    assert f"`hybridlit analyze --ckpt={CHECKPOINT} --seeds=2 --max_epochs=3`" in steps
    none = found(study=study(), options={"arms": "--arms=[classical_only]"})  # of such a chain
    assert f"`hybridlit analyze --ckpt={CHECKPOINT}`" in next_steps(none)
    short = study(arm("mlp", "helps", improving=(True,)))
    steps = next_steps(found(study=short, options={**given, "margin": "--margin=0.1"}))
    assert "--seeds=2 --max_epochs=40 --margin=0.1`" in steps and "--max_epochs=3" not in steps


def test_the_best_checkpoint_is_named_if_this_one_is_later(monkeypatch):
    for epoch, named in ((1, True), (0, False)):
        monkeypatch.setattr(
            "hybridlit.cli.next_steps.read_checkpoint", lambda path, done=epoch: {"epoch": done}
        )
        steps = next_steps(found(history=history(0.4, 0.5), options={"seeds": "--seeds=2"}))
        assert ("Take the checkpoint of epoch 1" in steps) is named
        assert ("`hybridlit analyze --ckpt=best --seeds=2` is of the best" in steps) is named


def test_what_holds_needs_no_step():
    fine = [
        {"shares": {"a": 0.6, "b": 0.4}},
        {"doubts": SimpleNamespace(calibration_error=(0.2, 0.01))},
        {
            "doubts": SimpleNamespace(calibration_error=(0.14, 0.14)),  # by chance, of 64 rows
            "scores": [Score("accuracy", Interval(0.8, 0.7, 0.9), 64, 0.5)],
        },
        {"scores": [Score("R2", Interval(0.5, 0.4, 0.6), 9, 0.0)]},
        {"scores": [Score("f1", Interval(0.5, math.nan, math.nan), 9)]},
        {"study": study(arm("mlp", "helps"), baselines=[rival("model better")])},
    ]
    for changes in fine:
        assert next_steps(found(**changes)) == next_steps(found())
