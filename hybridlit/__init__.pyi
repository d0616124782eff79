"""The public names and where they live: the one list of them."""

from .analysis import (
    AblationStudy as AblationStudy,
    BatchSize as BatchSize,
    ComponentProfile as ComponentProfile,
    Report as Report,
    Shapley as Shapley,
    ablation_study as ablation_study,
    describe_circuit as describe_circuit,
    draw_circuit as draw_circuit,
    find_batch_size as find_batch_size,
    model_card as model_card,
    predict_memory as predict_memory,
    profile_components as profile_components,
    shapley_values as shapley_values,
)
from .blocks import (
    AttentionFusion as AttentionFusion,
    CNNFront as CNNFront,
    ConcatFusion as ConcatFusion,
    Conv1dFront as Conv1dFront,
    Fusion as Fusion,
    GainGate as GainGate,
    GatedFusion as GatedFusion,
    GradientScaledQuantumLayer as GradientScaledQuantumLayer,
    GRUFront as GRUFront,
    InputGate as InputGate,
    MatchedMLP as MatchedMLP,
    ModuleStack as ModuleStack,
    MultiScale as MultiScale,
    NormalizationLayer as NormalizationLayer,
    RandomFeatures as RandomFeatures,
    RowSafeBatchNorm1d as RowSafeBatchNorm1d,
    SumFusion as SumFusion,
)
from .callbacks import (
    ActivationCheckpointing as ActivationCheckpointing,
    AlternatingTraining as AlternatingTraining,
    ComponentProfiler as ComponentProfiler,
    ExactResume as ExactResume,
    GradientImbalanceMonitor as GradientImbalanceMonitor,
    HybridCheckpoint as HybridCheckpoint,
    MixedPrecision as MixedPrecision,
    OverfittingDetector as OverfittingDetector,
    PhotonicInspector as PhotonicInspector,
    TensorBoardLayout as TensorBoardLayout,
    WarmStart as WarmStart,
    export_component as export_component,
    newest_checkpoint as newest_checkpoint,
    warm_start as warm_start,
)
from .components import (
    is_photonic as is_photonic,
    mark_photonic as mark_photonic,
    model_parts as model_parts,
    part_parameters as part_parameters,
    photonic_modules as photonic_modules,
    split_parameters as split_parameters,
)
from .data import (
    ArrayDataModule as ArrayDataModule,
    EpochSeeded as EpochSeeded,
    ImageFolderDataModule as ImageFolderDataModule,
    MnistDataModule as MnistDataModule,
    ResumableLoader as ResumableLoader,
    SequenceDataModule as SequenceDataModule,
    SklearnDataModule as SklearnDataModule,
    TableDataModule as TableDataModule,
)
from .export import RealCircuit as RealCircuit, export_model as export_model
from .optimizers import create_hybrid_optimizer as create_hybrid_optimizer
from .photonics import (
    Ansatz as Ansatz,
    AnsatzFactory as AnsatzFactory,
    CircuitType as CircuitType,
    ComputationSpace as ComputationSpace,
    DistinguishableLayer as DistinguishableLayer,
    DistinguishableLayerStack as DistinguishableLayerStack,
    Experiment as Experiment,
    FockSpace as FockSpace,
    OutputMappingStrategy as OutputMappingStrategy,
    PhotonicCircuit as PhotonicCircuit,
    QuantumLayer as QuantumLayer,
    QuantumLayerStack as QuantumLayerStack,
    StatePattern as StatePattern,
    amplitudes as amplitudes,
    use_kernel as use_kernel,
)
from .templates import (
    HybridModule as HybridModule,
    HybridNetwork as HybridNetwork,
    ParallelBankHybrid as ParallelBankHybrid,
    ParallelHybrid as ParallelHybrid,
    Predictions as Predictions,
    ResidualHybrid as ResidualHybrid,
    SequentialHybrid as SequentialHybrid,
    StagedTraining as StagedTraining,
    load as load,
)

__version__: str
