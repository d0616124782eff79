"""Models whose rows have several inputs by name, any of which may be missing."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hybridlit import (
    ArrayDataModule,
    ExactResume,
    MultiModalDataModule,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    export_model,
    load,
)
from hybridlit.blocks.named_inputs import NamedInputs

INPUTS = {"image": [1, 6, 5], "steps": [4, 2], "table": 3}
FRONTS = dict(front={"image": "cnn", "steps": "gru"}, front_dim={"image": 5, "steps": 2})
SMALL = dict(n_modes=4, n_photons=2, quantum_dim=2)
TEMPLATES = [SequentialHybrid, ParallelHybrid, ResidualHybrid, ParallelBankHybrid]


def make(cls=ParallelHybrid, **changes):
    given = dict(input_dim=None, output_dim=3, inputs=INPUTS, **FRONTS, **SMALL)
    return cls(**(given | changes))


def rows(count=6):
    return {
        "image": torch.randn(count, 1, 6, 5),
        "steps": torch.randn(count, 4, 2),
        "table": torch.randn(count, 3),
    }


def flat(x):
    return torch.cat([each.flatten(1) for each in x.values()], 1)


def lacking(x, **missing):
    x = {name: each.clone() for name, each in x.items()}
    for name, which in missing.items():
        x[name][which] = torch.nan
    return x


@pytest.fixture
def data():
    x = lacking(rows(60), table=slice(0, 20), image=slice(20, 30))
    arrays = {name: each.numpy() for name, each in x.items()} | {"y": np.arange(60) % 3}
    return MultiModalDataModule(arrays, target="y", batch_size=12)


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", TEMPLATES)
def test_names_and_all_side_by_side_are_the_same(cls):
    model, x = make(cls).eval(), rows()
    assert model.feature_dim == 5 + 2 + 3 and model.hparams.input_dim == 30 + 8 + 3
    assert torch.equal(model(x), model(flat(x)))
    turned = {name: x[name] for name in reversed(x)}
    assert torch.equal(model(turned), model(x))
    features = torch.cat([*(f(x[n]) for n, f in zip(x, model.front.fronts, strict=True))], 1)
    assert torch.equal(model.front_features(x), features)


@pytest.mark.parametrize("cls", TEMPLATES)
def test_the_mean_of_the_features_stands_in_for_what_is_missing(cls):
    model, x = make(cls), rows(16)
    model.train()(x)
    model.eval()
    features = model.front_features(x)
    less = model.front_features(lacking(x, image=[1, 4], steps=[4]))
    wanted = features.clone()
    wanted[[1, 4], :5] = features[:, :5].mean(0)  # the only training batch
    wanted[4, 5:7] = features[:, 5:7].mean(0)
    assert torch.allclose(less, wanted, atol=1e-6)
    others = [row for row in range(16) if row not in (1, 4)]
    assert torch.equal(less[others], features[others])
    with model.without("image"):
        assert torch.allclose(model.front_features(x)[:, :5], features[:, :5].mean(0).expand(16, 5))
    assert torch.equal(model.front_features(x), features)


def test_no_gradient_comes_to_a_front_from_rows_that_lack_its_input():
    model = make().train()
    model(lacking(rows(), image=slice(None))).square().sum().backward()
    image, steps, _ = model.front.fronts
    assert all(not p.grad.any() for p in image.parameters())
    assert any(p.grad.any() for p in steps.parameters())


def test_a_row_without_any_input():
    model, x = make(), lacking(rows(), image=[2], steps=[2], table=[2])
    with pytest.raises(ValueError, match=r"must have an input in every row, got row\(s\) \[2\]"):
        model(x)
    out = model.front(flat(x))  # where nothing looks
    assert out[2].isnan().all() and out[[0, 1, 3, 4, 5]].isfinite().all()


def test_a_value_that_is_not_finite_is_no_missing_input():
    model = make().eval()
    for value in (torch.nan, torch.inf):
        x = rows()
        x["table"][1, 0] = value
        with pytest.raises(ValueError, match=r"x must be finite, got .* row\(s\) \[1\]"):
            model(x)
        assert not model.front(flat(x))[1].isfinite().all()
    x["table"][1] = torch.inf
    with pytest.raises(ValueError, match="x must be finite"):
        model(x)
    assert model.usable_rows(flat(x)).tolist() == [True, False, True, True, True, True]


# --- which path sees what -------------------------------------------------------------------------


def test_a_path_sees_the_inputs_that_are_named_for_it():
    paths = {"quantum_path": ["table", "steps"], "classical_path": ["image"]}
    model = make(path_inputs=paths, quantum_dim=None).eval()
    assert model.encoded_dim == 5 and model.classical_path[0].in_features == 5
    x = rows()
    given = {}
    model.classical_path.register_forward_pre_hook(lambda _, a: given.update(classical=a[0]))
    model.normalization.register_forward_pre_hook(lambda _, a: given.update(quantum=a[0]))
    model(x)
    features = model.front_features(x)
    assert torch.equal(given["classical"], features[:, :5])
    assert torch.equal(given["quantum"], features[:, [7, 8, 9, 5, 6]])


def test_a_path_that_is_not_named_sees_all():
    model = make(path_inputs={"quantum_path": ["table"]}, quantum_dim=None)
    assert model.classical_path[0].in_features == 10 and model.encoded_dim == 3


# --- in a Trainer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", TEMPLATES)
def test_sizes_and_names_are_those_of_the_data(cls, data, make_trainer, tmp_path):
    options = dict(front={"image": "cnn"}, normalization="standard", **SMALL)
    model = cls(input_dim="auto", output_dim="auto", **options)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, data)
    assert model.hparams.inputs == data.input_shapes and model.hparams.input_dim == 41
    trainer.test(model, data, verbose=False)
    assert torch.cat(trainer.predict(model, data)).shape == (12, 3)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = load(tmp_path / "model.ckpt")
    x = lacking(rows(), table=[0])
    assert torch.equal(loaded(x), model.eval()(x))
    assert torch.equal(loaded.front.paths.mean, model.front.paths.mean)


def test_inputs_auto_and_loaders_of_dictionaries(make_trainer):
    x = rows(24)
    pairs = [({name: each[i] for name, each in x.items()}, i % 3) for i in range(24)]
    batches = DataLoader(pairs, batch_size=8)
    model = ResidualHybrid(None, 3, inputs="auto", n_modes=4, n_photons=2)
    make_trainer(max_epochs=1).fit(model, batches)
    assert model.hparams.inputs == {"image": [1, 6, 5], "steps": [4, 2], "table": [3]}
    others = ArrayDataModule(torch.randn(9, 3), [0, 1, 0] * 3)
    with pytest.raises(ValueError, match="inputs='auto' needs data with inputs by name"):
        ResidualHybrid(None, 2, inputs="auto").build(others)


def test_other_inputs_than_those_of_the_data_are_refused(data, make_trainer):
    other_order = {"table": 3, "image": [1, 6, 5], "steps": [4, 2]}
    for input_dim, inputs in ((None, other_order), (None, {"all": 41}), ("auto", {"table": 3})):
        model = ParallelHybrid(input_dim, 3, inputs=inputs, **SMALL)
        with pytest.raises(ValueError, match="give them like this, in this order"):
            make_trainer().fit(model, data)
    with pytest.raises(ValueError, match="inputs=None, but a row of MultiModalDataModule has"):
        make_trainer().fit(ParallelHybrid(41, 3, **SMALL), data)


def test_a_resumed_run_has_the_same_weights_and_means(data, make_trainer, tmp_path):
    whole = make(path_dropout=0.2)
    part = copy.deepcopy(whole)

    def fit(model, epochs, seed, **options):
        torch.manual_seed(seed)
        trainer = make_trainer([ExactResume()], max_epochs=epochs)
        trainer.fit(model, data, **options)
        return trainer

    fit(whole, 3, seed=2)
    fit(part, 2, seed=2).save_checkpoint(tmp_path / "part.ckpt")
    again = make(path_dropout=0.2)
    fit(again, 3, seed=9, ckpt_path=tmp_path / "part.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


# --- predictions and files ------------------------------------------------------------------------


def test_predictions_of_raw_rows(data, make_trainer):
    model = make()
    make_trainer(max_epochs=1).fit(model, data)
    model.eval()
    x = {name: each.numpy().astype(float) for name, each in lacking(rows(4), table=[0, 1]).items()}
    table = model.predict(x)
    with torch.no_grad():
        wanted = model(data.scale(x)).softmax(1)
    found = np.stack([table[f"probability_{label}"] for label in range(3)], 1)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-6)
    for name in x:
        x[name][3] = np.nan
    table = model.predict(x)
    assert table["y"][3] is None and table["y"][2] is not None
    assert table["flags"][3] == "image, steps, table missing: no prediction"
    assert model.predict({"image": x["image"][:3]})["y"].count(None) == 0


@pytest.mark.slow
def test_a_graph_knows_of_missing_inputs(data, make_trainer, tmp_path):
    model = make(SequentialHybrid)
    make_trainer(max_epochs=1).fit(model, data)
    export_model(model.eval(), tmp_path / "model.pt2")  # is compared with the model, NaN included
    graph = torch.export.load(tmp_path / "model.pt2").module()
    x = lacking(rows(5), table=[0, 1], image=[1, 3], steps=[1])
    x = flat(x).double()
    x[4, 0] = torch.nan
    found = graph(x)
    with torch.no_grad():
        wanted = model.predictions(model(model.preprocessing(x[[0, 2, 3]])))
    assert torch.allclose(found[[0, 2, 3]].float(), wanted, atol=1e-5)
    assert found[[1, 4]].isnan().all()


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (dict(inputs={}), ValueError, "inputs must name at least one input"),
        (dict(inputs={"table": 0}, front=None, front_dim=None), ValueError, r"inputs\['table'\]"),
        (dict(inputs={"x": [1, 2, 3, 4]}, front=None), ValueError, r"inputs\['x'\] must be a num"),
        (dict(inputs=["image"]), TypeError, "inputs must be a dictionary"),
        (dict(input_dim=40), ValueError, "input_dim must be 41, the number of values of all"),
        (dict(input_shape=[41]), ValueError, "input_shape must be None beside inputs"),
        (dict(front="cnn"), ValueError, "front must be given by the name of an input, of"),
        (dict(front={"sound": "cnn"}), ValueError, "front must be given by the name of an input"),
        (dict(front_dim=5), ValueError, "front_dim must be given by the name of an input that has"),
        (dict(front_dim={"table": 5}), ValueError, r"that has a front, of \['image', 'steps'\]"),
        (dict(front_dim={"image": 0}), ValueError, "front_dim must be at least 1"),
        (dict(front={"image": "gru"}, front_dim=None), ValueError, r"must be \[steps, features\]"),
        (dict(front_weights="x.pt"), ValueError, "front_weights must be given by the name of an"),
        (dict(front=None, front_dim=None, freeze_front=True), ValueError, "needs a front"),
        (dict(path_inputs={"path": ["table"]}), ValueError, "each key of path_inputs must be one"),
        (dict(path_inputs={"quantum_path": ["x"]}), ValueError, r"path_inputs\['quantum_path'\]"),
        (dict(path_inputs={"quantum_path": []}), ValueError, "must name some inputs, once, got"),
        (
            dict(path_inputs={"quantum_path": ["table"], "classical_path": ["table", "steps"]}),
            ValueError,
            "got none that sees 'image'",
        ),
        (
            dict(inputs=None, input_dim=4, front=None, front_dim=None, path_inputs={}),
            ValueError,
            "path_inputs must be None without inputs by name",
        ),
        (
            dict(inputs=None, input_dim=4, front=None, front_dim={"image": 3}),
            ValueError,
            "front_dim must be one for the only input",
        ),
        (
            dict(inputs=None, input_dim=4, front={"image": "cnn"}, front_dim=None),
            TypeError,
            "front must hold a class_path",
        ),
    ],
)
def test_arguments_that_cannot_be(changes, error, said):
    with pytest.raises(error, match=said):
        make(**changes)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda x: x.pop("table"), ValueError, "x must hold the inputs .* by name, got"),
        (lambda x: x.update(sound=x["table"]), ValueError, "x must hold the inputs .* by name"),
        (lambda x: x.update(table=x["table"][:3]), ValueError, "x must hold inputs of as many"),
        (lambda x: x.update(table=x["table"][:, :2]), ValueError, r"x\['table'\] must have shape"),
        (lambda x: x.update(table=[1.0]), TypeError, r"x\['table'\] must be a tensor, got list"),
        (lambda x: x.update({n: e.long() for n, e in x.items()}), TypeError, "real floating"),
    ],
)
def test_inputs_that_cannot_be(change, error, said):
    x = rows()
    change(x)
    with pytest.raises(error, match=said):
        make()(x)


def test_frozen_fronts_keep_still_while_means_are_taken(data, make_trainer):
    model = make(freeze_front=True)
    before = copy.deepcopy(model.front.fronts.state_dict())
    make_trainer(max_epochs=1).fit(model, data)
    for name, value in model.front.fronts.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.front.paths.count.min() > 0
    assert all(not front.training for front in model.front.fronts[:2])


def test_weights_by_the_name_of_an_input(tmp_path):
    backbone = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 3, "out_features": 2}}
    layer = nn.Linear(3, 2)
    torch.save(layer.state_dict(), tmp_path / "table.pt")
    model = make(
        front={"table": backbone, "image": "cnn"},
        front_dim={"table": 4},
        front_weights={"table": str(tmp_path / "table.pt")},
    )
    assert torch.equal(model.front.fronts[2].network.weight, layer.weight)
    assert model.feature_dim == 32 + 8 + 4


def test_the_block_alone():
    block = NamedInputs({"a": [2], "b": [1]}).train()
    block(torch.tensor([[1.0, 3.0, 5.0], [torch.nan, torch.nan, 7.0], [3.0, 5.0, torch.nan]]))
    out = block.eval()(torch.tensor([[torch.nan, torch.nan, 1.0], [9.0, 9.0, torch.nan]]))
    assert out.tolist() == [[2.0, 4.0, 1.0], [9.0, 9.0, 6.0]]
    assert block.spans == {"a": slice(0, 2), "b": slice(2, 3)}


def test_a_model_without_a_preparation_predicts_on_arrays_by_name():
    """As its forward takes them; what a row lacks is told."""
    model = ParallelHybrid(None, 3, inputs={"image": [1, 6, 5], "table": 3}, **SMALL)
    image, table = torch.randn(4, 1, 6, 5), torch.randn(4, 3)
    table[1] = torch.nan
    image[2], table[2] = torch.nan, torch.nan
    found = model.predict({"table": table.numpy(), "image": image})
    wanted = model.eval()({"image": image[:2], "table": table[:2]}).softmax(-1)
    assert found["probability_1"][:2] == pytest.approx(wanted[:, 1].tolist(), rel=1e-5)
    assert found["flags"] == ["", "table missing", "image, table missing: no prediction", ""]
    assert found["target"][2] is None
    assert model.predict({"image": image[:2]})["flags"] == ["table missing"] * 2
    with pytest.raises(ValueError, match=r"rows must be arrays of the names \['image', 'table'\]"):
        model.predict(image[:2])
    with pytest.raises(ValueError, match=r"rows must hold arrays of the names"):
        model.predict({"picture": image})
