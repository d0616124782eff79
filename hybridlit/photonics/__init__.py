"""The shared simulation core: linear-optical interferometers on Fock states, in plain torch.

Knows nothing of Lightning or of templates. Data flow: features -> `circuit` -> a lowered circuit ->
`simulation` -> probabilities of `outcomes` -> `readouts` -> outputs. `base` holds it together for
the modules `layer`, `stack` and `distinguishable`.
"""

from hybridlit.photonics.amplitudes import amplitudes
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.circuit.builders import CircuitType
from hybridlit.photonics.distinguishable import DistinguishableLayer, DistinguishableLayerStack
from hybridlit.photonics.experiment import (
    Ansatz,
    AnsatzFactory,
    CircuitTypeName as CircuitTypeName,
    Experiment,
    ReadoutName as ReadoutName,
    SpaceName as SpaceName,
    StatePatternName as StatePatternName,
)
from hybridlit.photonics.fock import ComputationSpace, FockSpace
from hybridlit.photonics.kernels.choice import use_kernel
from hybridlit.photonics.layer import QuantumLayer
from hybridlit.photonics.readouts.table import OutputMappingStrategy
from hybridlit.photonics.stack import QuantumLayerStack
from hybridlit.photonics.states import StatePattern

__all__ = [
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
]
