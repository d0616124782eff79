"""What each part of a trained model costs, and what it contributes: plain functions."""

from hybridlit.analysis.ablation import AblationStudy, Shapley, ablation_study, shapley_values
from hybridlit.analysis.batch_size import BatchSize, find_batch_size, predict_memory
from hybridlit.analysis.card import model_card
from hybridlit.analysis.pictures import describe_circuit, draw_circuit
from hybridlit.analysis.profiling import ComponentProfile, profile_components
from hybridlit.analysis.report import Report

__all__ = [
    "AblationStudy",
    "BatchSize",
    "ComponentProfile",
    "Report",
    "Shapley",
    "ablation_study",
    "describe_circuit",
    "draw_circuit",
    "find_batch_size",
    "model_card",
    "predict_memory",
    "profile_components",
    "shapley_values",
]
