"""The `nn.Module`s that templates are made of.

A wrong type is a `TypeError` and a value out of its range a `ValueError`, by the argument's name.
"""

from hybridlit.blocks.fronts import CNNFront, Conv1dFront, GRUFront
from hybridlit.blocks.fusion import AttentionFusion, ConcatFusion, Fusion, GatedFusion, SumFusion
from hybridlit.blocks.multiscale import MultiScale
from hybridlit.blocks.normalization import NormalizationLayer, RowSafeBatchNorm1d
from hybridlit.blocks.paths import Paths
from hybridlit.blocks.residual_gate import GainGate, GradualGate, InputGate
from hybridlit.blocks.stand_ins import MatchedMLP, RandomFeatures
from hybridlit.blocks.wrappers import GradientScaledQuantumLayer, ModuleStack

__all__ = [
    "AttentionFusion",
    "CNNFront",
    "ConcatFusion",
    "Conv1dFront",
    "Fusion",
    "GRUFront",
    "GainGate",
    "GatedFusion",
    "GradientScaledQuantumLayer",
    "GradualGate",
    "InputGate",
    "MatchedMLP",
    "ModuleStack",
    "MultiScale",
    "NormalizationLayer",
    "Paths",
    "RandomFeatures",
    "RowSafeBatchNorm1d",
    "SumFusion",
]
