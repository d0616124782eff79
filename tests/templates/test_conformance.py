"""What every template must do, whatever its topology, fusion, front or kind of quantum part."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hybridlit.blocks import ModuleStack, NormalizationLayer
from hybridlit.callbacks import ExactResume, HybridCheckpoint
from hybridlit.components import mark_photonic, photonic_modules, split_parameters
from hybridlit.data import ArrayDataModule
from hybridlit.templates import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

SMALL = dict(n_modes=4, n_photons=2)
SEQUENTIAL = (SequentialHybrid, dict(quantum_dim=3, batch_norm=False, dropout=0.0, head_dim=16))
PARALLEL = (ParallelHybrid, dict(hidden_dims=[8, 6]))
PROJECTED = (ParallelHybrid, dict(hidden_dims=[8, 6], quantum_dim=3))
RESIDUAL = (ResidualHybrid, dict(hidden_dims=[16, 12]))
WHOLE = (ResidualHybrid, dict(hidden_dims=[8, 5], quantum_dim=None, quantum_output_dim=7))
BANK = (ParallelBankHybrid, dict(n_layers=3, quantum_output_dim=6))
SCALES = (ParallelBankHybrid, dict(scales=[1, 2, 4], quantum_output_dim=6))
IMAGE = dict(front="cnn", input_dim=None, front_dim=6)
LABELS = dict(task="multilabel")
SGD = dict(optimizer=dict(class_path="torch.optim.SGD", init_args=dict(momentum=0.9)))
ONE_CYCLE = dict(class_path="torch.optim.lr_scheduler.OneCycleLR")
NAMED = dict(input_dim=None, inputs=dict(image=[1, 4, 4], table=3))
FRONTS = dict(front=dict(image="cnn"), front_dim=dict(image=5))
SEEN = dict(quantum_path=["table"])
LINEAR = dict(class_path="torch.nn.Linear", init_args=dict(in_features=5, out_features=4))
FOREIGN = dict(front=LINEAR)
CASES = {
    "sequential": (*SEQUENTIAL, {}),
    "parallel-concat": (*PARALLEL, dict(fusion="concat")),
    "parallel-sum": (*PARALLEL, dict(fusion="sum")),
    "parallel-gated": (*PARALLEL, dict(fusion="gated")),
    "parallel-attention": (*PROJECTED, dict(fusion="attention")),
    "residual-zero": (*RESIDUAL, dict(gate="zero")),
    "residual-gated": (*WHOLE, dict(gate="gated")),
    "bank-concat": (*BANK, dict(fusion="concat")),
    "bank-sum": (*BANK, dict(fusion="sum", quantum_dim=3)),
    "bank-gated": (*BANK, dict(fusion="gated")),
    "bank-attention": (*BANK, dict(fusion="attention")),
    "scales": (*SCALES, {}),
    "scales-of-images": (*SCALES, dict(input_dim=None, input_shape=[2, 5, 4], fusion="gated")),
    "scales-of-sequences": (*SCALES, dict(input_dim=None, input_shape=[7, 2], quantum_dim=3)),
    "sequential-cnn": (*SEQUENTIAL, IMAGE | dict(input_shape=[1, 5, 8])),
    "parallel-conv1d": (*PARALLEL, IMAGE | dict(front="conv1d", input_shape=[9, 3])),
    "residual-gru": (*RESIDUAL, IMAGE | dict(front="gru", input_shape=[4, 2])),
    "scales-cnn": (*SCALES, IMAGE | dict(input_shape=[2, 6, 5])),
    "parallel-path-dropout": (*PARALLEL, dict(path_dropout=0.2)),
    "residual-gate-epochs": (*RESIDUAL, dict(gate_epochs=[0, 2])),
    "parallel-inputs": (*PARALLEL, NAMED | FRONTS | dict(path_inputs=SEEN)),
    "bank-inputs": (*BANK, NAMED),
    "sequential-foreign-front": (*SEQUENTIAL, FOREIGN | dict(front_dim=6)),
}
# the same networks as above, which are trained in another way or for something else
TRAINED = {
    "sequential-multilabel": (*SEQUENTIAL, LABELS | dict(class_weights=[2.0, 1.0, 0.5])),
    "parallel-weighted": (*PARALLEL, dict(class_weights="balanced", label_smoothing=0.1)),
    "bank-metrics": (*BANK, dict(metrics=["f1", "auroc", "torchmetrics.CohenKappa"])),
    "sequential-sgd": (*SEQUENTIAL, SGD | dict(gradient_clip=1.0, schedule="cosine")),
    "parallel-two-optimizers": (*PARALLEL, dict(quantum_optimizer="torch.optim.Adam") | SGD),
    "bank-one-cycle": (*BANK, dict(schedule=ONE_CYCLE, path_dropout=0.2)),
    "residual-frozen-front": (*RESIDUAL, FOREIGN | dict(freeze_front=True)),
}
# one of each topology, fusion and front, for what is slow and differs by operation only
KINDS = ["sequential-cnn", "parallel-attention", "residual-gru", "bank-gated", "scales", "bank-sum"]
FAMILIES = ["sequential", "parallel-gated", "residual-zero", "bank-concat"]
PRECISIONS = ["32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"]
OFTEN_TRIED = [
    pytest.param(each, marks=[pytest.mark.slow] * (each not in ("64-true", "bf16-mixed")))
    for each in PRECISIONS
]


class Case:
    """A template with small sizes, and inputs for it."""

    def __init__(self, name):
        self.cls, *arguments = (CASES | TRAINED)[name]
        self.arguments = SMALL | arguments[0] | dict(output_dim=3)
        self.arguments |= arguments[1]

    def make(self, cls=None, **changes):
        arguments = self.arguments | changes
        if arguments.get("input_shape") is None:
            arguments.setdefault("input_dim", 5)
        model = (cls or self.cls)(**arguments)
        self.shape = arguments.get("input_shape") or [model.hparams.input_dim]
        return model

    def inputs(self, rows=24):
        return torch.randn(rows, *self.shape)

    def targets(self, rows):
        classes = torch.arange(rows) % 3
        if self.arguments.get("task") == "multilabel":
            return (classes[:, None] >= torch.arange(3)).float()
        return classes


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


@pytest.fixture(params=[*CASES, *TRAINED])
def any_case(request):
    return Case(request.param)


@pytest.fixture(params=["parallel-path-dropout", "parallel-inputs", *TRAINED])
def new_case(request):
    return Case(request.param)


@pytest.fixture(params=KINDS)
def kind(request):
    return Case(request.param)


@pytest.fixture(params=FAMILIES)
def family(request):
    return Case(request.param)


def loss_of(model, x):
    return model.loss(model(x), torch.arange(len(x)) % 3)


def one_step(model, x):
    """Open the gate of a residual: before the first step nothing behind it counts."""
    optimizer = model.configure_optimizers()
    loss_of(model, x).backward()
    optimizer.step()
    optimizer.zero_grad()


def quantum_part(model):
    return getattr(
        model,
        {
            SequentialHybrid: "quantum_layer",
            ParallelHybrid: "quantum_path",
            ResidualHybrid: "quantum_residual",
            ParallelBankHybrid: "quantum_layers",
        }[type(model)],
    )


# --- shapes and gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("quantum", ["photonic", "mlp"])
def test_shapes_of_any_batch(case, quantum):
    model = case.make(quantum=quantum)
    for rows in (7, 1):
        x = case.inputs(rows)
        assert model.train()(x).shape == model.eval()(x).shape == (rows, 3)
        assert torch.equal(model(x), model(x.flatten(1)))


@pytest.mark.parametrize("quantum", ["photonic", "mlp"])
def test_gradients_reach_every_parameter_and_every_feature(case, quantum):
    check_gradients(case, case.make(quantum=quantum))


@pytest.mark.parametrize("width", [1, 2, 6])
def test_gradients_reach_every_feature_of_other_widths(family, width):
    check_gradients(family, family.make(input_dim=width))


def check_gradients(case, model):
    x = case.inputs(64)
    if isinstance(model, ResidualHybrid):
        if model.hparams["gate_epochs"]:
            model.gate.open_to(2.0)
        one_step(model, x)
    x.requires_grad_()
    loss_of(model, x).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
    assert x.grad.any(0).all()


def test_the_photonic_layer_depends_on_each_of_its_features(case):
    model = case.make()
    layer = quantum_part(model)
    assert list(photonic_modules(model).values()) == [layer]
    x = torch.rand(8, layer.input_size, requires_grad=True)
    outputs = layer(x)
    outputs.backward(torch.randn_like(outputs))
    assert x.grad.abs().amax(0).min() > 1e-4


def test_the_twin_is_classical_and_as_large(case):
    sizes = {}
    for quantum in ("photonic", "mlp"):
        torch.manual_seed(1)
        model = case.make(quantum=quantum)
        sizes[quantum] = sum(p.numel() for p in quantum_part(model).parameters())
    assert split_parameters(model)["photonic"] == {}
    assert sizes["mlp"] == pytest.approx(sizes["photonic"], rel=0.1)


def test_training_and_evaluation_compute_the_same(case):
    model = case.make(path_dropout=0.0)
    x = case.inputs()
    assert torch.allclose(model.train()(x), model.eval()(x), atol=1e-6)


# --- an ordinary module ---------------------------------------------------------------------------


def test_deepcopies_are_equal_and_independent(case):
    model = case.make()
    x = case.inputs()
    loss_of(model, x).backward()
    other = copy.deepcopy(model)
    assert torch.equal(model.eval()(x), other.eval()(x))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.5)
    assert not torch.equal(model(x), other(x))


@pytest.mark.slow
def test_export_with_a_dynamic_batch(case):
    model = case.make().eval()
    one_step(model, case.inputs())
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(model, (case.inputs(4),), dynamic_shapes=({0: batch},))
    x = case.inputs(9)
    assert torch.allclose(program.module()(x), model(x), atol=1e-5)


@pytest.mark.slow
def test_compilation(kind):
    model = kind.make()
    x = kind.inputs()
    one_step(model, x)
    torch._dynamo.reset()
    compiled = torch.compile(model.forward, backend="aot_eager")
    expected = model(x)
    outputs = compiled(x)
    assert torch.allclose(outputs, expected, atol=1e-5)
    gradients = [
        torch.autograd.grad(values.square().sum(), list(model.parameters()))
        for values in (outputs, expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_checkpointing_the_quantum_part_changes_no_gradient(case):
    torch.manual_seed(2)
    plain = case.make()
    torch.manual_seed(2)
    sparing = case.make(checkpoint_quantum=True)
    runs = []
    # a stack's method is called without its hooks, so the circuit's own method is counted
    layer = quantum_part(sparing)
    original = layer.angles
    layer.angles = lambda: (runs.append(1), original())[1]
    x = case.inputs()
    for model in (plain, sparing):
        torch.manual_seed(3)  # rows that lose a path
        one_step(model, x)
        loss_of(model, x).backward()
    for a, b in zip(plain.parameters(), sparing.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert len(runs) == 4
    with torch.no_grad():
        sparing(x)
    sparing.eval()(x)
    assert len(runs) == 6


# --- in a Trainer ---------------------------------------------------------------------------------


def loader(case, rows=16):
    return DataLoader(TensorDataset(case.inputs(rows), case.targets(rows)), batch_size=8)


@pytest.mark.filterwarnings("ignore:.*16-mixed.*:UserWarning")
@pytest.mark.parametrize("precision", OFTEN_TRIED)
def test_every_precision_trains(kind, precision, make_trainer):
    model = kind.make()
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = make_trainer(precision=precision)
    trainer.fit(model, loader(kind))
    after = dict(model.named_parameters())
    for kind, names in split_parameters(model).items():
        assert any((after[n].double() - before[n].double()).any() for n in names), kind
    assert all(torch.isfinite(value).all() for value in after.values())
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


@pytest.mark.slow
def test_a_checkpoint_of_a_subclass_loads_safely(any_case, tmp_path, make_trainer):
    class Mine(any_case.cls):
        def __init__(self, *args, extra=1, **kwargs):
            super().__init__(*args, **kwargs)

    model = any_case.make(Mine, extra=2, normalization="tanh")
    trainer = make_trainer(enable_checkpointing=True)
    trainer.fit(model, loader(any_case))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=True)
    restored = Mine.load_from_checkpoint(tmp_path / "model.ckpt")
    assert dict(restored.hparams) == dict(model.hparams)
    assert restored.hparams.extra == 2
    x = any_case.inputs()
    assert torch.equal(model.eval()(x), restored.eval()(x))


def fitted(case, make_trainer, **changes):
    torch.manual_seed(5)
    model = case.make(**changes)
    torch.manual_seed(6)
    data = loader(case, 32)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, data, data)
    return model, trainer


def test_what_is_new_trains_both_components(new_case, make_trainer):
    torch.manual_seed(5)
    before = {name: value.clone() for name, value in new_case.make().named_parameters()}
    model, trainer = fitted(new_case, make_trainer)
    after = dict(model.named_parameters())
    for component, names in split_parameters(model).items():
        assert any((after[n] != before[n]).any() for n in names), component
    named = [f"val/{name}" for name in model.build_metrics()]
    for name in ("train/loss", "val/loss", *named):
        assert torch.isfinite(trainer.callback_metrics[name]), name


@pytest.mark.slow
def test_what_is_new_goes_on_where_it_was(new_case, tmp_path, make_trainer):
    """Weights, states of optimizers, schedules, means and metrics, bit for bit."""

    def run(epochs, ckpt_path=None):
        torch.manual_seed(5)
        model = new_case.make()
        torch.manual_seed(6)
        x, y = new_case.inputs(32), new_case.targets(32)
        data = ArrayDataModule(x, y, val=(x, y), scaling=None, batch_size=8)
        folder = HybridCheckpoint(dirpath=tmp_path / str(epochs), save_last=True)
        trainer = make_trainer(
            [ExactResume(), folder], max_epochs=2, limit_train_batches=4, enable_checkpointing=True
        )
        if epochs == 1:
            trainer.callbacks.append(StopAfter())
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return model, trainer

    whole, there = run(2)
    _, first = run(1)
    assert first.current_epoch == 1
    resumed, here = run(3, tmp_path / "1" / "last.ckpt")
    assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))
    for name, value in there.callback_metrics.items():
        assert torch.equal(value, here.callback_metrics[name]), name


class StopAfter(Callback):
    """Ends a run after its first epoch, of the two that its schedule is for."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


def test_what_is_new_predicts_raw_rows(new_case, make_trainer):
    model, _ = fitted(new_case, make_trainer)
    rows = new_case.inputs(5).flatten(1)
    table = model.predict(rows)
    assert len(table) == 5
    shares = [v for n, v in table.columns.items() if n.startswith("probability_")]
    assert len(shares) == 3 and all(0 <= share <= 1 for column in shares for share in column)


def test_the_standard_normalization_is_fitted(kind, make_trainer):
    model = kind.make(normalization="standard")
    make_trainer().fit(model, loader(kind))
    (layer,) = [m for m in model.modules() if isinstance(m, NormalizationLayer)]
    counts = {ParallelBankHybrid: 16 * (3 if model.hparams.get("scales") else 1)}
    assert layer.count == counts.get(type(model), 16)
    assert torch.isfinite(model.eval()(kind.inputs())).all()


class Rotation(nn.Module):
    """A layer of another library: no features in common with ours but `output_size`."""

    def __init__(self, input_size):
        super().__init__()
        self.angles = nn.Parameter(torch.randn(input_size))
        self.output_size = 2 * input_size

    def forward(self, x):
        return torch.cat([(x + self.angles).cos(), (x + self.angles).sin()], -1)


@pytest.mark.parametrize("changes", [{}, dict(checkpoint_quantum=True)])
def test_a_foreign_layer_takes_the_place_of_ours(kind, changes, make_trainer):
    class Foreign(kind.cls):
        def build_quantum(self):
            if issubclass(kind.cls, ParallelBankHybrid):
                layers = [mark_photonic(Rotation(self.encoded_dim)) for _ in range(3)]
                return ModuleStack(layers)
            width = self.encoded_dim if hasattr(self, "encoded_dim") else self.hparams.quantum_dim
            return mark_photonic(Rotation(width))

    model = kind.make(Foreign, **changes)
    before = {n: p.clone() for n, p in split_parameters(model)["photonic"].items()}
    assert before and all(name.endswith("angles") for name in before)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, loader(kind))
    assert "photonic" in {group["name"] for group in trainer.optimizers[0].param_groups}
    after = dict(model.named_parameters())
    assert all((after[name] != value).any() for name, value in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parallel-gated", "parallel-path-dropout", "bank-inputs"])
def test_two_processes_train(name, make_trainer):
    case = Case(name)
    model = case.make(normalization="standard")
    trainer = make_trainer(devices=2, strategy="ddp_spawn", max_epochs=2)
    trainer.fit(model, loader(case))
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    if model.hparams.get("fusion") == "gated":
        weights = [trainer.callback_metrics[f"fusion/weight_{n}"] for n in model.components]
        assert sum(weights) == pytest.approx(1.0, abs=1e-5)
