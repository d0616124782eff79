"""A checkpoint alone brings its model back, and decides nothing about what code is run."""

import sys
from pathlib import Path

import pytest
import torch

import hybridlit
from hybridlit import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
    load,
)
from hybridlit.cli.loading import load_model
from hybridlit.internals.lightning import INSTANTIATES

OLD = Path(__file__).parents[1] / "checkpoints_of_0_1_0"
SMALL = dict(n_modes=4, n_photons=2)
NAME = f"{__name__}.Wider"


class Wider(SequentialHybrid):
    """A subclass with an argument of its own, and one that a checkpoint cannot hold."""

    def __init__(self, *args, bias=True, head=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.head = torch.nn.Linear(3, 3, bias) if head is None else head

    def forward(self, x):
        return self.head(super().forward(x))


@pytest.fixture
def saved(make_trainer, tmp_path, data):
    """Save a model, with other things written into its checkpoint."""

    def save(model, changes=None, hparams=None):
        trainer = make_trainer(max_epochs=0)
        trainer.fit(model, data)
        path = tmp_path / "model.ckpt"
        trainer.save_checkpoint(path)
        content = torch.load(path, weights_only=True)
        content["hyper_parameters"].update(hparams or {})
        content.update(changes or {})
        content = {key: value for key, value in content.items() if value is not None}
        torch.save(content, path)
        return path

    return save


def small(cls=SequentialHybrid, **options):
    if issubclass(cls, SequentialHybrid):
        options["quantum_dim"] = 2
    return cls(input_dim=5, output_dim=3, **SMALL, **options)


def same(one, two):
    expected = two.state_dict()
    assert set(one.state_dict()) == set(expected)
    return all(torch.equal(value, expected[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    "cls", [SequentialHybrid, ParallelHybrid, ResidualHybrid, ParallelBankHybrid]
)
def test_a_template_comes_back_as_it_was(cls, saved):
    model = small(cls)
    for path in (saved(model), str(saved(model))):
        loaded = load(path)
        assert type(loaded) is cls and not loaded.training and same(loaded, model)
        name = torch.load(path, weights_only=True)["hybridlit_class"]
        assert name == f"hybridlit.{cls.__name__}"  # wherever its file will be
        assert loaded.device.type == "cpu" and dict(loaded.hparams) == dict(model.hparams)


@pytest.mark.parametrize("allow", [[Wider], [NAME], [__name__], [__name__.partition(".")[0]]])
def test_a_class_of_the_user_is_allowed_by_itself_its_name_or_its_module(allow, saved):
    model = small(Wider, bias=False)
    loaded = load(saved(model), allow)
    assert type(loaded) is Wider and same(loaded, model) and loaded.head.bias is None


@pytest.mark.parametrize("allow", [(), [SequentialHybrid], [NAME[:-1]], ["numpy"]])
def test_no_other_class_is_made(allow, saved):
    with pytest.raises(ValueError, match=rf"class {NAME}, which is neither .* allow=\[Wider\]"):
        load(saved(small(Wider)), allow)


def test_a_class_of_a_script_is_found_where_it_is_now(saved):
    path = saved(small(Wider), {"hybridlit_class": "__main__.Wider"})
    assert type(load(path, [Wider])) is Wider
    with pytest.raises(ValueError, match=r"class __main__\.Wider, which is neither"):
        load(path)


def test_arguments_that_the_file_does_not_hold_are_given(saved):
    with pytest.warns(UserWarning, match="do not hold what Wider was given for head"):
        path = saved(small(Wider, head=torch.nn.Linear(3, 3)))
    with pytest.raises(ValueError, match="saved with head other than the default"):
        load(path, [Wider])
    assert load(path, [Wider], head=torch.nn.Linear(3, 3)).head.out_features == 3


@pytest.mark.parametrize(
    ("changes", "hparams"),
    [
        ({"hybridlit_class": "trap.Mine"}, {}),
        ({"hybridlit_class": None}, {"_class_path": "trap.Mine"}),
        ({}, {"_class_path": "trap.Mine"}),
        ({}, {"_instantiator": "trap.make"}),
        ({}, {"front": {"class_path": "trap.Front"}, "_instantiator": INSTANTIATES}),
        ({}, {"front": ["{class_path: trap.Front}"]}),
        ({}, {"front": "front.yaml", "_instantiator": INSTANTIATES}),
        ({}, {"front": "long.yaml", "_instantiator": INSTANTIATES}),
        ({"hparams": {"front": {"class_path": "trap.Front"}}}, {}),
        ({"module_arguments": {"front": {"class_path": "trap.Front"}}}, {}),
    ],
)
def test_nothing_is_imported_that_is_not_allowed(changes, hparams, saved, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    (tmp_path / "front.yaml").write_text("class_path: trap.Front")
    (tmp_path / "long.yaml").write_text("# nothing\n" * 20_000 + "class_path: trap.Front")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"trap\.(Mine|make|Front).* trust the file"):
        load(saved(small(), changes, hparams))
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hybridlit.templates.NoSuchHybrid", "and there is none"),
        ("hybridlit.nothing.Hybrid", "and there is none"),
        ("hybridlit.data.ArrayDataModule", "which is no HybridModule"),
        ("hybridlit.templates.loading.load", "which is no HybridModule"),
    ],
)
def test_a_name_must_be_that_of_a_model(name, said, saved):
    with pytest.raises(ValueError, match=f"{name}.* {said}"):
        load(saved(small(), {"hybridlit_class": name}))


def test_what_is_no_checkpoint_is_told(tmp_path, saved, monkeypatch):
    path = saved(small())
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.ckpt: give the path of"):
        load(tmp_path / "none.ckpt")
    monkeypatch.chdir(tmp_path)
    example = (
        r"such as runs/NAME/version_0/checkpoints/last\.ckpt, which hybridlit fit writes; best"
    )
    with pytest.raises(FileNotFoundError, match=f"no file {tmp_path}/best: .* {example} is a word"):
        load("best")
    (tmp_path / "runs/iris/version_2/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/iris/version_2/checkpoints/last.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"such as runs/iris/version_2/checkpoints/last"):
        load("last")
    with pytest.raises(FileNotFoundError, match=r"is a folder: .* such as model\.ckpt"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"is a folder: .* there is none below it"):
        load(tmp_path / "empty")
    torch.save({"weights": torch.ones(2)}, tmp_path / "b.ckpt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "c.ckpt")
    (tmp_path / "d.ckpt").write_text("a,b\n1,2\n")
    (tmp_path / "e.ckpt").write_bytes(path.read_bytes()[:-300])
    (tmp_path / "f.ckpt").touch()
    for name in "bcdef":
        with pytest.raises(ValueError, match=rf"{name}\.ckpt is no checkpoint"):
            load(tmp_path / f"{name}.ckpt")


@pytest.mark.parametrize("loads", [load, load_model])
def test_a_file_is_read_once_to_be_checked_and_once_by_lightning(loads, saved, monkeypatch):
    path, read, calls = saved(small()), torch.load, []

    def counted(*args, **options):
        calls.append(options)
        return read(*args, **options)

    monkeypatch.setattr(torch, "load", counted)
    loads(path)
    assert len(calls) == 2 and all(options["weights_only"] for options in calls)


@pytest.mark.parametrize("wrong", [3, [3], "hybridlit", torch.nn.Linear, [torch.nn.Linear]])
def test_allow_is_a_list_of_models_and_names(wrong, saved):
    with pytest.raises(TypeError, match=r"allow must be .* got"):
        load(saved(small()), wrong)


@pytest.mark.parametrize("name", ["parallel", "residual", "sequential"])
def test_files_of_0_1_0_are_of_the_class_that_is_given(name):
    expected = torch.load(OLD / f"{name}-expected.pt", weights_only=True)
    cls = getattr(hybridlit, f"{name.title()}Hybrid")
    with pytest.raises(ValueError, match=r"does not say of which class .* allow=\[MyModel\]"):
        load(OLD / f"{name}.ckpt")
    model = load(OLD / f"{name}.ckpt", [cls])
    torch.testing.assert_close(model(expected["x"]), expected["outputs"], rtol=1e-5, atol=1e-6)
    assert model.preprocessing is None
