"""Every key that a run logs: for the callbacks, the charts of TensorBoard and the README.

Templates write theirs themselves, since they stand before this room; a test compares the two.
"""

from __future__ import annotations

import re
from enum import Enum

from hybridlit.templates.metrics import METRICS

__all__ = ["PLACES", "LogKey"]

PLACES = {
    "stage": "(train|val|test|best|constant)",
    "component": "(classical|photonic|other)",
    "metric": r"\w+",
    "score": f"({'|'.join(METRICS)})",
    "loader": "[^/]+",
    "module": ".+",
    "optimizer": r"\w+",
    "part": "[^/]+",
    "path": "[^/]+",
    "picture": r"\w+",
}
"""Regular expressions of what stands for `<place>` in a key."""

_DETECTOR, _MONITOR = "OverfittingDetector", "GradientImbalanceMonitor"
_PRECISION, _SPARING = "MixedPrecision", "ActivationCheckpointing"
_PROFILER, _INSPECTOR = "ComponentProfiler", "PhotonicInspector"
_BALANCE, _OVERFITTING, _PROFILE = "Balance", "Overfitting", "Profile"
_PARTS, _OGR = "what each part does to the validation loss", "overfitting-to-generalization ratio"
_KEPT = "bytes kept for the backward pass"


class LogKey(Enum):
    """What is logged: the key, who writes it, and the group and title of the chart that shows it.

    Calling a member gives the key, with a name in its place if it has one.

    Example:
        >>> LogKey.GAP(), LogKey.PART_VAL("fusion")
        ('overfit/gap', 'overfit/fusion_val')
    """

    LOSS = "<stage>/loss", "templates"
    METRIC = "<stage>/<score>", "templates"
    OF_LOADER = "<stage>/<metric>/<loader>", "templates"
    RATE = "lr-<optimizer>/<component>", "LearningRateMonitor"
    EPOCH = "epoch", "Lightning"

    RATIO = "grad/ratio", _MONITOR, _BALANCE, "gradient of photonic / classical"
    RATIO_SMOOTH = "grad/ratio_smooth", _MONITOR, _BALANCE, "gradient of photonic / classical"
    NORM = "grad/<component>_norm", _MONITOR
    RMS = "grad/<component>_rms", _MONITOR, _BALANCE, "gradient of each component"
    UPDATE = "update/<component>", _MONITOR, _BALANCE, "update of each component"
    UPDATE_SMOOTH = "update/ratio_smooth", _MONITOR, _BALANCE, "update of photonic / classical"
    REBALANCE = "update/rebalance", _MONITOR, _BALANCE, "update of photonic / classical"
    WEIGHT = "fusion/weight_<path>", "templates", _BALANCE, "weights of the fusion"
    STAGE = "train/stage", "StagedTraining", _BALANCE, "what is trained"
    PHASE = "train/phase", "AlternatingTraining", _BALANCE, "what is trained"

    GAP = "overfit/gap", _DETECTOR, _OVERFITTING, "gap"
    PROBE_TRAIN = "overfit/train", _DETECTOR, _OVERFITTING, "loss on the probes"
    PROBE_VAL = "overfit/val", _DETECTOR, _OVERFITTING, "loss on the probes"
    GAP_RATIO = "overfit/ratio", _DETECTOR
    TREND = "overfit/trend", _DETECTOR
    ALARM = "overfit/alarm", _DETECTOR
    GAP_WITHOUT = "overfit/<part>_gap_without", _DETECTOR, _OVERFITTING, "gap without a part"
    PART_TRAIN = "overfit/<part>_train", _DETECTOR
    PART_VAL = "overfit/<part>_val", _DETECTOR, _OVERFITTING, _PARTS
    PART_VAL_LOW = "overfit/<part>_val_low", _DETECTOR
    PART_OGR = "overfit/<part>_ogr", _DETECTOR, _OVERFITTING, _OGR
    FOUND = "overfit", _DETECTOR

    DRIFT = "precision/probability_drift", _PRECISION, "Precision", "drift of probabilities"
    SHADOW = "precision/shadow_error", _PRECISION, "Precision", "error against float64"
    LOSS_SCALE = "precision/loss_scale", _PRECISION, "Precision", "loss scale"
    SKIPPED = "precision/skipped_steps", _PRECISION, "Precision", "skipped steps"

    SHARE = "profile/<component>_share", _PROFILER, _PROFILE, "share of each component in the time"
    PART_SHARE = "profile/<part>_share", _PROFILER
    FORWARD = "profile/<part>_forward_ms", _PROFILER, _PROFILE, "milliseconds"
    BACKWARD = "profile/<part>_backward_ms", _PROFILER, _PROFILE, "milliseconds"
    STEP = "profile/step_ms", _PROFILER, _PROFILE, "milliseconds"
    TABLE = "profile", _PROFILER
    KEPT = "checkpointing/kept_bytes", _SPARING, _PROFILE, _KEPT
    SAVED = "checkpointing/saved_bytes", _SPARING, _PROFILE, _KEPT

    FIRST_LOSS = "Loss/<stage>", "TensorBoardLayout"
    FIRST_SCORE = "Score/<metric>_<stage>", "TensorBoardLayout"
    STORY = "In short/<picture>", "TensorBoardLayout"
    IN_SHORT = "In short", "TensorBoardLayout"
    EVALUATION = "Score/<picture>_<stage>", "EvaluationPictures"
    SCORE = "hp/<metric>", "TensorBoardLayout"
    CIRCUIT = "photonics/<module>", _INSPECTOR
    PICTURE = "photonics/<module>/<picture>", _INSPECTOR

    writer: str
    chart: tuple[str, str] | None

    def __new__(cls, key: str, writer: str, group: str = "", title: str = "") -> LogKey:
        """Let the key be the member's value."""
        member = object.__new__(cls)
        member._value_, member.writer = key, writer
        member.chart = (group, title) if group else None
        return member

    def __call__(self, *names: str) -> str:
        """Return the key with names in its places."""
        text, given = str(self.value), iter(names)
        if len(names) != text.count("<"):
            raise TypeError(f"{text} has places for {text.count('<')} names, got {names}")
        return re.sub(r"<\w+>", lambda _: next(given), text)

    @property
    def pattern(self) -> str:
        """A regular expression of all keys that it stands for."""
        return re.sub(r"<(\w+)>", lambda place: PLACES[place[1]], str(self.value))
