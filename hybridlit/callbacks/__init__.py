"""Lightning callbacks that watch and steer the two components of a hybrid model."""

from hybridlit.callbacks.activation_checkpointing import ActivationCheckpointing
from hybridlit.callbacks.alternating import AlternatingTraining
from hybridlit.callbacks.component_profiler import ComponentProfiler
from hybridlit.callbacks.evaluation_pictures import EvaluationPictures
from hybridlit.callbacks.gradient_imbalance import GradientImbalanceMonitor
from hybridlit.callbacks.mixed_precision import MixedPrecision
from hybridlit.callbacks.overfitting import OverfittingDetector
from hybridlit.callbacks.photonic_inspector import PhotonicInspector
from hybridlit.callbacks.tensorboard_layout import TensorBoardLayout
from hybridlit.callbacks.warm_start import WarmStart, export_component, warm_start
from hybridlit.resume.checkpoint import HybridCheckpoint
from hybridlit.resume.exact_resume import ExactResume
from hybridlit.resume.folder import newest_checkpoint

__all__ = [
    "ActivationCheckpointing",
    "AlternatingTraining",
    "ComponentProfiler",
    "EvaluationPictures",
    "ExactResume",
    "GradientImbalanceMonitor",
    "HybridCheckpoint",
    "MixedPrecision",
    "OverfittingDetector",
    "PhotonicInspector",
    "TensorBoardLayout",
    "WarmStart",
    "export_component",
    "newest_checkpoint",
    "warm_start",
]
