"""Ready-made hybrid models as LightningModules, meant to be trained as they are or subclassed."""

from hybridlit.templates.base import HybridModule
from hybridlit.templates.sequential import SequentialHybrid

__all__ = ["HybridModule", "SequentialHybrid"]
