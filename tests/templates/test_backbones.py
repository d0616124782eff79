"""Networks of others as fronts, by class path: built, loaded with weights, frozen, checkpointed."""

import os
import re

import pytest
import torch
import yaml
from torch import nn

from hybridlit import ParallelHybrid, SequentialHybrid, load
from hybridlit.analysis.ablation.retraining import Recipe
from hybridlit.cli import main
from hybridlit.recipe.building import model_of_recipe

LINEAR = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 5, "out_features": 7}}
SMALL = dict(n_modes=4, n_photons=2, quantum_dim=2)


class Pooled(nn.Sequential):
    """A network with running statistics, such as others have."""

    def __init__(self, width: int):
        super().__init__(nn.Linear(5, width), nn.BatchNorm1d(width), nn.ReLU())


def pooled(width: int = 6) -> Pooled:
    return Pooled(width)


def unannotated(width=6):
    return Pooled(width)


def other() -> dict:
    return {}


def mine(name, **arguments):
    return {"class_path": f"{__name__}.{name}", "init_args": arguments}


def make(cls=SequentialHybrid, **options):
    return cls(input_dim=5, output_dim=3, **SMALL, **options)


@pytest.mark.parametrize("front", [mine("Pooled", width=6), mine("pooled"), LINEAR])
def test_a_class_or_a_function_gives_the_front(front):
    model = make(front=front)
    width = 7 if front is LINEAR else 6
    assert model.feature_dim == width and isinstance(model.front.output, nn.Identity)
    x = torch.randn(4, 5)
    model.eval()
    chained = model.classical_post(model.quantum_layer(model.classical_pre(model.front.network(x))))
    assert torch.equal(model(x), chained)
    assert model.hparams.front == front


def test_a_linear_layer_brings_it_to_another_width_and_trains_where_the_rest_is_frozen(
    make_trainer, data
):
    model = make(ParallelHybrid, front=mine("pooled"), front_dim=4, freeze_front=True)
    assert model.feature_dim == 4 and model.front.output.weight.shape == (4, 6)
    before = {name: value.clone() for name, value in model.front.state_dict().items()}
    make_trainer(max_epochs=2).fit(model, data)
    for name, value in model.front.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("network."), name


def test_looking_for_its_width_leaves_the_network_as_it_was():
    torch.manual_seed(3)
    network = make(front=mine("pooled")).front.network
    torch.manual_seed(3)
    for name, value in pooled().state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    assert all(module.training for module in network.modules())


# --- weights --------------------------------------------------------------------------------------


def test_weights_are_those_of_the_file_and_checkpoints_do_without_it(tmp_path, make_trainer, data):
    network = pooled()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    model = make(front=mine("pooled"), front_weights=tmp_path / "weights.pt", front_dim=4)
    assert torch.equal(model.front.network[0].weight, network[0].weight)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "weights.pt").unlink()
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert content["hyper_parameters"]["front_weights"] is None
    loaded = load(tmp_path / "model.ckpt")
    x = torch.randn(4, 5)
    assert torch.equal(loaded(x), model.eval()(x))

    # and a model of the checkpoint can be trained again with the same frozen front
    frozen = load(tmp_path / "model.ckpt", freeze_front=True)
    fresh = Recipe(frozen, None, 1, None, {}).fresh_model()
    for name, value in frozen.front.network.state_dict().items():
        assert torch.equal(fresh.front.network.state_dict()[name], value), name
    assert not torch.equal(fresh.front.output.weight, frozen.front.output.weight)


@pytest.mark.parametrize("front", ["conv1d", mine("pooled")])
def test_weights_of_a_checkpoint_are_those_of_its_front(front, tmp_path, make_trainer):
    shape = dict(input_shape=[5, 1]) if front == "conv1d" else dict(input_shape=[5])
    options = dict(input_dim=None, output_dim=3, front=front, **shape, **SMALL)
    first = SequentialHybrid(**options)
    trainer = make_trainer(max_epochs=0)
    trainer.fit(first, [(torch.randn(2, 5), torch.arange(2))])
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    second = ParallelHybrid(**options, front_weights=str(tmp_path / "first.ckpt"))
    for name, value in first.front.state_dict().items():
        assert torch.equal(second.front.state_dict()[name], value), name


def test_weights_that_do_not_fit_are_told(tmp_path):
    torch.save(nn.Linear(5, 6).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"front_weights must hold .* size mismatch for weight"):
        make(front=LINEAR, front_weights=tmp_path / "other.pt")
    (tmp_path / "code.pt").write_text("print(1)")
    with pytest.raises(ValueError, match="front_weights must be a file that loads safely"):
        make(front=LINEAR, front_weights=tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="front_weights must hold the weights of front"):
        make(front=LINEAR, front_weights=tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        make(front=LINEAR, front_weights=tmp_path / "none.pt")
    with pytest.raises(ValueError, match=r"front_weights='x\.pt' needs a front"):
        make(front_weights="x.pt")


# --- what is no front -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "error", "said"),
    [
        (
            {"class_path": "os.system", "init_args": {"command": "exit 3"}},
            TypeError,
            r"or a function with the annotation .* got class_path='os.system'",
        ),
        (mine("unannotated"), TypeError, "or a function with the annotation"),
        (mine("other"), TypeError, "or a function with the annotation"),
        ({"class_path": "hybridlit.load", "init_args": {"path": "x"}}, TypeError, "annotation"),
        ({"class_path": "torch.nn.Missing"}, ValueError, "front must name what can be imported"),
        ({"class_path": "no_such_package.Net"}, ValueError, "No module named 'no_such_package'"),
        ({"class_path": "Linear"}, ValueError, "must name what can be imported as module.Name"),
        ({"init_args": {}}, TypeError, "front must hold a class_path"),
        ({**LINEAR, "frozen": True}, TypeError, "front must hold .* got 'frozen' beside them"),
        ({**LINEAR, "init_args": [5, 7]}, TypeError, "front must hold a class_path"),
        (
            {"class_path": "torch.nn.Linear", "init_args": {"in_features": 4, "out_features": 2}},
            ValueError,
            r"front: torch.nn.Linear takes no rows of shape \[5\]: mat1 and mat2",
        ),
        (
            {"class_path": "torch.nn.GRU", "init_args": {"input_size": 5, "hidden_size": 2}},
            ValueError,
            r"front must give features of shape \(batch, front_dim\), got tuple from torch.nn.GRU",
        ),
    ],
)
def test_what_is_no_front_is_refused(front, error, said, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("it was called"))
    with pytest.raises(error, match=said):
        make(front=front)


def test_a_checkpoint_does_not_decide_what_is_imported(tmp_path, make_trainer, data, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap_of_fronts.py").write_text("raise SystemExit('imported')")
    trainer = make_trainer(max_epochs=0)
    trainer.fit(make(front=LINEAR), data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    nested = mine("Pooled", width={"class_path": "trap_of_fronts.make"})
    for front in ({"class_path": "trap_of_fronts.Front"}, nested):
        content["hyper_parameters"]["front"] = front
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(ValueError, match=r"asks for trap_of_fronts\.\w+, whose module is not"):
            load(tmp_path / "other.ckpt")
        # neither what comes after a name that is trusted
        content["hyper_parameters"]["front"] = [{"class_path": "third.Party"}, front]
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(ValueError, match=r"asks for trap_of_fronts\.\w+, whose module is not"):
            load(tmp_path / "other.ckpt", allow=["third"])


# --- by YAML --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")
def test_by_yaml_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = nn.Linear(4, 7)
    torch.save(network.state_dict(), "weights.pt")
    arguments = {"input_dim": "auto", "output_dim": "auto", "n_modes": 4, "n_photons": 2}
    arguments |= {"front": {**LINEAR, "init_args": {"in_features": 4, "out_features": 7}}}
    arguments |= {"front_dim": 3, "front_weights": "weights.pt", "freeze_front": True}
    recipe = {
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {"class_path": "ParallelHybrid", "init_args": arguments},
        "data": {"class_path": "SklearnDataModule", "init_args": {"dataset": "iris"}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert model_of_recipe("recipe.yaml").front.output.out_features == 3
    main(["fit", "--config", "recipe.yaml"])
    main(["test", "--ckpt", "last"])
    (checkpoint,) = tmp_path.glob("runs/*/*/checkpoints/last.ckpt")
    assert torch.equal(load(checkpoint).front.network.weight, network.weight)
    assert re.search("test/acc", capsys.readouterr().out)
