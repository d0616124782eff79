"""Hybrid classical and photonic-quantum models: Lightning templates over one simulation core.

Names are loaded on first use, so that ``import hybridlit`` and ``import hybridlit.photonics`` cost
no more than torch: only the templates, callbacks and the command line import Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridlit.blocks import (
        AttentionFusion,
        ConcatFusion,
        GatedFusion,
        GradientScaledQuantumLayer,
        MatchedMLP,
        MultiScale,
        NormalizationLayer,
        RowSafeBatchNorm1d,
        SumFusion,
    )
    from hybridlit.components import (
        is_photonic,
        mark_photonic,
        photonic_modules,
        split_parameters,
    )
    from hybridlit.data import ArrayDataModule, MnistDataModule, SklearnDataModule
    from hybridlit.optimizers import create_hybrid_optimizer
    from hybridlit.photonics import (
        Ansatz,
        AnsatzFactory,
        CircuitType,
        ComputationSpace,
        Experiment,
        FockSpace,
        OutputMappingStrategy,
        PhotonicCircuit,
        QuantumLayer,
        QuantumLayerStack,
        StatePattern,
        amplitudes,
        use_kernel,
    )
    from hybridlit.templates import (
        HybridModule,
        HybridNetwork,
        ParallelBankHybrid,
        ParallelHybrid,
        ResidualHybrid,
        SequentialHybrid,
        StagedTraining,
    )

__version__ = "0.1.0"

_HOME = {
    "hybridlit.photonics": (
        "Ansatz",
        "AnsatzFactory",
        "CircuitType",
        "ComputationSpace",
        "Experiment",
        "FockSpace",
        "OutputMappingStrategy",
        "PhotonicCircuit",
        "QuantumLayer",
        "QuantumLayerStack",
        "StatePattern",
        "amplitudes",
        "use_kernel",
    ),
    "hybridlit.components": (
        "is_photonic",
        "mark_photonic",
        "photonic_modules",
        "split_parameters",
    ),
    "hybridlit.blocks": (
        "AttentionFusion",
        "ConcatFusion",
        "GatedFusion",
        "GradientScaledQuantumLayer",
        "MatchedMLP",
        "MultiScale",
        "NormalizationLayer",
        "RowSafeBatchNorm1d",
        "SumFusion",
    ),
    "hybridlit.optimizers": ("create_hybrid_optimizer",),
    "hybridlit.templates": (
        "HybridModule",
        "HybridNetwork",
        "ParallelBankHybrid",
        "ParallelHybrid",
        "ResidualHybrid",
        "SequentialHybrid",
        "StagedTraining",
    ),
    "hybridlit.data": ("ArrayDataModule", "MnistDataModule", "SklearnDataModule"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Ansatz",
    "AnsatzFactory",
    "ArrayDataModule",
    "AttentionFusion",
    "CircuitType",
    "ComputationSpace",
    "ConcatFusion",
    "Experiment",
    "FockSpace",
    "GatedFusion",
    "GradientScaledQuantumLayer",
    "HybridModule",
    "HybridNetwork",
    "MatchedMLP",
    "MnistDataModule",
    "MultiScale",
    "NormalizationLayer",
    "OutputMappingStrategy",
    "ParallelBankHybrid",
    "ParallelHybrid",
    "PhotonicCircuit",
    "QuantumLayer",
    "QuantumLayerStack",
    "ResidualHybrid",
    "RowSafeBatchNorm1d",
    "SequentialHybrid",
    "SklearnDataModule",
    "StagedTraining",
    "StatePattern",
    "SumFusion",
    "amplitudes",
    "create_hybrid_optimizer",
    "is_photonic",
    "mark_photonic",
    "photonic_modules",
    "split_parameters",
    "use_kernel",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hybridlit' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
