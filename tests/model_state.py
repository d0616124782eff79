"""All that a look at a model must leave as it was, and whether two such states are the same."""

import random

import numpy as np
import torch


def snapshot(model, **more):
    """Values, gradients, modes and random numbers; what else a test looks at by name."""
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "grad": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "needed": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "random": [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()],
        **more,
    }


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else np.array_equal(one, other)
