"""A target that only the interference between the photons of a given circuit can express."""

import itertools

import torch

from hybridlit import Experiment, HybridModule, QuantumLayer
from hybridlit.photonics.distinguishable import DistinguishableLayer


def random_circuit(seed):
    """Return a frozen circuit of three features, always the same for a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return QuantumLayer(3, 1, experiment=Experiment("series", 4, 2, reservoir_mode=True))


class CircuitReader(HybridModule):
    """A frozen random circuit, and a trained linear readout of its two-photon outcomes."""

    def __init__(self, circuit, **training):
        super().__init__(output_dim=1, task="regression", **training)
        self.quantum = random_circuit(circuit)
        self.quantum.readout.reset_parameters()

    def forward(self, x):
        return self.quantum(x)


def interference_target(circuit, x):
    """Return a combination of outcome probabilities that has least to do with classical photons.

    Of all combinations w of the two-photon probabilities P, the one with the largest share of
    variance outside the span of the same outcomes' probabilities for distinguishable photons.

    Returns:
        The target, of variance 1, and that share.
    """
    layer = random_circuit(circuit).double()
    with torch.no_grad():
        quantum = layer.probabilities(x.double())
        classical = DistinguishableLayer.from_layer(layer).probabilities(x.double())
    quantum, classical = quantum - quantum.mean(0), classical - classical.mean(0)
    fitted = classical @ torch.linalg.lstsq(classical, quantum, driver="gelsd").solution
    covariance, outside = (each.T @ each / len(x) for each in (quantum, quantum - fitted))
    floor = 1e-5 * covariance.trace() * torch.eye(len(covariance), dtype=torch.float64)
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance + floor))
    best = inverse.T @ torch.linalg.eigh(inverse @ outside @ inverse.T)[1][:, -1]
    target = quantum @ best
    share = (target - fitted @ best).var() / target.var()
    return (target / target.std()).float(), float(share)


def interference_problem(seed):
    """Return inputs, targets and the number of the circuit that the targets come from."""
    x = torch.rand(600, 3, generator=torch.Generator().manual_seed(seed))
    for circuit in itertools.count(1000 * seed):
        target, share = interference_target(circuit, x)
        if share > 0.8:
            return x, target, circuit
