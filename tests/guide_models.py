"""The models of MerLin's guide "Hybrid Classical-Quantum Models" as written there."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import hybridlit as ML


class SequentialHybrid(nn.Module):
    def __init__(self, input_dim, quantum_dim, output_dim):
        super().__init__()

        # Classical preprocessing
        self.classical_pre = nn.Sequential(
            nn.Linear(input_dim, quantum_dim * 2),
            nn.BatchNorm1d(quantum_dim * 2),
            nn.ReLU(),
            nn.Linear(quantum_dim * 2, quantum_dim),
            nn.Sigmoid(),  # Normalize for quantum layer
        )

        # Quantum processing
        experiment = ML.Experiment(
            circuit_type=ML.CircuitType.SERIES, n_modes=6, n_photons=3, use_bandwidth_tuning=True
        )
        ansatz = ML.AnsatzFactory.create(
            experiment=experiment, input_size=quantum_dim, output_size=quantum_dim * 2
        )
        self.quantum_layer = ML.QuantumLayer(input_size=quantum_dim, ansatz=ansatz)

        # Classical postprocessing
        self.classical_post = nn.Sequential(
            nn.Linear(quantum_dim * 2, output_dim * 2),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(output_dim * 2, output_dim),
        )

    def forward(self, x):
        x = self.classical_pre(x)
        x = self.quantum_layer(x)
        return self.classical_post(x)


class ParallelHybrid(nn.Module):
    def __init__(self, input_dim, output_dim):
        super().__init__()

        # Classical pathway
        self.classical_path = nn.Sequential(
            nn.Linear(input_dim, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16)
        )

        # Quantum pathway
        experiment = ML.Experiment(
            circuit_type=ML.CircuitType.PARALLEL_COLUMNS,
            n_modes=5,
            n_photons=2,
            use_bandwidth_tuning=True,
        )
        ansatz = ML.AnsatzFactory.create(
            experiment=experiment, input_size=input_dim, output_size=16
        )
        self.quantum_path = ML.QuantumLayer(input_size=input_dim, ansatz=ansatz)

        # Fusion layer
        self.fusion = nn.Sequential(
            nn.Linear(32, output_dim * 2),  # 16 + 16 = 32 inputs
            nn.ReLU(),
            nn.Linear(output_dim * 2, output_dim),
        )

    def forward(self, x):
        # Normalize input for quantum pathway
        x_quantum = torch.sigmoid(x)

        classical_out = self.classical_path(x)
        quantum_out = self.quantum_path(x_quantum)

        # Combine outputs
        combined = torch.cat([classical_out, quantum_out], dim=1)
        return self.fusion(combined)


class ResidualHybrid(nn.Module):
    def __init__(self, input_dim, output_dim):
        super().__init__()

        self.classical_backbone = nn.Sequential(
            nn.Linear(input_dim, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
        )

        # Quantum residual connection
        experiment = ML.Experiment(circuit_type=ML.CircuitType.SERIES, n_modes=4, n_photons=2)
        ansatz = ML.AnsatzFactory.create(experiment=experiment, input_size=64, output_size=64)
        self.quantum_residual = ML.QuantumLayer(input_size=64, ansatz=ansatz)

        self.output_layer = nn.Linear(64, output_dim)

    def forward(self, x):
        # Classical processing
        classical_out = self.classical_backbone(x)

        # Quantum residual
        quantum_residual = self.quantum_residual(torch.sigmoid(classical_out))

        # Residual connection
        combined = classical_out + quantum_residual

        return self.output_layer(combined)


class NormalizationLayer(nn.Module):
    def __init__(self, method="sigmoid"):
        super().__init__()
        self.method = method

    def forward(self, x):
        if self.method == "sigmoid":
            return torch.sigmoid(x)
        elif self.method == "tanh":
            return (torch.tanh(x) + 1) / 2  # Map [-1,1] to [0,1]
        elif self.method == "minmax":
            x_min = x.min(dim=1, keepdim=True)[0]
            x_max = x.max(dim=1, keepdim=True)[0]
            return (x - x_min) / (x_max - x_min + 1e-8)
        else:
            raise ValueError(f"Unknown normalization method: {self.method}")


class GradientScaledQuantumLayer(nn.Module):
    def __init__(self, quantum_layer, scale_factor=0.1):
        super().__init__()
        self.quantum_layer = quantum_layer
        self.scale_factor = scale_factor

    def forward(self, x):
        # Scale gradients to prevent quantum layer from dominating
        if self.training:
            return self.quantum_layer(x) * self.scale_factor
        else:
            return self.quantum_layer(x)


class MemoryEfficientHybrid(nn.Module):
    def __init__(self, input_dim, output_dim):
        super().__init__()
        self.classical_pre = nn.Sequential(nn.Linear(input_dim, 128), nn.ReLU(), nn.Linear(128, 64))

        # Quantum layer with checkpointing
        experiment = ML.Experiment(ML.CircuitType.SERIES, n_modes=5, n_photons=2)
        ansatz = ML.AnsatzFactory.create(experiment, input_size=64, output_size=64)
        self.quantum_layer = ML.QuantumLayer(input_size=64, ansatz=ansatz)

        self.classical_post = nn.Linear(64, output_dim)

    def forward(self, x):
        x = self.classical_pre(x)

        # Use gradient checkpointing for quantum layer
        if self.training:
            x = checkpoint(self.quantum_layer, torch.sigmoid(x))
        else:
            x = self.quantum_layer(torch.sigmoid(x))

        return self.classical_post(x)


class ParallelProcessingHybrid(nn.Module):
    def __init__(self, input_dim, output_dim):
        super().__init__()

        # Multiple quantum layers for parallel processing
        self.quantum_layers = nn.ModuleList(
            [self._create_quantum_layer(input_dim, 32) for _ in range(4)]
        )

        self.fusion = nn.Linear(128, output_dim)  # 4 * 32 = 128

    def _create_quantum_layer(self, input_size, output_size):
        experiment = ML.Experiment(ML.CircuitType.PARALLEL, n_modes=4, n_photons=2)
        ansatz = ML.AnsatzFactory.create(experiment, input_size, output_size)
        return ML.QuantumLayer(input_size=input_size, ansatz=ansatz)

    def forward(self, x):
        x_norm = torch.sigmoid(x)

        # Process in parallel
        outputs = []
        for quantum_layer in self.quantum_layers:
            outputs.append(quantum_layer(x_norm))

        # Combine outputs
        combined = torch.cat(outputs, dim=1)
        return self.fusion(combined)
