import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from hybridlit import CircuitType, mark_photonic, split_parameters
from hybridlit.blocks import NormalizationLayer, RowSafeBatchNorm1d
from hybridlit.templates import SequentialHybrid


def test_the_chain_and_its_default_widths():
    model = SequentialHybrid(input_dim=10, quantum_dim=3, output_dim=4)
    kinds = [type(block) for block in model.classical_pre]
    assert kinds == [nn.Linear, RowSafeBatchNorm1d, nn.ReLU, nn.Linear, NormalizationLayer]
    assert [type(block) for block in model.classical_post] == [
        nn.Linear,
        nn.ReLU,
        nn.Dropout,
        nn.Linear,
    ]
    assert model.classical_pre[0].out_features == 6
    assert (model.quantum_layer.input_size, model.quantum_layer.output_size) == (3, 6)
    assert model.classical_post[0].out_features == 16
    assert SequentialHybrid(10, 3, 9).classical_post[0].out_features == 18
    assert model.quantum_layer.experiment.n_modes == 6
    assert model.quantum_layer.experiment.n_photons == 3


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_share_that_is_dropped(share):
    model = SequentialHybrid(input_dim=4, quantum_dim=2, output_dim=3, dropout=share, n_modes=4)
    (dropout,) = [block for block in model.modules() if isinstance(block, nn.Dropout)]
    assert dropout.p == share and dropout in model.classical_post


def test_the_output_is_the_chain():
    model = SequentialHybrid(6, 2, 3, n_modes=4).eval()
    x = torch.randn(5, 6)
    encoded = model.classical_pre(x)
    assert ((encoded > 0) & (encoded < 1)).all()
    assert torch.equal(model(x), model.classical_post(model.quantum_layer(encoded)))


def test_nothing_goes_around_the_photonic_layer():
    model = SequentialHybrid(6, 2, 3, n_modes=4).eval()
    model.quantum_layer.forward = lambda x: torch.zeros(len(x), 4)
    outputs = model(torch.randn(5, 6))
    assert torch.equal(outputs, outputs[:1].expand(5, 3))


def test_every_parameter_gets_a_gradient_at_the_first_step():
    model = SequentialHybrid(6, 3, 2, n_modes=5, dropout=0.0, head_dim=32)
    model.loss(model(torch.randn(64, 6)), torch.arange(64) % 2).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a bias before batch normalization is removed by it
    assert dead in ([], ["classical_pre.0.bias"])


@pytest.mark.parametrize("circuit_type", ["series", "parallel", "parallel_columns"])
@pytest.mark.parametrize(
    ("mapping", "space", "outputs"),
    [
        ("linear", "fock", 6),
        ("grouping", "fock", 6),
        ("lexgrouping", "unbunched", 6),
        ("modgrouping", "fock", 6),
        ("none", "fock", 15),
        ("none", "unbunched", 10),
    ],
)
def test_circuits(circuit_type, mapping, space, outputs):
    model = SequentialHybrid(
        4,
        3,
        2,
        circuit_type=circuit_type,
        n_modes=5,
        n_photons=2,
        output_mapping_strategy=mapping,
        computation_space=space,
    )
    assert model.classical_post[0].in_features == outputs
    assert model(torch.randn(3, 4)).shape == (3, 2)


@pytest.mark.parametrize("normalization", ["sigmoid", "tanh", "minmax", "standard"])
def test_normalizations(normalization):
    model = SequentialHybrid(4, 3, 2, n_modes=4, normalization=normalization)
    if normalization == "standard":
        with pytest.raises(RuntimeError, match="has seen no training data"):
            model(torch.randn(3, 4))
        model.classical_pre[-1].fit(torch.randn(20, 3))
    assert model(torch.randn(3, 4)).shape == (3, 2)


def test_options():
    model = SequentialHybrid(
        4,
        3,
        2,
        n_modes=4,
        batch_norm=False,
        hidden_dim=11,
        head_dim=13,
        quantum_output_dim=7,
        dropout=0.0,
        use_bandwidth_tuning=False,
        reservoir_mode=True,
        state_pattern="sequential",
    )
    assert not any(isinstance(m, nn.BatchNorm1d) for m in model.modules())
    assert model.classical_pre[0].out_features == 11
    assert model.classical_post[0].weight.shape == (13, 7)
    assert split_parameters(model)["photonic"] == {}
    assert tuple(model.quantum_layer.input_state) == (1, 1, 1, 0)


def test_it_is_an_ordinary_module():
    model = SequentialHybrid(6, 2, 3, n_modes=4)
    optimizer = model.configure_optimizers()
    x, y = torch.randn(32, 6), torch.arange(32) % 3
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = model.loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("used", [False, True])
def test_copies_are_equal_and_independent(copied, used):
    model = SequentialHybrid(6, 2, 3, n_modes=4)
    x = torch.randn(5, 6)
    if used:
        model.loss(model(x), torch.tensor([0, 1, 2, 0, 1])).backward()
    other = copied(model)
    assert torch.equal(model.eval()(x), other.eval()(x))
    assert dict(other.hparams) == dict(model.hparams)
    with torch.no_grad():
        other.quantum_layer.phases.add_(1.0)
    assert not torch.equal(model(x), other(x))


def test_double_precision():
    model = SequentialHybrid(6, 2, 3, n_modes=4).double()
    assert model(torch.randn(5, 6, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.randn(5, 4), ValueError, r"\(batch, input_dim=6\), got \(5, 4\)"),
        (torch.randn(6), ValueError, r"got \(6,\)"),
        (torch.randn(2, 5, 6), ValueError, r"got \(2, 5, 6\)"),
        (torch.ones(5, 6).long(), TypeError, r"got torch.int64; use x.float\(\)"),
        (torch.ones(5, 6).double(), TypeError, "float64 and the model is float32"),
    ],
)
def test_bad_inputs(x, error, message):
    with pytest.raises(error, match=message):
        SequentialHybrid(6, 2, 3, n_modes=4)(x)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(input_dim=0), ValueError, "input_dim must be at least 1, got 0"),
        (dict(quantum_dim=1.5), TypeError, "quantum_dim must be an integer"),
        (dict(hidden_dim=0), ValueError, "hidden_dim must be at least 1"),
        (dict(head_dim=-1), ValueError, "head_dim must be at least 1"),
        (dict(quantum_output_dim=0), ValueError, "quantum_output_dim must be at least 1"),
        (dict(dropout=1.0), ValueError, "dropout must be at least 0 and below 1, got 1.0"),
        (dict(normalization="none"), ValueError, "normalization must be one of"),
        (dict(circuit_type="ring"), ValueError, "circuit_type must be one of"),
        (dict(n_photons=0), ValueError, "n_photons"),
        (dict(quantum_dim=1, normalization="minmax"), ValueError, "needs at least 3"),
    ],
)
def test_bad_arguments(changes, error, message):
    arguments = dict(input_dim=6, quantum_dim=2, output_dim=3, n_modes=4)
    with pytest.raises(error, match=message):
        SequentialHybrid(**(arguments | changes))


class Deep(SequentialHybrid):
    """Overrides one builder, with an argument of its own and one fixed."""

    def __init__(self, *args, depth=2, **kwargs):
        super().__init__(*args, n_modes=4, **kwargs)

    def build_classical_pre(self):
        layers = [nn.Linear(self.hparams.input_dim, self.hparams.quantum_dim), nn.Tanh()]
        for _ in range(self.hparams.depth):
            layers += [nn.Linear(self.hparams.quantum_dim, self.hparams.quantum_dim), nn.Sigmoid()]
        return nn.Sequential(*layers)


def test_a_subclass_overrides_one_builder():
    model = Deep(6, 2, 3, depth=3)
    assert len(model.classical_pre) == 8
    assert model.quantum_layer.experiment.n_modes == 4
    assert model(torch.randn(5, 6)).shape == (5, 3)


def test_a_subclass_overrides_the_loss(data, make_model, make_trainer):
    class Smoothed(SequentialHybrid):
        def loss(self, outputs, targets):
            return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.2)

    model, trainer = make_model(Smoothed), make_trainer()
    trainer.fit(model, data)
    inputs, targets = data.val
    with torch.no_grad():
        outputs = model.eval()(inputs)
    expected = nn.functional.cross_entropy(outputs, targets, label_smoothing=0.2)
    assert trainer.callback_metrics["val/loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_regression_loss_never_broadcasts(make_model, make_trainer):
    from hybridlit.data import ArrayDataModule

    shapes = set()

    class Absolute(SequentialHybrid):
        def loss(self, outputs, targets):
            shapes.add((outputs.shape[1:], targets.shape[1:]))
            return nn.functional.l1_loss(outputs, targets)

    x = torch.randn(20, 5)
    model = make_model(Absolute, task="regression", output_dim=1)
    make_trainer().fit(model, ArrayDataModule(x, x[:, 0]))
    assert shapes == {((1,), (1,))}


def test_a_foreign_layer_takes_the_place_of_the_photonic_one(data, make_model, make_trainer):
    class Rotation(nn.Module):
        output_size = 4

        def __init__(self):
            super().__init__()
            self.angles = nn.Parameter(torch.randn(2))

        def forward(self, x):
            return torch.cat([(x + self.angles).cos(), (x + self.angles).sin()], -1)

    class Foreign(SequentialHybrid):
        def build_quantum(self):
            return mark_photonic(Rotation())

    model = make_model(Foreign)
    make_trainer().fit(model, data)
    groups = {g["name"]: g["params"] for g in model.configure_optimizers().param_groups}
    assert [id(p) for p in groups["photonic"]] == [id(model.quantum_layer.angles)]

    class Sizeless(Foreign):
        def build_quantum(self):
            return nn.Identity()

    with pytest.raises(TypeError, match="Identity has no integer attribute output_size"):
        make_model(Sizeless)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Deep(6, 2, 3, depth=3),
        lambda: Deep(6, 2, output_dim=3, depth=1, dropout=0.0),
        lambda: Deep(input_dim=6, quantum_dim=2, output_dim=3),
        lambda: SequentialHybrid(6, 2, 3, circuit_type=CircuitType.PARALLEL, task="multiclass"),
    ],
)
def test_checkpoints_of_subclasses_load(make, tmp_path, make_trainer):
    model = make()
    trainer = make_trainer(enable_checkpointing=True)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=True)
    restored = type(model).load_from_checkpoint(tmp_path / "model.ckpt")
    assert dict(restored.hparams) == dict(model.hparams)
    x = torch.randn(4, 6)
    assert torch.equal(model.eval()(x), restored.eval()(x))


class Positive(Deep):
    """Puts something behind the head."""

    def build_classical_post(self):
        return nn.Sequential(super().build_classical_post(), nn.Softplus())


@pytest.mark.parametrize("kind", [SequentialHybrid, Positive])
def test_a_checkpoint_of_an_older_version_keeps_its_head(kind, tmp_path, make_trainer):
    """By default that had twice `output_dim` units; `test_old_checkpoints.py` trains one on."""
    older, path = kind(6, 2, 3, head_dim=6).eval(), tmp_path / "model.ckpt"

    def save(model):
        trainer = make_trainer(enable_checkpointing=True)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(path)
        return torch.load(path, weights_only=True)

    content = save(older)
    del content["hyper_parameters"]["head_dim"]
    x = torch.randn(4, 6)
    for _ in range(2):
        torch.save(content, path)
        model = kind.load_from_checkpoint(path).eval()
        assert torch.equal(model(x), older(x)) and model.hparams["head_dim"] is None
        another = kind(**model.own_arguments).state_dict()
        assert [v.shape for v in another.values()] == [v.shape for v in older.state_dict().values()]
        content = save(model)
        assert content["hyper_parameters"].get("head_dim") is None  # shapes tell


def test_a_state_of_an_older_version_loads_wherever_the_model_is():
    older, model = SequentialHybrid(6, 2, 3, head_dim=6), SequentialHybrid(6, 2, 3).double()
    model.classical_post.requires_grad_(False)
    state = torch.get_rng_state()
    nn.ModuleList([model]).load_state_dict({f"0.{n}": v for n, v in older.state_dict().items()})
    assert torch.equal(torch.get_rng_state(), state)
    head = list(model.classical_post.parameters())
    assert [p.dtype for p in head] == [torch.float64] * 4 and not any(p.requires_grad for p in head)
    x = torch.randn(4, 6)
    torch.testing.assert_close(model.eval()(x.double()).float(), older.eval()(x))
    other = SequentialHybrid(6, 2, 3)
    with pytest.raises(RuntimeError, match=r"copying a param with shape torch.Size\(\[7, "):
        other.load_state_dict(SequentialHybrid(6, 2, 3, head_dim=7).state_dict())
    assert other.hparams["head_dim"] is None and other.classical_post[0].out_features == 16


def test_sizes_that_seem_to_be_swapped_are_named(data, make_model, make_trainer):
    said = "output_dim=4 and quantum_dim=3, but the data have 3 classes: by position the order is"
    with pytest.warns(UserWarning, match=said):
        make_trainer().fit(make_model(quantum_dim=3, output_dim=4), data)
    for quantum, outputs in ((3, 3), (2, 4)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_trainer().fit(make_model(quantum_dim=quantum, output_dim=outputs), data)
        assert not [w for w in caught if "by position" in str(w.message)]


def test_an_older_head_is_trained_by_an_optimizer_of_before_and_given_back():
    """The same parameters with other sizes; a state of today gives the head of today."""
    model = SequentialHybrid(6, 2, 3, n_modes=4).double()
    today = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    older = SequentialHybrid(6, 2, 3, n_modes=4, head_dim=6).double().state_dict()
    model.load_state_dict(older)
    assert model.classical_post[0].out_features == 6
    model.loss(model(torch.randn(8, 6, dtype=torch.float64)), torch.arange(8) % 3).backward()
    optimizer.step()
    held = {id(p) for p in optimizer.param_groups[0]["params"]}
    assert held == {id(p) for p in model.parameters()}
    moved = model.classical_post[3].weight
    assert moved.dtype == torch.float64 and not torch.equal(moved, older["classical_post.3.weight"])
    model.load_state_dict(today)
    assert torch.equal(model.classical_post[0].weight, today["classical_post.0.weight"])
