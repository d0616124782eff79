"""Models and layers on the local simulators and remote processors of Perceval."""

from hybridlit.interop.processors.estimate import Estimate
from hybridlit.interop.processors.evaluation import (
    Evaluation,
    OnProcessor,
    evaluate,
    on_processor,
)
from hybridlit.interop.processors.hardware import HardwareLayer

__all__ = ["Estimate", "Evaluation", "HardwareLayer", "OnProcessor", "evaluate", "on_processor"]
