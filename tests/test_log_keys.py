"""Every key of the table of log keys is in an event file, and every key there is in the table."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision as HalfPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from hybridlit import (
    ArrayDataModule,
    GradientImbalanceMonitor,
    OverfittingDetector,
    ParallelHybrid,
    SequentialHybrid,
)
from hybridlit.callbacks import MixedPrecision
from hybridlit.cli import main

pytest.importorskip("matplotlib", reason="recipes extra: the circuit is drawn with it")

ROOT = Path(__file__).parents[1]
README = ROOT / "hybridlit" / "callbacks" / "README.md"
TABLE = README.read_text().partition("## Log keys")[2].partition("\n## ")[0]
ROWS = [line.split("|")[1] for line in TABLE.splitlines() if line.startswith("| `")]
KEYS = [key for row in ROWS for key in re.findall(r"`([^`]+)`", row)]
PLACES = {"part": r"\w+", "component": "(classical|photonic)", "path": r"\w+", "metric": r"\w+"}
PLACES |= {"module": r"\w+", "picture": r"\w+"}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def pattern(key):
    """A regular expression of a key with places like <part> in it."""
    parts = re.split(r"<(\w+)>", key)
    return "".join(
        PLACES[part] if place else re.escape(part)
        for part, place in zip(parts, [False, True] * len(parts), strict=False)
    )


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
def recipe(tmp_path_factory):
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
    )


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_table_is_in_an_event_file(found, key):
    assert any(re.fullmatch(pattern(key), tag) for tag in found), sorted(found)


def test_every_key_in_an_event_file_is_in_the_table(found):
    documented = "|".join(map(pattern, KEYS))
    assert {tag for tag in found if not re.fullmatch(documented, tag)} == set()


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
