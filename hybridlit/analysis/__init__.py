"""What each part of a trained model costs, and what it contributes: plain functions."""

from hybridlit.analysis.ablation import AblationStudy, Shapley, ablation_study, shapley_values
from hybridlit.analysis.batch_size import BatchSize, find_batch_size, predict_memory
from hybridlit.analysis.calibration import calibrate
from hybridlit.analysis.card import model_card
from hybridlit.analysis.chip_result import ChipStudy
from hybridlit.analysis.chip_study import chip_study
from hybridlit.analysis.learning_rates import LearningRates, find_learning_rates
from hybridlit.analysis.noise_result import NoiseStudy
from hybridlit.analysis.noise_study import noise_study
from hybridlit.analysis.noisy import under_noise
from hybridlit.analysis.pictures import describe_circuit, draw_circuit
from hybridlit.analysis.profiling import ComponentProfile, profile_components
from hybridlit.analysis.report import Report
from hybridlit.analysis.robustness import Robustness, robustness
from hybridlit.analysis.uncertain_rows import Uncertainty, uncertainty

__all__ = [
    "AblationStudy",
    "BatchSize",
    "ChipStudy",
    "ComponentProfile",
    "LearningRates",
    "NoiseStudy",
    "Report",
    "Robustness",
    "Shapley",
    "Uncertainty",
    "ablation_study",
    "calibrate",
    "chip_study",
    "describe_circuit",
    "draw_circuit",
    "find_batch_size",
    "find_learning_rates",
    "model_card",
    "noise_study",
    "predict_memory",
    "profile_components",
    "robustness",
    "shapley_values",
    "uncertainty",
    "under_noise",
]
