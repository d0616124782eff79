"""Ready-made hybrid models as LightningModules, meant to be trained as they are or subclassed."""

from hybridlit.templates.bank import ParallelBankHybrid
from hybridlit.templates.base import HybridModule
from hybridlit.templates.chip.chip_twin import ChipTwin
from hybridlit.templates.chip.data import ChipDataModule
from hybridlit.templates.chip.simulated import SimulatedChip
from hybridlit.templates.cost import ModelCost
from hybridlit.templates.loading import load
from hybridlit.templates.network import HybridNetwork
from hybridlit.templates.parallel import ParallelHybrid
from hybridlit.templates.predictions.calibration import Calibration
from hybridlit.templates.predictions.ensemble import Ensemble
from hybridlit.templates.predictions.table import Predictions
from hybridlit.templates.residual import ResidualHybrid
from hybridlit.templates.sequential import SequentialHybrid
from hybridlit.templates.training.stages import StagedTraining

__all__ = [
    "Calibration",
    "ChipDataModule",
    "ChipTwin",
    "Ensemble",
    "HybridModule",
    "HybridNetwork",
    "ModelCost",
    "ParallelBankHybrid",
    "ParallelHybrid",
    "Predictions",
    "ResidualHybrid",
    "SequentialHybrid",
    "SimulatedChip",
    "StagedTraining",
    "load",
]
