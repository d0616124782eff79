"""Trained models as files that predict where there is no hybridlit."""

from hybridlit.export.handover import export_model
from hybridlit.export.real_circuit import RealCircuit

__all__ = ["RealCircuit", "export_model"]
