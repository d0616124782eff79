"""What TensorBoard shows of a run: groups of curves, and a table of runs."""

import math

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams.backend_context import Context

from hybridlit import (
    ArrayDataModule,
    GradientImbalanceMonitor,
    OverfittingDetector,
    ParallelHybrid,
    SequentialHybrid,
    SklearnDataModule,
    StagedTraining,
)
from hybridlit.callbacks.tensorboard_layout import TensorBoardLayout, charts


@pytest.fixture
def board(tmp_path, data, make_trainer):
    def run(model, callbacks=(), layout=None, datamodule=data, **changes):
        logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
        fit = {name: changes.pop(name) for name in list(changes) if name == "ckpt_path"}
        trainer = make_trainer(
            [layout or TensorBoardLayout(), *callbacks], logger=logger, **changes
        )
        trainer.fit(model, datamodule, **fit)
        return EventAccumulator(logger.log_dir, size_guidance={"tensors": 0}).Reload(), trainer

    return run


def layouts(events):
    protos = [
        layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
        for event in events.Tensors("custom_scalars__config__")
    ]
    return [
        {c.title: {chart.title: list(chart.multiline.tag) for chart in c.chart} for c in p.category}
        for p in protos
    ]


def table(events):
    """Arguments of the page HParams."""
    content = events.PluginTagToContent("hparams")
    assert set(content) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    start = plugin_data_pb2.HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    values = start.session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def shown_table(folder):
    """Columns of arguments and scores as TensorBoard chooses them, each in order."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = MultiplexerDataProvider(runs, str(folder))
    context = Context(TBContext(data_provider=provider))
    request = RequestContext()
    known = context.hparams_metadata(request, "")
    experiment = context.experiment_from_metadata(request, "", True, known, [])
    return (
        [info.name for info in experiment.hparam_infos if info.differs],
        [info.name.tag for info in experiment.metric_infos],
    )


def test_curves_are_in_groups(board, make_model):
    events, _ = board(
        make_model(),
        [LearningRateMonitor("epoch"), StagedTraining([["classical", 1], ["both", 1]])],
        max_epochs=2,
    )
    assert layouts(events)[-1] == {
        "Loss": {"loss": ["(train|val)/loss$"], "learning rates": ["lr-"]},
        "Score": {"acc": ["((train|val)/acc|Score/acc_constant)$"]},
        "Balance": {"what is trained": ["(train/stage|train/phase)$"]},
    }
    assert len(layouts(events)) == 1  # nothing new came in the second epoch
    assert set(events.Tags()["scalars"]) >= {"train/loss", "val/loss", "val/acc", "hp/val_loss"}


def test_a_chart_is_there_if_something_is_logged_for_it():
    found = charts(
        {
            "train/rmse",
            "val/rmse",
            "val/r2",
            "val/loss",
            "grad/ratio",
            "grad/ratio_smooth",
            "grad/classical_rms",
            "update/photonic",
            "update/ratio_smooth",
            "overfit/gap",
            "overfit/val",
            "overfit/fusion_val",
            "overfit/fusion_gap_without",
            "precision/probability_drift",
            "profile/step_ms",
            "unknown",
        }
    )
    assert {group: list(members) for group, members in found.items()} == {
        "Loss": ["loss"],
        "Score": ["r2", "rmse"],
        "Balance": [
            "gradient of photonic / classical",
            "gradient of each component",
            "update of each component",
            "update of photonic / classical",
        ],
        "Overfitting": [
            "gap",
            "loss on the probes",
            "gap without a part",
            "what each part does to the validation loss",
        ],
        "Precision": ["drift of probabilities"],
        "Profile": ["milliseconds"],
    }
    assert charts({"overfit/val"})["Overfitting"] == {
        "loss on the probes": "(overfit/train|overfit/val)$"
    }
    assert charts(set()) == {}


def test_losses_and_scores_stand_first(board, make_model, scalars):
    """TensorBoard sorts by code of the letters, and opens the first two groups."""
    callbacks = [LearningRateMonitor("epoch"), StagedTraining([["both", 2]])]
    _, trainer = board(make_model(ParallelHybrid, fusion="gated"), callbacks, max_epochs=3)
    trainer.test(trainer.model, trainer.datamodule, verbose=False)
    found = scalars(trainer.log_dir)
    groups = sorted({tag.partition("/")[0] for tag in found})
    assert groups[:2] == ["Loss", "Score"] and "fusion" in groups
    first = {tag for tag in found if tag.startswith(("Loss/", "Score/"))}
    names = {f"Score/acc_{stage}": f"{stage}/acc" for stage in ("train", "val", "test")}
    names |= {f"Loss/{stage}": f"{stage}/loss" for stage in ("train", "val")}
    assert first == {*names, "Loss/best", "Score/acc_best", "Score/acc_constant"}
    for tag, name in names.items():
        later = name == "test/acc"  # which Lightning counts one further
        expected = [(step - later, pytest.approx(value)) for step, value in found[name]]
        assert found[tag] == expected
    assert [value for _, value in found["Loss/best"]] == [min(v for _, v in found["val/loss"])]
    assert [value for _, value in found["Score/acc_best"]] == [found["hp/val_acc"][0][1]]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_constant_answer_is_what_a_score_must_beat(board, make_model, scalars, task):
    x = torch.randn(60, 5)
    y = (torch.arange(60) % 3 > 0).long() if task == "multiclass" else x[:, :1]
    data = ArrayDataModule(x, y, batch_size=10)
    model = make_model(task=task, output_dim=2 if task == "multiclass" else 1)
    _, trainer = board(model, datamodule=data, max_epochs=3)
    train, val = (
        torch.cat([batch[1] for batch in loader])
        for loader in (data.train_dataloader(), data.val_dataloader())
    )
    if task == "multiclass":
        expected = {"acc": float((val == train.mode().values).double().mean())}
    else:
        off = float((val - train.mean()).square().mean())
        spread = float(val.var(correction=0))
        expected = {"r2": 1 - off / spread}
    found = scalars(trainer.log_dir)
    for name, value in expected.items():
        shown = [value for _, value in found[f"Score/{name}_constant"]]
        assert shown == pytest.approx([value] * 3, abs=1e-5)


def test_the_story_of_a_watched_run_stands_first(board, make_model):
    pytest.importorskip("matplotlib", reason="analysis extra")
    watched = [GradientImbalanceMonitor(every_n_steps=1), OverfittingDetector(every_n_steps=3)]
    _, trainer = board(make_model(), watched, max_epochs=3, log_every_n_steps=1)
    trainer.test(trainer.model, trainer.datamodule, verbose=False)
    events = EventAccumulator(trainer.log_dir, size_guidance={"images": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    groups = sorted({tag.partition("/")[0] for tag in tags["scalars"] + tags["images"]})
    assert groups[:2] == ["In short", "Loss"]
    story = [tag for tag in tags["images"] if tag.startswith("In short/")]
    assert sorted(story) == [f"In short/{name}" for name in ("curves", "gradients", "overfitting")]
    assert len(events.Images("In short/curves")) == 2  # once more with the score of the test
    assert len(events.Images("In short/gradients")) == 1
    (text,) = events.Tensors("In short/text_summary")
    words = text.tensor_proto.string_val[0].decode()
    assert words.startswith("- acc was ") and "a constant answer scores " in words
    assert "Gradients of the photonic parameters" in words and "On the probes" in words


def test_a_story_that_cannot_be_drawn_ends_nothing(board, make_model, monkeypatch):
    monkeypatch.setattr("hybridlit.callbacks.tensorboard_layout.pixels", lambda figure: 1 / 0)
    with pytest.warns(UserWarning, match="the story of this run in TensorBoard is left out"):
        board(make_model(), [GradientImbalanceMonitor(every_n_steps=1)], log_every_n_steps=1)


def test_the_table_holds_arguments_and_the_best_scores(board, make_model, scalars):
    events, trainer = board(make_model(classical_lr=0.05, batch_norm=False), max_epochs=4)
    arguments = table(events)
    assert arguments["classical_lr"] == 0.05 and arguments["n_modes"] == 4.0
    assert arguments["batch_norm"] == "False" and arguments["stages"] == "None"
    assert arguments["task"] == "multiclass"
    found = scalars(trainer.log_dir)
    step, loss = min(found["val/loss"], key=lambda point: point[1])
    assert found["hp/val_loss"] == [(trainer.global_step, pytest.approx(loss))]
    assert found["hp/val_acc"][0][1] == pytest.approx(dict(found["val/acc"])[step])
    assert "hp_metric" not in found and len(found["val/loss"]) == 4


def test_tensorboard_shows_what_differs_between_runs_and_scores_of_the_test(
    board, make_model, tmp_path
):
    data = SklearnDataModule("iris", batch_size=30)
    for changes in (dict(classical_lr=0.05), dict(batch_norm=False), dict(metrics=["f1"])):
        model = make_model(input_dim=4, **changes)
        _, trainer = board(model, datamodule=data)
        trainer.test(model, data, verbose=False)
    arguments, scores = shown_table(tmp_path)
    assert arguments == ["batch_norm", "classical_lr", "metrics"]
    assert scores[:4] == ["Loss/best", "Loss/train", "Loss/val", "Score/acc_best"]
    assert scores[4:6] == ["Score/acc_constant", "Score/acc_test"]
    assert {"Score/f1_test", "hp/test_acc", "hp/test_f1"} <= set(scores)


def test_the_table_has_the_scores_of_a_test(board, make_model, scalars):
    _, trainer = board(make_model(), max_epochs=2)
    (tested,) = trainer.test(trainer.model, trainer.datamodule, verbose=False)
    found = scalars(trainer.log_dir)
    for name in ("loss", "acc"):
        assert found[f"hp/test_{name}"] == [(6 + 2, pytest.approx(tested[f"test/{name}"]))]


def test_a_test_alone_is_in_no_table(make_trainer, make_model, data, tmp_path, scalars):
    logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
    make_trainer([TensorBoardLayout()], logger=logger).test(make_model(), data, verbose=False)
    found = scalars(logger.log_dir)
    assert "Score/acc_test" in found and not [tag for tag in found if tag.startswith("hp/")]


def test_without_validation_the_table_has_training_scores(board, make_model):
    events, _ = board(make_model(), limit_val_batches=0)
    found = {tag for tag in events.Tags()["scalars"] if tag.startswith(("hp/", "Loss/"))}
    assert found == {"hp/train_loss", "hp/train_acc", "Loss/best", "Loss/train"}


def test_a_loss_that_is_no_number_is_never_the_best(make_model, make_trainer, data):
    class Failing(SequentialHybrid):
        def on_validation_epoch_end(self):
            losses = [math.nan, 0.5, math.nan, 0.7]
            self.log("val/loss", torch.tensor(losses[self.current_epoch]))

        def validation_step(self, batch, batch_idx):
            pass

    layout = TensorBoardLayout()
    trainer = make_trainer([layout], max_epochs=4, num_sanity_val_steps=0)
    trainer.fit(make_model(Failing), data)
    assert layout.state_dict() == {"best": {"val/loss": 0.5}}


def test_the_best_epoch_need_not_be_the_last(board, make_model, scalars):
    class Worse(SequentialHybrid):
        def on_validation_epoch_end(self):
            self.log("val/loss", torch.tensor([0.9, 0.5, 0.7][self.current_epoch]))

        def validation_step(self, batch, batch_idx):
            pass

    _, trainer = board(make_model(Worse), max_epochs=3, num_sanity_val_steps=0)
    found = scalars(trainer.log_dir)
    assert [value for _, value in found["hp/val_loss"]] == [0.5]
    assert [value for _, value in found["Loss/best"]] == [0.5]


def test_a_resumed_run_knows_the_best_scores_before(board, make_model, tmp_path):
    first = TensorBoardLayout()
    _, trainer = board(make_model(classical_lr=0.05), layout=first, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    torch.load(tmp_path / "last.ckpt", weights_only=True)
    best = first.state_dict()["best"]["val/loss"]
    # nothing learns any more, so the best is from before
    second = TensorBoardLayout()
    model = make_model(classical_lr=0.05)
    model.validation_step = lambda batch, batch_idx: model.log("val/loss", torch.tensor(9.0))
    board(model, layout=second, max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert second.state_dict()["best"]["val/loss"] == best


def test_a_second_fit_starts_afresh(board, make_model):
    layout = TensorBoardLayout()
    board(make_model(classical_lr=0.05), layout=layout, max_epochs=2)
    layout._best["val/loss"] = -1.0
    events, _ = board(make_model(), layout=layout)
    assert layout.state_dict()["best"]["val/loss"] > 0 and len(layouts(events)) == 1


def test_other_loggers_are_left_alone(tmp_path, data, make_model, make_trainer):
    logger = CSVLogger(tmp_path, name="run")
    make_trainer([TensorBoardLayout()], logger=logger).fit(make_model(), data)
    make_trainer([TensorBoardLayout()]).fit(make_model(), data)
    make_trainer([TensorBoardLayout()], fast_dev_run=True).fit(make_model(), data)
    assert "hp/" not in (tmp_path / "run/version_0/metrics.csv").read_text()


def test_training_is_bit_for_bit_the_same(tmp_path, data, make_model, make_trainer):
    results = []
    for callbacks in ([], [TensorBoardLayout()]):
        torch.manual_seed(1)
        model = make_model(dropout=0.3)
        logger = TensorBoardLogger(tmp_path, name="run")
        make_trainer(callbacks, logger=logger, max_epochs=2).fit(model, data)
        results.append([*model.state_dict().values(), torch.rand(2)])
    assert all(map(torch.equal, *results))
