"""What the photonic part of a model is worth: the study, its arms, and its conclusion."""

from hybridlit.analysis.ablation.result import AblationStudy
from hybridlit.analysis.ablation.shapley import Shapley, shapley_values
from hybridlit.analysis.ablation.study import ablation_study

__all__ = ["AblationStudy", "Shapley", "ablation_study", "shapley_values"]
