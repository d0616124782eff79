"""Models whose sizes are left to the data are those that numbers would have made."""

import copy
import pickle
from abc import ABC

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import (
    ArrayDataModule,
    HybridModule,
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    TableDataModule,
    load,
    photonic_modules,
    split_parameters,
)
from hybridlit.templates.unbuilt import Unbuilt

SMALL = dict(n_modes=4, n_photons=2)
TEMPLATES = {
    SequentialHybrid: dict(quantum_dim=2),
    ParallelHybrid: dict(hidden_dims=[4]),
    ResidualHybrid: dict(hidden_dims=[4], quantum_dim=2),
    ParallelBankHybrid: dict(n_layers=2),
}


class Deep(SequentialHybrid):
    """Passes all on, some by position."""

    def __init__(self, *args, depth=2, **kwargs):
        super().__init__(*args, **kwargs)


class Waiting(SequentialHybrid):
    """Waits by default, needs the numbers before its base has them, and fixes its task."""

    def __init__(self, input_dim="auto", output_dim="auto", **options):
        width = input_dim // 2
        super().__init__(input_dim, width, output_dim, **SMALL, **options)


class Values(ParallelHybrid):
    """Fixes its task."""

    def __init__(self, input_dim, output_dim):
        super().__init__(input_dim, output_dim, task="regression", **SMALL)


def rows(shape=(5,), targets=(), count=40):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, *shape, generator=generator)
    return x, torch.randn(count, *targets, generator=generator)


class Foreign(LightningDataModule):
    """A data module of somebody else, whose data are there once it is set up."""

    def __init__(self, x, y, **attributes):
        super().__init__()
        self.given = x, y
        vars(self).update(attributes)

    def setup(self, stage):
        self.data = TensorDataset(*self.given)

    def train_dataloader(self):
        return DataLoader(self.data, batch_size=8, shuffle=True)


def test_a_trainer_makes_what_numbers_make(data, make_trainer):
    for cls, options in TEMPLATES.items():
        runs = []
        for sizes in ({"input_dim": 5, "output_dim": 3}, dict(input_dim="auto", output_dim="auto")):
            torch.manual_seed(0)
            model = cls(**sizes, **options, **SMALL)
            trainer = make_trainer()
            trainer.fit(model, data)
            assert type(model) is cls and model.trainer is trainer
            runs.append((model, trainer))
        (one, _), (two, trainer) = runs
        assert dict(one.hparams) == dict(two.hparams) and one.own_arguments == two.own_arguments
        assert dict(one.hparams_initial) == dict(two.hparams_initial)
        expected = two.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("cls", TEMPLATES)
def test_each_size_alone_and_checkpoints_need_no_data(cls, data, make_trainer, tmp_path):
    for given in ({"input_dim": "auto", "output_dim": 3}, {"input_dim": 5, "output_dim": "auto"}):
        model = cls(**given, **TEMPLATES[cls], **SMALL).build(data)
        assert type(model) is cls and model(torch.randn(2, 5)).shape == (2, 3)
    trainer = make_trainer()
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load(tmp_path / "a.ckpt")
    assert (loaded.hparams["input_dim"], loaded.hparams["output_dim"]) == (5, 3)
    x = torch.randn(4, 5)
    assert torch.equal(loaded(x), model.eval()(x))


@pytest.mark.parametrize(
    ("task", "targets", "outputs"),
    [("regression", (), 1), ("regression", (3,), 3), ("binary", (), 1), ("multiclass", (), 4)],
)
def test_the_task_decides_what_the_outputs_are(task, targets, outputs):
    x, y = rows(targets=targets)
    y = {"binary": (y > 0).long(), "multiclass": torch.arange(40) % 4}.get(task, y)
    for data in (ArrayDataModule(x, y), Foreign(x, y, num_classes=4)):
        model = ParallelHybrid("auto", "auto", task=task, **SMALL).build(data)
        assert model.hparams["output_dim"] == outputs


@pytest.mark.parametrize("front", [None, "cnn"])
def test_rows_that_are_not_flat_bring_their_shape(front):
    data = ArrayDataModule(*rows((1, 6, 7), (2,)))
    options = dict(task="regression", front=front, **SMALL)
    model = SequentialHybrid("auto", 3, "auto", **options).build(data)
    assert model.hparams["input_shape"] == [1, 6, 7] and model.hparams["input_dim"] == 42
    assert model(torch.randn(3, 1, 6, 7)).shape == (3, 2)
    given = SequentialHybrid("auto", 3, "auto", input_shape=[2, 21], task="regression", **SMALL)
    assert given.build(data).hparams["input_dim"] == 42


def test_foreign_data_are_asked_for_their_first_batch(make_trainer):
    x, y = rows((2, 5), (2,))
    model = ParallelHybrid("auto", "auto", task="regression", **SMALL)
    state = torch.get_rng_state()
    model._sized(Foreign(x, y))
    assert torch.equal(state, torch.get_rng_state())
    make_trainer().fit(model, Foreign(x, y))
    assert (model.hparams["input_shape"], model.hparams["output_dim"]) == ([2, 5], 2)
    loader = DataLoader(TensorDataset(x.flatten(1), y[:, 0]), batch_size=16, shuffle=True)
    model = Values("auto", "auto")
    make_trainer().fit(model, loader)
    assert (model.hparams["input_dim"], model.hparams["output_dim"]) == (10, 1)
    tested = Values("auto", "auto")
    make_trainer().test(tested, loader, verbose=False)
    assert tested.hparams["input_dim"] == 10


def test_foreign_data_that_do_not_tell_are_refused(make_trainer):
    x, y = rows()
    with pytest.raises(ValueError, match=r"Foreign does not tell .* num_classes: give output_dim"):
        SequentialHybrid("auto", 2, "auto").build(Foreign(x, y.long()))
    for wrong in ([x], [(x[0], y[0])], [{"x": x}], []):
        with pytest.raises(TypeError, match=r"pairs of tensors .*: give input_dim and output_dim"):
            SequentialHybrid("auto", 2, 3).build(wrong)
    for wrong in ("data.csv", 3, x, {"a": [(x, y)]}, iter([(x, y)])):
        with pytest.raises(TypeError, match="must be a LightningDataModule or one DataLoader"):
            SequentialHybrid("auto", 2, 3).build(wrong)
    model = SequentialHybrid("auto", 2, 3)
    with pytest.raises(TypeError, match="one DataLoader, got Unbuilt"):
        make_trainer().fit(model)
    assert type(model) is Unbuilt  # and may have other data
    assert model.build(Foreign(x, y)).hparams["input_dim"] == 5


def test_subclasses_have_numbers_wherever_they_look(data, make_trainer):
    model = Deep("auto", 3, "auto", depth=4).build(data)
    assert model.own_arguments["depth"] == 4
    assert dict(model.hparams)["input_dim"] == 5 and model.hparams["quantum_dim"] == 3
    assert type(model) is Deep and model(torch.randn(2, 5)).shape == (2, 3)
    waiting = Waiting()
    assert type(waiting) is Unbuilt
    make_trainer().fit(waiting, data)
    assert waiting.hparams["quantum_dim"] == 2
    assert type(copy.deepcopy(waiting)) is Waiting
    assert type(pickle.loads(pickle.dumps(waiting))) is Waiting
    assert Values("auto", "auto").build(ArrayDataModule(*rows(targets=(2,)))).task.output_dim == 2


def test_auto_inside_a_subclass_says_what_to_do():
    class Inside(SequentialHybrid):
        def __init__(self):
            super().__init__("auto", 2, 3, **SMALL)

    with pytest.raises(ValueError, match=r"input_dim must be numbers where Inside calls .* pass"):
        Inside()

    class Half(SequentialHybrid):
        def __init__(self, output_dim):
            super().__init__("auto", 2, output_dim, **SMALL)

    with pytest.raises(ValueError, match=r"^input_dim must be numbers where Half calls .* pass"):
        Half("auto")  # and not when there are data


def test_auto_for_an_argument_of_another_name_is_explained(data):
    class Renamed(HybridModule):
        def __init__(self, features, output_dim):
            super().__init__(output_dim=output_dim)
            self.layer = nn.Linear(features, output_dim)

    model = Renamed("auto", "auto")
    with pytest.raises(ValueError, match=r"features='auto' stays what it is, since only input_dim"):
        model.build(data)
    assert type(model) is Unbuilt


def test_everything_else_is_checked_at_once():
    with pytest.raises(TypeError, match="no argument 'n_mode'"):
        SequentialHybrid("auto", 2, "auto", n_mode=4)
    with pytest.raises(TypeError, match="quantum_dim"):
        SequentialHybrid("auto", output_dim="auto")
    with pytest.raises(ValueError, match="classical_lr must be"):
        SequentialHybrid("auto", 2, "auto", classical_lr=-1.0)
    with pytest.raises(ValueError, match="input_dim must be an integer or 'auto' or None, got"):
        SequentialHybrid("automatic", 2, "auto")


def test_an_unbuilt_model_says_so():
    model = SequentialHybrid("auto", 2, "auto")
    asked = {
        "forward": lambda: model(torch.randn(2, 5)),
        "parameters": lambda: list(model.parameters()),
        "named_parameters": lambda: split_parameters(model),
        "named_modules": lambda: photonic_modules(model),
        "state_dict": lambda: model.state_dict(),
        "hparams": lambda: model.hparams,
        "train": lambda: model.eval(),
        "predict": lambda: model.predict([[1.0]]),
        "quantum_layer": lambda: model.quantum_layer,
        "note": lambda: setattr(model, "note", 3),
    }
    for name, ask in asked.items():
        with pytest.raises(AttributeError) as refusal:
            ask()
        assert f"SequentialHybrid has no {name} yet" in str(refusal.value)
        assert "input_dim and output_dim wait for data: call model.build(data)" in str(
            refusal.value
        )
    assert repr(model) == "Unbuilt(SequentialHybrid, to be built for data)"
    assert not isinstance(model, HybridModule)


def test_copies_of_an_unbuilt_model_are_built_by_themselves(data):
    model = SequentialHybrid("auto", 2, "auto", **SMALL)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(again.build(data)) is SequentialHybrid
        assert type(model) is Unbuilt


def test_a_trainer_in_another_process_would_keep_the_weights(data, make_trainer):
    """As `ddp_spawn` does; its main process has an unbuilt model when the others are through."""
    model = SequentialHybrid("auto", 2, "auto", **SMALL)
    model._process -= 1
    with pytest.raises(RuntimeError, match=r"no weights back: call model\.build\(data\) before"):
        make_trainer().fit(model, data)
    make_trainer().fit(model.build(data), data)


def test_a_built_model_is_checked_to_fit(data):
    model = SequentialHybrid(5, 2, 3, **SMALL)
    assert model.build(data) is model
    with pytest.raises(ValueError, match=r"input_dim=4, but a row of ArrayDataModule has 5 feat"):
        SequentialHybrid(4, 2, 3, **SMALL).build(data)
    with pytest.raises(ValueError, match=r"output_dim=2, but .* has 3 classes: give output_dim=3"):
        SequentialHybrid(5, 2, 2, **SMALL).build(data)
    values = ArrayDataModule(*rows(targets=(2,)))
    with pytest.raises(ValueError, match=r"output_dim=3, but .* has 2 targets in a row: give"):
        SequentialHybrid(5, 2, 3, task="regression", **SMALL).build(values)
    SequentialHybrid(5, 2, 4, **SMALL).build(data)  # said in training


def test_a_fit_refuses_data_of_another_width_before_its_first_batch(data, make_trainer):
    class Narrow(SequentialHybrid):
        def forward(self, x):
            return super().forward(x[:, :4])

    with pytest.raises(ValueError, match=r"input_dim=4, but a row of ArrayDataModule has 5"):
        make_trainer().fit(SequentialHybrid(4, 2, 3, **SMALL), data)
    make_trainer().fit(Narrow(4, 2, 3, **SMALL), data)  # knows what it does


def test_a_constructor_that_fails_leaves_the_model_as_it_was():
    model = SequentialHybrid("auto", 2, "auto", front="gru", **SMALL)
    x, y = rows()
    with pytest.raises(ValueError, match="gru"):
        model.build(ArrayDataModule(x, (y > 0).long()))
    assert type(model) is Unbuilt
    x = x[:, None].expand(-1, 3, -1)
    assert model.build(ArrayDataModule(x, (y > 0).long())).hparams["input_shape"] == [3, 5]


def test_a_class_whose_objects_are_laid_out_otherwise_is_refused_at_once(data):
    class Named(ABC):  # noqa: B024
        pass

    class First(Named, SequentialHybrid):
        pass

    class Second(SequentialHybrid, Named):
        pass

    with pytest.raises(TypeError, match=r"First cannot wait for data.* name the template first"):
        First("auto", 2, 3, **SMALL)
    assert First(5, 2, 3, **SMALL).hparams["input_dim"] == 5
    assert type(Second("auto", 2, 3, **SMALL).build(data)) is Second


@pytest.mark.parametrize(("task", "targets", "outputs"), [("regression", 2, 2), ("binary", 0, 1)])
def test_a_task_is_known_that_a_constructor_tells_behind_the_numbers(task, targets, outputs):
    class Halved(ResidualHybrid):
        def __init__(self, input_dim, output_dim):
            width = input_dim // 2
            super().__init__(input_dim, output_dim, quantum_dim=width, task=task, n_photons=2)

    rows = torch.randn(40, 6)
    labels = torch.randn(40, targets) if targets else torch.arange(40) % 2
    made = Halved("auto", "auto").build(ArrayDataModule(rows, labels))
    assert (made.hparams["output_dim"], made.hparams["quantum_dim"]) == (outputs, 3)


def test_a_task_that_no_constructor_tells_is_asked_for():
    class Needing(ResidualHybrid):
        def __init__(self, input_dim, output_dim):
            super().__init__(input_dim, output_dim // 1, n_photons=2)

    with pytest.raises(ValueError, match="the constructor of Needing fails before it tells: give"):
        Needing("auto", "auto").build(ArrayDataModule(torch.randn(40, 6), torch.arange(40) % 3))


def test_real_targets_of_a_model_for_classes_are_told():
    rows = {"x": range(20), "price": [0.5 * row for row in range(20)]}
    arrays = ArrayDataModule(torch.randn(20, 3), torch.randn(20, 2))
    told = "are real values: give task='regression', or target_kind"
    for data, message in ((TableDataModule(rows, "price"), told), (arrays, "or task='regression'")):
        with pytest.raises(ValueError, match=message):
            ResidualHybrid("auto", "auto").build(data)


@pytest.mark.parametrize("given", [dict(input_dim="auto", output_dim="auto"), dict(input_dim=9)])
def test_arguments_that_are_missing_are_explained(given):
    """Whether the sizes are numbers or not; of a class that passes all on, Python names them."""
    quantum = r"quantum_dim \(number of features of the photonic layer, at least 1\)"
    outputs = "" if "output_dim" in given else r" and output_dim \(number of outputs\)"
    numbers = r"SequentialHybrid\(input_dim=10, quantum_dim=4, output_dim=3\)"
    left = r"SequentialHybrid\(input_dim='auto', quantum_dim=4, output_dim='auto'\)"
    end = f"give for instance {numbers}, or {left} for the sizes of the data$"
    with pytest.raises(TypeError, match=f"^SequentialHybrid is missing {quantum}{outputs}: {end}"):
        SequentialHybrid(**given, n_modes=4)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'output_dim'"):
        Deep(9, 3)
    for numbers in ((10, 4, 3), ("auto", 4, "auto")):
        SequentialHybrid(*numbers)


def test_a_misspelt_argument_that_is_needed_is_named():
    words = r"missing input_dim .* no input_dims \(did you mean 'input_dim'\?\)"
    with pytest.raises(TypeError, match=words):
        SequentialHybrid(input_dims=4, quantum_dim=2, output_dim=3)


def test_a_model_is_copied_as_torch_copies_modules():
    """Without a call of its constructor: `__new__` gets the class alone."""
    model = SequentialHybrid(4, 2, 3, n_modes=4)
    copy = model._replicate_for_data_parallel()
    assert type(copy) is SequentialHybrid and copy.quantum_layer is model.quantum_layer
