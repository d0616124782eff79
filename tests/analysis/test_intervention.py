"""Named is the part without whose training the model would not overfit, and nobody else."""

import math

import pytest
import torch

from hybridlit.analysis.loss_change.intervention import Verdict, guilty_by_intervention


def losses(**means):
    """16 groups each; all of them differ among themselves as the rows of a probe do."""
    noise = torch.linspace(-1, 1, 16).double()
    return {
        None if part == "nothing" else part: mean + 0.5 * noise + 0.02 * noise.roll(number)
        for number, (part, mean) in enumerate(means.items())
    }


def named(found, lowest=0.7, matters=0.05, last=()):
    guilty = guilty_by_intervention(found, lowest, matters, last)
    return None if guilty is None else guilty[0]


def test_the_part_whose_freezing_helps_most_is_named():
    found = losses(nothing=2.0, front=0.7, photonic=1.2, head=0.9)
    part, gain = guilty_by_intervention(found, lowest=0.7, matters=0.05)
    assert part == "front" and gain.mean == pytest.approx(1.3, abs=1e-6)
    assert 1.2 < gain.low < gain.mean < gain.high < 1.4  # paired: the common spread cancels


@pytest.mark.parametrize(
    ("means", "why"),
    [
        (dict(nothing=2.0, front=0.8, head=0.82), "another would have helped as much"),
        (dict(nothing=2.0, front=0.84, head=0.8), "another would have helped more, but no clearly"),
        (dict(nothing=2.0, front=1.5, head=2.0), "most of the rise is left"),
        (dict(nothing=0.72, front=0.7, head=0.74), "there is no rise that matters"),
        (dict(nothing=0.72, front=0.4, head=0.7), "it would learn faster, but does not overfit"),
        (dict(nothing=2.0, front=2.0, head=2.0), "nothing helps"),
        (dict(nothing=math.nan, front=0.7, head=1.5), "the copy diverged"),
        (dict(nothing=2.0, front=0.7, head=math.nan), "what another would have done is unknown"),
    ],
)
def test_nobody_is_named_if(means, why):
    assert named(losses(**means)) is None, why


def test_a_difference_within_the_noise_of_rows_names_nobody():
    found = losses(nothing=2.0, front=0.7, head=1.5)
    found["front"] = found["front"] + 3 * torch.tensor([1.0, -1.0]).double().repeat(8)
    assert named(found) is None
    few = {part: values[:4] for part, values in losses(nothing=2.0, front=0.7, head=1.5).items()}
    assert named(few) is None


def test_a_fusion_is_named_last():
    """It trusts what overfits: frozen, it helps as much as the path that memorizes, or more."""
    shared = losses(nothing=2.0, path=0.9, other=2.0, fusion=0.7)
    assert named(shared, last=["fusion"]) == "path"
    assert named(shared) == "fusion"  # an ordinary part would be
    close = losses(nothing=2.0, path=0.7, other=2.0, fusion=0.71)
    assert named(close, last=["fusion"]) == "path"
    assert named(close) is None
    alone = losses(nothing=2.0, path=1.9, other=2.0, fusion=0.7)
    assert named(alone, last=["fusion"]) == "fusion"
    both = losses(nothing=2.0, path=1.0, other=1.0, fusion=0.98)
    assert named(both, last=["fusion"]) is None


def verdict(named=None, overfits=True):
    guilty = guilty_by_intervention(losses(nothing=2.0, front=0.7, head=1.5), 0.7, 0.05)
    return Verdict(
        named=named,
        overfits=overfits,
        start=10,
        steps=100,
        train={None: 0.1, "front": 0.6, "head": 0.2},
        val={None: 2.0, "front": 0.7, "head": 1.5},
        gain=guilty[1] if named else None,
    )


def test_the_verdict_says_what_was_measured():
    said = verdict("front").sentence()
    assert said.startswith(
        "front overfits: trained again from step 10 on for 100 steps, a copy ends with a "
        "validation loss of 0.7 if front is frozen, not 2 (difference 1.3, 95 % interval 1.29 to "
        "1.31; "
    )
    assert said.endswith("; training loss 0.6, not 0.1), and of 1.5 with head frozen")
    assert verdict().sentence() == (
        "the model overfits, and no single part is to blame: trained again from step 10 on for 100 "
        "steps, copies end with validation losses of 2 with nothing frozen, 0.7 with front frozen, "
        "1.5 with head frozen"
    )
    assert verdict(overfits=False).sentence() == (
        "the model overfits, and no part can be named: trained again from step 10 on for 100 "
        "steps, a copy does not overfit (its validation loss ends at 2)"
    )
