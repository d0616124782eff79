"""The `nn.Module`s that templates are made of."""

from hybridlit.blocks.batch_norm import RowSafeBatchNorm1d
from hybridlit.blocks.normalization import NormalizationLayer

__all__ = ["NormalizationLayer", "RowSafeBatchNorm1d"]
