"""Every key of the table of log keys is in an event file, and every key there is in the table.

The table of the README, that of the code and the docstrings of those who write them are the same.
"""

import re
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision as HalfPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import hybridlit
from hybridlit import (
    ArrayDataModule,
    GradientImbalanceMonitor,
    OverfittingDetector,
    ParallelHybrid,
    SequentialHybrid,
)
from hybridlit.callbacks import MixedPrecision
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.cli import main

pytest.importorskip("matplotlib", reason="recipes extra: the circuit is drawn with it")

ROOT = Path(__file__).parents[1]
README = ROOT / "hybridlit" / "callbacks" / "README.md"
TABLE = README.read_text().partition("## Log keys")[2].partition("\n## ")[0]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def keys_of(folder):
    """Tags as callbacks write them; TensorBoard adds a suffix to texts."""
    tags = events(folder).Tags()
    texts = {tag for tag in tags["tensors"] if tag.endswith("/text_summary")}
    return {
        *tags["scalars"],
        *tags["images"],
        *tags["histograms"],
        *(tag.removesuffix("/text_summary") for tag in texts),
    }


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, blank_pictures):
    """The recipe with all callbacks, short, so that its monitors have to look more often."""
    place = tmp_path_factory.mktemp("recipe")
    content = yaml.safe_load((ROOT / "recipes" / "digits_callbacks.yaml").read_text())
    content["trainer"] |= {"max_epochs": 4, "log_every_n_steps": 5}
    for callback in content["trainer"]["callbacks"]:
        if callback["class_path"] == "OverfittingDetector":
            callback["init_args"] = {"every_n_steps": 17}
        if callback["class_path"] == "GradientImbalanceMonitor":
            callback["init_args"] = {"every_n_steps": 1}
    (place / "digits_callbacks.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(["fit", "--config=digits_callbacks.yaml", "--trainer.enable_progress_bar=false"])
    return place / "runs" / "digits_callbacks" / "version_0"


def fit(folder, model, data, callbacks, **options):
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
    trainer = Trainer(
        accelerator="cpu",
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, LearningRateMonitor()],
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    return keys_of(folder)


class TwoLoaders(LightningDataModule):
    """The test rows are validated on as well."""

    def __init__(self, data):
        super().__init__()
        self.train_dataloader, self.test_dataloader = data.train_dataloader, data.test_dataloader
        self.val_dataloader = lambda: [data.val_dataloader(), data.test_dataloader()]


@pytest.fixture(scope="module")
def found(recipe, tmp_path_factory):
    """Keys of the recipe, and of runs that bring what it does not."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("runs")
    x = torch.randn(240, 6)
    noise = ArrayDataModule(
        x[:40],
        torch.arange(40) % 2,
        val=(x[40:], torch.arange(200) % 2),
        test=(x[:40], torch.arange(40) % 2),
        scaling=None,
    )
    wide = ParallelHybrid(
        6, 2, hidden_dims=[512, 512, 8], circuit_type="series", fusion="gated", n_modes=4
    )
    values = ArrayDataModule(x, x[:, :1])
    regression = SequentialHybrid(
        6, 2, 1, task="regression", stages=[["classical", 1], ["both", 1]], n_modes=4
    )
    return (
        keys_of(recipe)
        | fit(
            place / "memorizes",
            wide,
            noise,
            [OverfittingDetector(every_n_steps=10), GradientImbalanceMonitor(action="rebalance")],
            max_epochs=60,
        )
        | fit(
            place / "regression",
            regression,
            values,
            [MixedPrecision(every_n_steps=1)],
            max_epochs=2,
            plugins=[HalfPrecision("16-mixed", "cpu")],
        )
        | fit(
            place / "labels",
            SequentialHybrid(6, 2, 2, task="multilabel", metrics=["f1", "auroc"], n_modes=4),
            TwoLoaders(ArrayDataModule(x, (x[:, :2] > 0).long())),
            [],
            max_epochs=1,
        )
    )


@pytest.mark.parametrize("key", LogKey)
def test_a_key_of_the_table_is_in_an_event_file(found, key):
    assert any(re.fullmatch(key.pattern, tag) for tag in found), sorted(found)


def test_every_key_in_an_event_file_is_in_the_table(found):
    known = "|".join(key.pattern for key in LogKey)
    assert {tag for tag in found if not re.fullmatch(known, tag)} == set()


def test_the_readme_has_the_keys_of_the_code():
    rows = [line.split("|")[1:3] for line in TABLE.splitlines() if line.startswith("| `")]
    written = {key: writers for keys, writers in rows for key in re.findall(r"`([^`]+)`", keys)}
    assert sorted(written) == sorted(key.value for key in LogKey)
    assert [key for key in LogKey if key.writer not in written[key.value]] == []


@pytest.mark.parametrize("key", [key for key in LogKey if key.writer in hybridlit.__all__])
def test_who_writes_a_key_says_so(key):
    assert f"`{key.value}`" in getattr(hybridlit, key.writer).__doc__


def test_the_recipe_shows_curves_in_groups_and_a_table_of_runs(recipe):
    board = events(recipe)
    (layout,) = board.Tensors("custom_scalars__config__")[-1:]
    groups = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0]).category
    assert [group.title for group in groups] == [
        "Loss",
        "Score",
        "Balance",
        "Overfitting",
        "Precision",
        "Profile",
    ]
    session = board.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(session["_hparams_/session_start_info"])
    assert start.session_start_info.hparams["n_photons"].number_value == 3
    assert len(board.Scalars("hp/val_loss")) == 1


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_a_key_has_as_many_names_as_places(names):
    with pytest.raises(TypeError, match="has places for 1 names"):
        LogKey.CIRCUIT(*names)


@pytest.mark.parametrize("name", ["loss", "acc", "rmse", "r2", "f1", "auroc"])
@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_each_stage_has_its_scores(found, stage, name):
    assert f"{stage}/{name}" in found


@pytest.mark.parametrize("key", [LogKey.NORM, LogKey.RMS, LogKey.UPDATE, LogKey.SHARE])
@pytest.mark.parametrize("component", ["classical", "photonic"])
def test_each_component_has_its_key(found, key, component):
    assert key(component) in found


def test_a_further_loader_has_keys_of_its_own(found):
    of_it = {tag for tag in found if tag.endswith("/dataloader_idx_1")}
    assert of_it == {f"val/{name}/dataloader_idx_1" for name in ("loss", "f1", "auroc")}


def test_the_text_of_a_circuit_is_no_picture(found):
    texts = [tag for tag in found if re.fullmatch(r"photonics/\w+", tag)]
    assert texts and all(f"{text}/circuit" in found for text in texts)
