"""LightningDataModules over arrays and over the data sets that scikit-learn ships."""

from hybridlit.data.arrays import ArrayDataModule
from hybridlit.data.scikit import SklearnDataModule

__all__ = ["ArrayDataModule", "SklearnDataModule"]
