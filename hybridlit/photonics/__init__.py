"""The shared simulation core: linear-optical interferometers on Fock states, in plain torch.

Knows nothing of Lightning or of templates. Data flow: features -> `circuit` -> a lowered circuit ->
`simulation` -> probabilities of `outcomes` -> `readouts` -> outputs. `base` holds it together for
the modules `layer`, `stack` and `distinguishable`.
"""

from hybridlit.photonics.amplitude_encoding import AmplitudeEncoding
from hybridlit.photonics.amplitudes import amplitudes
from hybridlit.photonics.ansatz import Ansatz, AnsatzFactory
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.budget import Budget
from hybridlit.photonics.circuit.angles import Data, Fixed, Trainable
from hybridlit.photonics.circuit.builders import CircuitType
from hybridlit.photonics.circuit.circuit import Circuit
from hybridlit.photonics.circuit.components import (
    BeamSplitter,
    FixedUnitary,
    Permutation,
    PhaseShifter,
)
from hybridlit.photonics.circuit.decomposition import phases_from_unitary
from hybridlit.photonics.circuit.meshes import Interferometer
from hybridlit.photonics.devices import DEVICES as DEVICES, DeviceName as DeviceName
from hybridlit.photonics.distinguishable import DistinguishableLayer, DistinguishableLayerStack
from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.feed_forward import FeedForward
from hybridlit.photonics.fidelity_kernel import FidelityKernel
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import use_kernel
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.measurement import Branches, PartialMeasurement
from hybridlit.photonics.names import (
    CircuitTypeName as CircuitTypeName,
    ReadoutName as ReadoutName,
    SpaceName as SpaceName,
    StatePatternName as StatePatternName,
)
from hybridlit.photonics.noise.model import Noise
from hybridlit.photonics.noise.shots import (
    SHOT_GRADIENTS as SHOT_GRADIENTS,
    ShotGradientName as ShotGradientName,
)
from hybridlit.photonics.noise.values import NoiseValues
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.stack import QuantumLayerStack
from hybridlit.photonics.states import StatePattern
from hybridlit.photonics.superposition import Superposition

__all__ = [
    "AmplitudeEncoding",
    "Ansatz",
    "AnsatzFactory",
    "BeamSplitter",
    "Branches",
    "Budget",
    "Circuit",
    "CircuitType",
    "ComputationSpace",
    "Data",
    "DistinguishableLayer",
    "DistinguishableLayerStack",
    "Experiment",
    "FeedForward",
    "FidelityKernel",
    "Fixed",
    "FixedUnitary",
    "FockSpace",
    "Interferometer",
    "Noise",
    "NoiseValues",
    "OutputMappingStrategy",
    "PartialMeasurement",
    "Permutation",
    "PhaseShifter",
    "PhotonicCircuit",
    "QuantumLayer",
    "QuantumLayerStack",
    "StatePattern",
    "Superposition",
    "Trainable",
    "amplitudes",
    "phases_from_unitary",
    "use_kernel",
]
