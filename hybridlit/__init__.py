"""Hybrid classical and photonic-quantum models: Lightning templates over one simulation core.

Names are loaded on first use, so that ``import hybridlit`` and ``import hybridlit.photonics`` cost
no more than torch: only the templates, callbacks and the command line import Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridlit.analysis import (
        ablation_study,
        describe_circuit,
        draw_circuit,
        find_batch_size,
        predict_memory,
        profile_components,
        shapley_values,
    )
    from hybridlit.blocks import (
        AttentionFusion,
        ConcatFusion,
        GatedFusion,
        GradientScaledQuantumLayer,
        MatchedMLP,
        MultiScale,
        NormalizationLayer,
        RandomFeatures,
        RowSafeBatchNorm1d,
        SumFusion,
    )
    from hybridlit.callbacks import (
        ActivationCheckpointing,
        AlternatingTraining,
        ComponentProfiler,
        ExactResume,
        GradientImbalanceMonitor,
        HybridCheckpoint,
        MixedPrecision,
        OverfittingDetector,
        PhotonicInspector,
        TensorBoardLayout,
        WarmStart,
        export_component,
        newest_checkpoint,
        warm_start,
    )
    from hybridlit.components import (
        is_photonic,
        mark_photonic,
        model_parts,
        part_parameters,
        photonic_modules,
        split_parameters,
    )
    from hybridlit.data import (
        ArrayDataModule,
        MnistDataModule,
        ResumableLoader,
        SklearnDataModule,
    )
    from hybridlit.optimizers import (
        create_hybrid_optimizer,
    )
    from hybridlit.photonics import (
        Ansatz,
        AnsatzFactory,
        CircuitType,
        ComputationSpace,
        DistinguishableLayer,
        DistinguishableLayerStack,
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
        "DistinguishableLayer",
        "DistinguishableLayerStack",
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
        "model_parts",
        "part_parameters",
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
        "RandomFeatures",
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
    "hybridlit.data": (
        "ArrayDataModule",
        "MnistDataModule",
        "ResumableLoader",
        "SklearnDataModule",
    ),
    "hybridlit.analysis": (
        "ablation_study",
        "describe_circuit",
        "draw_circuit",
        "find_batch_size",
        "predict_memory",
        "profile_components",
        "shapley_values",
    ),
    "hybridlit.callbacks": (
        "ActivationCheckpointing",
        "AlternatingTraining",
        "ComponentProfiler",
        "ExactResume",
        "GradientImbalanceMonitor",
        "HybridCheckpoint",
        "MixedPrecision",
        "OverfittingDetector",
        "PhotonicInspector",
        "TensorBoardLayout",
        "WarmStart",
        "export_component",
        "newest_checkpoint",
        "warm_start",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ActivationCheckpointing",
    "AlternatingTraining",
    "Ansatz",
    "AnsatzFactory",
    "ArrayDataModule",
    "AttentionFusion",
    "CircuitType",
    "ComponentProfiler",
    "ComputationSpace",
    "ConcatFusion",
    "DistinguishableLayer",
    "DistinguishableLayerStack",
    "ExactResume",
    "Experiment",
    "FockSpace",
    "GatedFusion",
    "GradientImbalanceMonitor",
    "GradientScaledQuantumLayer",
    "HybridCheckpoint",
    "HybridModule",
    "HybridNetwork",
    "MatchedMLP",
    "MixedPrecision",
    "MnistDataModule",
    "MultiScale",
    "NormalizationLayer",
    "OutputMappingStrategy",
    "OverfittingDetector",
    "ParallelBankHybrid",
    "ParallelHybrid",
    "PhotonicCircuit",
    "PhotonicInspector",
    "QuantumLayer",
    "QuantumLayerStack",
    "RandomFeatures",
    "ResidualHybrid",
    "ResumableLoader",
    "RowSafeBatchNorm1d",
    "SequentialHybrid",
    "SklearnDataModule",
    "StagedTraining",
    "StatePattern",
    "SumFusion",
    "TensorBoardLayout",
    "WarmStart",
    "ablation_study",
    "amplitudes",
    "create_hybrid_optimizer",
    "describe_circuit",
    "draw_circuit",
    "export_component",
    "find_batch_size",
    "is_photonic",
    "mark_photonic",
    "model_parts",
    "newest_checkpoint",
    "part_parameters",
    "photonic_modules",
    "predict_memory",
    "profile_components",
    "shapley_values",
    "split_parameters",
    "use_kernel",
    "warm_start",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hybridlit' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
