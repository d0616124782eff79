"""Recipes in Python: what they say, with changes; what they describe, built; trained and scored."""

from hybridlit.recipe.building import (
    Built,
    Parsed,
    build,
    build_data,
    datamodule_of_recipe,
    model_of_recipe,
)
from hybridlit.recipe.comparison import compare_recipe
from hybridlit.recipe.cost import cost_of_model
from hybridlit.recipe.reading import changed, read_recipe, settings_of
from hybridlit.recipe.training import Trained, train

__all__ = [
    "Built",
    "Parsed",
    "Trained",
    "build",
    "build_data",
    "changed",
    "compare_recipe",
    "cost_of_model",
    "datamodule_of_recipe",
    "model_of_recipe",
    "read_recipe",
    "settings_of",
    "train",
]
