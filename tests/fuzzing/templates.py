"""Cases of the templates: networks of any arguments, run and trained a step without a Trainer."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import torch
from torch import Tensor

from fuzzing.circuits import CIRCUIT_TYPES, ONE_SIZE, PATTERNS, SPACES, STRATEGIES
from fuzzing.judging import Case
from fuzzing.oracles import (
    check_close,
    check_features_count,
    check_finite,
    check_gradients,
    check_state_dict,
    in_float64,
    require,
)
from fuzzing.values import Values, drawn, flag, one_of, or_none, real, several, whole
from hybridlit import (
    NormalizationLayer,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)
from hybridlit.blocks import fusion, normalization, residual_gate
from hybridlit.templates import tasks
from hybridlit.templates.training import schedule, stages

__all__ = ["KINDS"]

SCHEDULES = one_of(*schedule.SCHEDULES)
STAGE = Values(
    lambda rng: [rng.choice(list(stages.STAGES)), rng.randint(1, 5)],
    (["front", 1], ["both", 0], ["both"], "both", 3, ["both", 1.5]),
)

OPTIMIZERS = Values(
    lambda rng: rng.choice(
        ["torch.optim.SGD", {"class_path": "torch.optim.Adam", "init_args": {"betas": [0.8, 0.9]}}]
    ),
    ("SGD", "torch.nn.Linear", {}, {"class_path": "torch.optim.SGD", "lr": 1.0}, 3, True, []),
)

MODULE = {
    "task": one_of(*tasks.TASKS),
    "label_smoothing": real(0.0, 0.9, (1.0, -0.1)),
    "classical_lr": real(1e-4, 0.1, (0.0, -1.0)),
    "quantum_lr": real(1e-4, 0.1, (0.0, -1.0)),
    "weight_decay": real(0.0, 0.1, (-0.1,)),
    "quantum_weight_decay": real(0.0, 0.1, (-0.1,)),
    "optimizer": or_none(OPTIMIZERS),
    "quantum_optimizer": or_none(OPTIMIZERS),
    "gradient_clip": or_none(real(0.1, 10.0, (0.0, -1.0, {"front": 1.0}))),
    "schedule": SCHEDULES,
    "warmup_epochs": real(0.0, 3.0, (-1.0,)),
    "quantum_schedule": or_none(SCHEDULES),
    "quantum_warmup_epochs": or_none(real(0.0, 3.0, (-1.0,))),
    "plateau_patience": whole(0, 20),
    "plateau_factor": real(0.1, 0.9, (0.0, 1.0)),
    "stages": or_none(several(STAGE)),
}
NETWORK = {
    "input_dim": whole(1, 8),
    "output_dim": whole(1, 4),
    "front_dim": or_none(whole(1, 6)),
    "freeze_front": flag(),
    "quantum": one_of("photonic", "photonic", "photonic", "mlp"),
    "circuit_type": CIRCUIT_TYPES,
    "n_modes": whole(2, 5),
    "n_photons": whole(1, 3),
    "computation_space": SPACES,
    "state_pattern": PATTERNS,
    "output_mapping_strategy": STRATEGIES,
    "quantum_output_dim": or_none(whole(2, 6, least=1)),
    "use_bandwidth_tuning": flag(),
    "reservoir_mode": flag(),
    "checkpoint_quantum": flag(),
}
NORMALIZATION = one_of(*normalization.NORMALIZATIONS)
FUSION = one_of(*fusion.FUSIONS)
DROPOUT = real(0.0, 0.9, (1.0, -0.1))
WIDTH = or_none(whole(1, 8))
WIDTHS = or_none(several(whole(1, 8)))

OWN = {
    SequentialHybrid: {
        "quantum_dim": whole(1, 4),
        "hidden_dim": WIDTH,
        "head_dim": WIDTH,
        "normalization": NORMALIZATION,
        "batch_norm": flag(),
        "dropout": DROPOUT,
    },
    ParallelHybrid: {
        "hidden_dims": WIDTHS,
        "quantum_dim": WIDTH,
        "normalization": NORMALIZATION,
        "fusion": FUSION,
        "fusion_dim": WIDTH,
        "dropout": DROPOUT,
        "path_dropout": DROPOUT,
    },
    ResidualHybrid: {
        "hidden_dims": WIDTHS,
        "quantum_dim": WIDTH,
        "normalization": NORMALIZATION,
        "gate": one_of(*residual_gate.GATES),
        "gate_epochs": or_none(
            Values(lambda rng: [rng.randint(0, 2), 3.5], ([2, 2], [-1, 2], [3], 3, [0, math.inf]))
        ),
        "dropout": DROPOUT,
    },
    ParallelBankHybrid: {
        "n_layers": or_none(whole(1, 4)),
        "scales": or_none(several(whole(1, 3))),
        "quantum_dim": WIDTH,
        "normalization": NORMALIZATION,
        "fusion": FUSION,
        "fusion_dim": WIDTH,
    },
}
SHAPES = ([5], [4, 3], [7, 2], [1, 6, 6], [3, 5, 4])
NAMED = {"table": 2, "steps": [3, 2]}
NEEDED = ("input_dim", "output_dim", "quantum_dim")


def template(rng: Random) -> Case:
    """A template: its outputs in evaluation, a training step, its state dict, its features."""
    cls = rng.choice(list(OWN))
    given, wrong = drawn(rng, OWN[cls] | NETWORK | MODULE, NEEDED, 0.25, 0.2)
    if given.get("output_mapping_strategy") in ONE_SIZE:
        if wrong != "quantum_output_dim" and rng.random() < 0.9:
            given.pop("quantum_output_dim", None)
    if wrong == "output_dim":
        pass
    elif given.get("task") == "binary" and rng.random() < 0.9:
        given["output_dim"] = 1
    elif given.get("task", "multiclass") == "multiclass" and given["output_dim"] == 1:
        given["output_dim"] = 2
    task = given.get("task", "multiclass")
    if task == "regression" and wrong != "label_smoothing":
        given.pop("label_smoothing", None)
    elif task in [*tasks.TASKS] and wrong != "output_dim" and rng.random() < 0.2:
        count = 2 if task == "binary" else given["output_dim"]
        given["class_weights"] = [rng.uniform(0.1, 5.0) for _ in range(count)]
    if wrong != "input_dim" and rng.random() < 0.35:
        shape = rng.choice(SHAPES)
        given |= {"input_dim": rng.choice([None, math.prod(shape)]), "input_shape": list(shape)}
        fronts = {1: [None], 2: [None, "conv1d", "gru"], 3: [None, "cnn"]}[len(shape)]
        given["front"] = rng.choice(fronts if rng.random() < 0.9 else ["cnn", "gru", "vit"])
    elif wrong != "input_dim" and rng.random() < 0.2:
        given |= {"inputs": dict(NAMED), "input_dim": rng.choice([None, 8])}
        given["front"] = rng.choice([None, {"steps": "gru"}, {"steps": "conv1d"}])
        if wrong != "front_dim" and given.pop("front_dim", None) is not None:
            given["front_dim"] = {"steps": rng.randint(1, 6)} if given["front"] else None
    if given.get("front") is None and rng.random() < 0.95:
        for name in {"front_dim", "freeze_front"} - {wrong}:
            given.pop(name, None)
    if given.get("stages") and wrong != "stages" and rng.random() < 0.2:
        given["stages"] = []
        wrong = wrong or "stages"
    shape = given.get("input_shape") or [given["input_dim"] if wrong != "input_dim" else 1]
    shape = [8] if "inputs" in given else shape
    x, targets, fault = batch(rng, given, [int(size) for size in shape])
    if "inputs" in given and fault is None:
        x[rng.sample(range(len(x)), len(x) // 2), : rng.choice([2, 0])] = math.nan  # no table

    def call() -> tuple[Any, Tensor, Tensor]:
        model = made(cls, given)
        model.eval()
        with torch.no_grad():
            outputs = model(x)
        if not len(x):
            return model, outputs, outputs.sum()
        model.train()
        trained = model(x)
        loss = model.loss(trained, model.prepare_targets(trained, targets))
        if loss.requires_grad:
            loss.backward()
        return model, outputs, loss

    def check(result: tuple[Any, Tensor, Tensor]) -> None:
        model, outputs, loss = result
        check_finite(loss.detach(), "losses")
        check_gradients(model)
        check_template(model, lambda: made(cls, given), x, outputs)

    arguments = {**given, "x": x, "targets": targets}
    others = ("input_shape", "inputs", "front", "class_weights")
    parameters = (*OWN[cls], *NETWORK, *MODULE, *others)
    return Case(cls.__name__, arguments, parameters, call, check, wrong or fault)


def made(cls: Any, given: dict[str, Any]) -> Any:
    """Make a model, fit its normalizations, and open what starts closed."""
    model = cls(**given)
    for module in model.modules():
        if isinstance(module, NormalizationLayer) and module.method == "standard":
            module.fit(torch.randn(20, module.num_features, generator=torch.manual_seed(0)))
    if cls is ResidualHybrid:
        for parameter in model.gate.parameters():
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
        for factor in model.gate.buffers():
            factor.fill_(1.0)
    return model


def batch(rng: Random, given: dict[str, Any], shape: list[int]) -> tuple[Any, Any, str | None]:
    """Draw inputs and targets, and say what is wrong with them, if anything is."""
    rows, task = rng.choice([0, 1, 2, 3, 3, 5, 5]), given.get("task", "multiclass")
    wide = given["output_dim"]
    wide = wide if isinstance(wide, int) and 0 < wide < 1000 else 2  # a wrong one is refused
    x: Any = torch.randn(rows, *shape)
    if task == "multiclass":
        targets: Any = torch.randint(0, max(1, wide), (rows,))
    elif task == "binary":
        targets = torch.randint(0, 2, rng.choice([(rows,), (rows, 1)])).to(
            rng.choice([torch.int64, torch.bool, torch.float32])
        )
    elif task == "multilabel":
        targets = torch.randint(0, 2, (rows, wide)).to(rng.choice([torch.int64, torch.float64]))
    else:
        targets = torch.randn(rows, wide)
    if rng.random() < 0.03:
        return x.to(rng.choice([torch.float16, torch.bfloat16])), targets, None
    if rng.random() < 0.85 or not rows:
        return x, targets, None
    what = rng.choice(["nan", "inf", "width", "integers", "numpy", "double", "targets", "class"])
    if what in ("nan", "inf"):
        x.flatten()[rng.randrange(x.numel())] = float(what)
    elif what == "width":
        x = torch.randn(rows, *shape[:-1], shape[-1] + 1)
    elif what == "integers":
        x = x.long()
    elif what == "numpy":
        x = x.numpy()
    elif what == "double":
        x = x.double()
    elif what == "class" and task != "regression":
        targets = torch.full((rows,), wide + 1)
    else:
        targets = targets[:, None, None] if targets.dim() == 1 else targets[..., None]
    return x, targets, f"{what} in x or targets"


def check_template(model: Any, fresh: Any, x: Tensor, outputs: Tensor) -> None:
    """Check everything that must hold of a model and what it gave in evaluation mode."""
    require(outputs.shape == (len(x), model.hparams["output_dim"]), "shape of the outputs")
    check_finite(outputs, "outputs")
    predictions = model.predictions(outputs)
    if model.hparams["task"] != "regression":
        require(bool(((predictions >= 0) & (predictions <= 1)).all()), "probabilities")
    if model.hparams["task"] == "multiclass":
        check_close(predictions.sum(1), torch.ones(len(x)), 1e-5, "sums of class probabilities")
    model.eval()
    with torch.no_grad():
        again = model(x)
        exact = in_float64(model)
        check_close(again, exact(x.double()), 2e-3, "outputs and those in float64")
        if not len(x):
            return
        each = [model(row[None]) for row in x]
        check_close(torch.cat(each), again, 2e-3, "outputs of a batch and of its rows")
    check_state_dict(model, fresh, lambda module: module.eval()(x))
    # a ReLU may be dead at one point, and of very few units, all of them may be dead everywhere
    generic = torch.randn(16, *x.shape[1:], dtype=torch.float64)
    if exact(generic).std(0).max() > 0:
        check_features_count(exact, generic)


KINDS = {template: 20}
