"""The functions of MerLin's guide "Hybrid Classical-Quantum Models" as written there."""

import time
from functools import partial

import numpy as np
import torch
from torch import nn

# the guide imports these two from torch.cuda.amp, which torch deprecates
autocast = partial(torch.amp.autocast, "cpu")
GradScaler = partial(torch.amp.GradScaler, "cpu")


def create_hybrid_optimizer(model, classical_lr=1e-3, quantum_lr=1e-4):
    """Create separate optimizers for classical and quantum parameters."""

    classical_params = []
    quantum_params = []

    for name, param in model.named_parameters():
        if "quantum" in name.lower():
            quantum_params.append(param)
        else:
            classical_params.append(param)

    classical_optimizer = torch.optim.Adam(classical_params, lr=classical_lr)
    quantum_optimizer = torch.optim.Adam(quantum_params, lr=quantum_lr)

    return classical_optimizer, quantum_optimizer


def train_hybrid_alternating(
    model, train_loader, classical_opt, quantum_opt, criterion, classical_steps=5, quantum_steps=1
):
    """Train classical and quantum components alternately."""

    model.train()
    total_loss = 0

    for batch_idx, (data, target) in enumerate(train_loader):
        # Classical training phase
        if batch_idx % (classical_steps + quantum_steps) < classical_steps:
            classical_opt.zero_grad()
            output = model(data)
            loss = criterion(output, target)
            loss.backward()
            classical_opt.step()

        # Quantum training phase
        else:
            quantum_opt.zero_grad()
            output = model(data)
            loss = criterion(output, target)
            loss.backward()
            quantum_opt.step()

        total_loss += loss.item()

    return total_loss / len(train_loader)


def find_optimal_batch_size(model, sample_input, max_batch_size=256):
    """Find the largest batch size that fits in memory."""

    batch_size = 1
    while batch_size <= max_batch_size:
        try:
            # Create batch
            batch = sample_input.repeat(batch_size, 1)

            # Forward pass
            model.train()
            output = model(batch)
            loss = output.sum()

            # Backward pass
            loss.backward()
            model.zero_grad()

            print(f"Batch size {batch_size}: OK")
            batch_size *= 2

        except RuntimeError as e:
            if "out of memory" in str(e):
                print(f"Batch size {batch_size}: Out of memory")
                return batch_size // 2
            else:
                raise e

    return max_batch_size


def train_with_mixed_precision(model, train_loader, optimizer, criterion):
    """Train hybrid model with mixed precision."""

    scaler = GradScaler()
    model.train()

    for data, target in train_loader:
        optimizer.zero_grad()

        with autocast():
            output = model(data)
            loss = criterion(output, target)

        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def analyze_hybrid_performance(model, test_loader):
    """Analyze performance of individual components."""

    model.eval()
    classical_times = []
    quantum_times = []
    total_times = []

    with torch.no_grad():
        for data, _ in test_loader:
            # Time classical components
            start_time = time.time()
            if hasattr(model, "classical_pre"):
                _ = model.classical_pre(data)
            classical_time = time.time() - start_time
            classical_times.append(classical_time)

            # Time quantum components
            start_time = time.time()
            if hasattr(model, "quantum_layer"):
                _ = model.quantum_layer(torch.sigmoid(data))
            quantum_time = time.time() - start_time
            quantum_times.append(quantum_time)

            # Time full forward pass
            start_time = time.time()
            _ = model(data)
            total_time = time.time() - start_time
            total_times.append(total_time)

    return {
        "classical_avg_time": np.mean(classical_times),
        "quantum_avg_time": np.mean(quantum_times),
        "total_avg_time": np.mean(total_times),
        "quantum_overhead": np.mean(quantum_times) / np.mean(total_times),
    }


def ablation_study(base_model, test_loader, criterion):
    """Compare performance with and without quantum components."""

    results = {}

    # Test full model
    base_model.eval()
    full_loss = 0
    with torch.no_grad():
        for data, target in test_loader:
            output = base_model(data)
            full_loss += criterion(output, target).item()
    results["full_model"] = full_loss / len(test_loader)

    # Test without quantum layers (replace with identity)
    original_quantum = base_model.quantum_layer
    base_model.quantum_layer = nn.Identity()

    classical_loss = 0
    with torch.no_grad():
        for data, target in test_loader:
            output = base_model(data)
            classical_loss += criterion(output, target).item()
    results["classical_only"] = classical_loss / len(test_loader)

    # Restore quantum layer
    base_model.quantum_layer = original_quantum

    results["quantum_contribution"] = results["classical_only"] - results["full_model"]

    return results


def monitor_gradients(model):
    """Monitor gradient magnitudes across components."""

    classical_grads = []
    quantum_grads = []

    for name, param in model.named_parameters():
        if param.grad is not None:
            grad_norm = param.grad.norm().item()
            if "quantum" in name.lower():
                quantum_grads.append(grad_norm)
            else:
                classical_grads.append(grad_norm)

    if classical_grads and quantum_grads:
        classical_avg = np.mean(classical_grads)
        quantum_avg = np.mean(quantum_grads)
        ratio = quantum_avg / classical_avg

        if ratio > 10 or ratio < 0.1:
            print(f"Warning: Gradient imbalance detected. Ratio: {ratio:.2f}")


def detect_component_overfitting(model, train_loader, val_loader, criterion):
    """Detect if specific components are overfitting."""

    model.eval()

    # Evaluate on training set
    train_loss = 0
    with torch.no_grad():
        for data, target in train_loader:
            output = model(data)
            train_loss += criterion(output, target).item()
    train_loss /= len(train_loader)

    # Evaluate on validation set
    val_loss = 0
    with torch.no_grad():
        for data, target in val_loader:
            output = model(data)
            val_loss += criterion(output, target).item()
    val_loss /= len(val_loader)

    overfitting_ratio = val_loss / train_loss

    if overfitting_ratio > 1.5:
        print(f"Warning: Potential overfitting detected. Ratio: {overfitting_ratio:.2f}")
        return True

    return False
