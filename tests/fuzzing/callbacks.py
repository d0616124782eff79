"""Cases of the callbacks' constructors: what is right is kept, what is wrong is refused."""

from __future__ import annotations

from random import Random

from lightning.pytorch import Callback

from fuzzing.judging import Case
from fuzzing.oracles import require
from fuzzing.templates import STAGE
from fuzzing.values import Values, drawn, flag, one_of, or_none, real, several, whole
from hybridlit import (
    ActivationCheckpointing,
    AlternatingTraining,
    ComponentProfiler,
    EvaluationPictures,
    GradientImbalanceMonitor,
    HybridCheckpoint,
    MixedPrecision,
    OverfittingDetector,
    PhotonicInspector,
    StagedTraining,
    WarmStart,
)

__all__ = ["KINDS"]

STEPS = whole(1, 500)
NAME = Values(lambda rng: rng.choice(["photonic", "classical", "quantum_layer"]), (3, True, None))
PATHS = Values(
    lambda rng: {"photonic": "photonic.pt"}, ({}, {"photonic": 3}, {1: "a"}, "photonic.pt", None)
)

ARGUMENTS = {
    ActivationCheckpointing: {
        "components": several(NAME),
        "min_saved_mib": real(0.0, 100.0, (-1.0,)),
    },
    AlternatingTraining: {"classical_steps": STEPS, "quantum_steps": STEPS},
    ComponentProfiler: {
        "epochs": or_none(several(whole(0, 50), least=0)),
        "every_n_steps": or_none(STEPS),
        "steps": STEPS,
        "warmup": whole(0, 10),
        "trace": flag(),
    },
    EvaluationPictures: {"every_n_epochs": or_none(STEPS), "max_rows": STEPS},
    GradientImbalanceMonitor: {
        "high": real(50.0, 200.0, (0.01, -1.0)),
        "low": real(0.001, 0.1, (0.0, -1.0)),
        "every_n_steps": STEPS,
        "smoothing": real(0.0, 0.99, (1.0, -0.1)),
        "patience": STEPS,
        "action": one_of("warn", "rebalance"),
        "max_rebalance": real(2.0, 20.0, (1.0, 0.5)),
        "update_low": real(0.001, 0.01, (0.0, -1.0)),
        "update_high": real(0.1, 1.0, (0.0,)),
    },
    HybridCheckpoint: {
        "monitor": Values(lambda rng: "val/acc", (3, None, ["val/loss"])),
        "mode": one_of("min", "max"),
        "save_top_k": whole(0, 5),
        "save_last": flag(),
        "last_share": or_none(real(0.0, 0.9, (1.0, -0.1))),
        "every_n_steps": or_none(STEPS),
        "keep": STEPS,
        "on_exception": flag(),
    },
    MixedPrecision: {
        "core": or_none(one_of("float32", "float64")),
        "every_n_steps": or_none(STEPS),
        "tolerance": real(1e-6, 1.0, (0.0, -1.0)),
        "shadow_tolerance": real(1e-6, 1.0, (0.0, -1.0)),
        "on_drift": one_of("warn", "stop"),
    },
    OverfittingDetector: {
        "threshold": real(1.0, 3.0, (0.5, -1.0)),
        "by": one_of("part", "component"),
        "action": one_of("warn", "freeze"),
        "every_n_steps": STEPS,
        "probe_batches": STEPS,
        "window": whole(2, 9),
        "min_cost": real(0.0, 0.5, (-0.1,)),
    },
    PhotonicInspector: {
        "epochs": or_none(several(whole(0, 50), least=0)),
        "every_n_epochs": or_none(STEPS),
        "max_samples": STEPS,
        "max_circuits": STEPS,
        "save": Values(lambda rng: rng.choice([None, True, False]), ("yes", 1, 0, 1.0, [])),
    },
    StagedTraining: {"stages": several(STAGE)},
    WarmStart: {"components": PATHS},
}


def callback(rng: Random) -> Case:
    """A callback."""
    cls = rng.choice(list(ARGUMENTS))
    values = ARGUMENTS[cls]
    needed = tuple(values) if cls in (StagedTraining, WarmStart) else ()
    given, wrong = drawn(rng, values, needed, 0.5, 0.5)

    def check(made: Callback) -> None:
        for name, value in given.items():
            if name not in ("stages", "tolerance", "shadow_tolerance"):
                kept = getattr(made, name, value)
                require(callable(kept) or kept == value, f"{name}={value!r} is kept as {kept!r}")

    return Case(cls.__name__, given, values, lambda: cls(**given), check, wrong)


KINDS = {callback: 6}
