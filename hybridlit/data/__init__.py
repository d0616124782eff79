"""LightningDataModules over arrays, tables, and data sets that ship inside Python packages."""

from hybridlit.data.arrays import ArrayDataModule
from hybridlit.data.images import ImageFolderDataModule
from hybridlit.data.mnist import MnistDataModule
from hybridlit.data.multimodal import MultiModalDataModule
from hybridlit.data.resumable import EpochSeeded, ResumableLoader
from hybridlit.data.scikit import SklearnDataModule
from hybridlit.data.sequences import SequenceDataModule
from hybridlit.data.table import TableDataModule

__all__ = [
    "ArrayDataModule",
    "EpochSeeded",
    "ImageFolderDataModule",
    "MnistDataModule",
    "MultiModalDataModule",
    "ResumableLoader",
    "SequenceDataModule",
    "SklearnDataModule",
    "TableDataModule",
]
