from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from hybridlit import CircuitType, SklearnDataModule
from hybridlit.cli.loading import load_model
from hybridlit.constructors import plain
from hybridlit.templates import HybridModule, SequentialHybrid


def test_every_argument_is_kept_before_the_network_is_built():
    seen = {}

    class Spy(SequentialHybrid):
        def __init__(self, *args, extra="default", **kwargs):
            super().__init__(*args, n_photons=2, **kwargs)

        def build_classical_pre(self):
            seen.update(self.hparams)
            return super().build_classical_pre()

    Spy(6, 2, output_dim=3, dropout=0.5)
    assert seen["extra"] == "default" and seen["dropout"] == 0.5
    assert (seen["input_dim"], seen["quantum_dim"], seen["output_dim"]) == (6, 2, 3)
    assert seen["n_photons"] == 2 and seen["n_modes"] == 6  # fixed, default
    assert seen["classical_lr"] == HybridModule(output_dim=2).hparams.classical_lr
    assert "self" not in seen and "kwargs" not in seen and "training" not in seen


def test_values_become_plain():
    model = SequentialHybrid(
        np.int64(6), 2, int(np.int64(3)), circuit_type=CircuitType.SERIES, dropout=np.float64(0.25)
    )
    assert type(model.hparams.input_dim) is int
    assert type(model.hparams.circuit_type) is str and model.hparams.circuit_type == "series"
    assert type(model.hparams.dropout) is float
    assert plain([1]) == [1] and plain(None) is None


def test_a_model_built_inside_another_keeps_its_own_arguments():
    class Pair(HybridModule):
        def __init__(self, width=6):
            super().__init__(output_dim=3)
            self.parts = nn.ModuleList([SequentialHybrid(width, 2, 3, n_modes=4)])

    model = Pair(width=5)
    assert "width" not in model.parts[0].hparams
    assert model.parts[0].hparams.n_modes == 4
    assert set(model.hparams) == {"width", *HybridModule(output_dim=3).hparams}


@pytest.mark.parametrize("arguments", [dict(width=7), dict()])
def test_a_checkpoint_holds_what_the_constructor_takes(arguments):
    class Own(HybridModule):
        def __init__(self, width=6, **kwargs):
            super().__init__(output_dim=3, task="regression", **kwargs)

    model = Own(classical_lr=0.5, **arguments)
    checkpoint = {"hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    kept = checkpoint["hyper_parameters"]
    assert kept == {"width": arguments.get("width", 6), "classical_lr": 0.5}
    assert dict(Own(**kept).hparams) == dict(model.hparams)


class WithModule(SequentialHybrid):
    """A subclass whose activation is given as a module, or as a class."""

    def __init__(self, *args, act=None, kind: type[nn.Module] = nn.ReLU, **kwargs):
        super().__init__(*args, **kwargs)

    def build_classical_post(self):
        post = super().build_classical_post()
        post[1] = self.hparams.act or self.hparams.kind()
        return post


def fitted(model, data, make_trainer, path):
    trainer = make_trainer(
        callbacks=[ModelCheckpoint(path, monitor="val/loss")], enable_checkpointing=True
    )
    trainer.fit(model, data)
    return trainer


@pytest.mark.parametrize(
    ("given", "activation"), [(dict(act=nn.Tanh()), nn.Tanh), (dict(kind=nn.GELU), nn.GELU)]
)
def test_an_argument_that_is_no_plain_value_is_left_out_and_asked_for(
    given, activation, data, make_model, make_trainer, tmp_path
):
    (name,) = given
    with pytest.warns(
        UserWarning, match=rf"do not hold .* for {name}, since .* {name}=\.\.\."
    ) as w:
        model = make_model(WithModule, dropout=0.25, **given)
        trainer = fitted(model, data, make_trainer, tmp_path)
    assert sum("no plain value" in str(each.message) for each in w) == 1
    assert not any("nn.Module` and is already saved" in str(each.message) for each in w)
    trainer.test(model, data, ckpt_path="best", verbose=False)
    path = trainer.checkpoint_callback.best_model_path
    kept = torch.load(path, weights_only=True)["hyper_parameters"]
    assert name not in kept and kept["dropout"] == 0.25
    again = WithModule.load_from_checkpoint(path, **given)
    assert type(again.classical_post[1]) is activation
    with pytest.raises(ValueError, match=rf"saved with {name} .*\(path, {name}=\.\."):
        WithModule.load_from_checkpoint(path)
    loaded = load_model(path, f"{__name__}.WithModule", **given)
    assert type(loaded.classical_post[1]) is activation


@pytest.mark.filterwarnings("error:.*plain value")
def test_a_default_that_is_no_plain_value_needs_no_word(data, make_model, make_trainer, tmp_path):
    model = make_model(WithModule)
    trainer = fitted(model, data, make_trainer, tmp_path)
    path = trainer.checkpoint_callback.best_model_path
    assert "kind" not in torch.load(path, weights_only=True)["hyper_parameters"]
    assert type(WithModule.load_from_checkpoint(path).classical_post[1]) is nn.ReLU


@pytest.mark.parametrize("value", [np.ones(2), {1: np.float32(0.5)}, Path("a"), torch.ones(2), {3}])
@pytest.mark.filterwarnings("ignore:.*plain value")
def test_whatever_is_given_the_checkpoint_loads(value, data, make_model, make_trainer, tmp_path):
    class Own(SequentialHybrid):
        def __init__(self, *args, extra, **kwargs):
            super().__init__(*args, **kwargs)

    trainer = fitted(make_model(Own, extra=value), data, make_trainer, tmp_path)
    path = trainer.checkpoint_callback.best_model_path
    kept = torch.load(path, weights_only=True)["hyper_parameters"]
    assert ("extra" in kept) is not isinstance(value, (np.ndarray, Path))
    if isinstance(value, dict):
        assert type(kept["extra"][1]) is float


@pytest.mark.filterwarnings("error:.*plain value")
def test_what_a_subclass_ignores_is_in_no_checkpoint(data, make_model, make_trainer, tmp_path):
    class Own(SequentialHybrid):
        def __init__(self, *args, act=None, width=3, classical_lr=0.1, **kwargs):
            super().__init__(*args, classical_lr=classical_lr, **kwargs)
            self.save_hyperparameters(ignore=["act", "width", "classical_lr"])

    model = make_model(Own, act=nn.Tanh(), width=5, dropout=0.25)
    assert "act" not in model.hparams and "width" not in model.hparams
    assert model.hparams.classical_lr == 0.1  # read in training
    trainer = fitted(model, data, make_trainer, tmp_path)
    path = trainer.checkpoint_callback.best_model_path
    kept = torch.load(path, weights_only=True)["hyper_parameters"]
    assert not {"act", "width", "classical_lr"} & set(kept) and kept["dropout"] == 0.25
    trainer.test(model, data, ckpt_path="best", verbose=False)
    Own.load_from_checkpoint(path)


def test_a_wrong_type_on_the_way_through_a_subclass_is_named():
    class Own(SequentialHybrid):
        def __init__(self, width: str = "no check of a stranger's annotations", **kwargs):
            super().__init__(**kwargs)

    arguments = dict(input_dim=5, quantum_dim=2, output_dim=3, n_modes=4, n_photons=2)
    Own(width=3, **arguments)
    with pytest.raises(TypeError, match=r"batch_norm must be True or False, got str 'false'"):
        Own(batch_norm="false", **arguments)
    with pytest.raises(TypeError, match=r"n_modes must be an integer, got float 4\.5"):
        Own(**arguments | dict(n_modes=4.5))


def test_numpy_arguments_of_a_data_module_do_not_spoil_the_checkpoint(make_trainer, tmp_path):
    data = SklearnDataModule("iris", batch_size=np.int64(64), val_fraction=np.float64(0.2))
    model = SequentialHybrid(4, 2, 3, n_modes=4, n_photons=2)
    trainer = fitted(model, data, make_trainer, tmp_path)
    trainer.test(model, data, ckpt_path="best", verbose=False)
