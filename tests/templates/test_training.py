"""What `HybridModule` does inside a Trainer, seen through its smallest template."""

import io

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.metrics import accuracy_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

from hybridlit.components import split_parameters
from hybridlit.data import ArrayDataModule
from hybridlit.templates import SequentialHybrid

PRECISIONS = ["32-true", "64-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*16-mixed.*:UserWarning")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_trains(precision, data, make_model, make_trainer):
    model = make_model(classical_lr=1e-2, quantum_lr=1e-2)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = make_trainer(max_epochs=4, precision=precision)
    trainer.fit(model, data)
    after = dict(model.named_parameters())
    assert all(torch.isfinite(value).all() for value in after.values())
    for kind, parameters in split_parameters(model).items():
        moved = [(after[n].double() - before[n].double()).abs().max() > 0 for n in parameters]
        assert any(moved), f"no {kind} parameter moved"
    assert trainer.callback_metrics["train/loss"] < 1.3
    assert torch.isfinite(trainer.callback_metrics["val/loss"])


def test_overfitting_one_batch_drives_the_loss_down(data, make_model, make_trainer):
    model = make_model(classical_lr=3e-2, quantum_lr=3e-2, dropout=0.0)
    trainer = make_trainer(max_epochs=80, overfit_batches=1)
    trainer.fit(model, data)
    assert trainer.callback_metrics["train/loss"] < 0.2
    assert trainer.callback_metrics["train/acc"] == 1.0


def test_validation_metrics_agree_with_sklearn(data, make_model, make_trainer):
    model = make_model()
    trainer = make_trainer()
    trainer.fit(model, data)
    (logged,) = trainer.validate(model, data, verbose=False)
    inputs, targets = data.val
    with torch.no_grad():
        outputs = model.eval()(inputs)
    assert logged["val/acc"] == pytest.approx(accuracy_score(targets, outputs.argmax(1)))
    # 12 rows in batches of 10 and 2: the mean is over rows, not over batches
    assert logged["val/loss"] == pytest.approx(model.loss(outputs, targets).item(), rel=1e-5)


def test_metrics_are_of_predictions(data, make_model, make_trainer):
    class Contrary(SequentialHybrid):
        def predictions(self, outputs):
            return super().predictions(-outputs)

    model = make_model(Contrary)
    (logged,) = make_trainer().validate(model, data, verbose=False)
    inputs, targets = data.val
    found = model.eval()(inputs).argmin(1)
    assert logged["val/acc"] == pytest.approx(accuracy_score(targets, found))
    assert logged["val/acc"] != accuracy_score(targets, model(inputs).argmax(1))


@pytest.mark.parametrize("task", ["multiclass", "binary", "regression"])
def test_every_task_logs_its_metrics_and_predicts(task, make_model, make_trainer):
    x = torch.randn(40, 5)
    targets = {
        "multiclass": (x[:, 0] > 0).long() + (x[:, 1] > 0).long(),
        "binary": x[:, 0] > 0,
        "regression": x[:, :2] * 2,
    }[task]
    outputs = {"multiclass": 3, "binary": 1, "regression": 2}[task]
    data = ArrayDataModule(x, targets, batch_size=16)
    model, trainer = make_model(task=task, output_dim=outputs), make_trainer()
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    names = {"rmse", "r2"} if task == "regression" else {"acc"}
    assert set(trainer.callback_metrics) == {f"test/{name}" for name in {"loss", *names}}
    predictions = torch.cat(trainer.predict(model, data))
    assert predictions.shape == (8, outputs)
    if task != "regression":
        assert ((predictions >= 0) & (predictions <= 1)).all()
    if task == "multiclass":
        assert torch.allclose(predictions.sum(1), torch.ones(8))


def test_prediction_takes_inputs_alone(data, make_model, make_trainer):
    model = make_model().eval()
    inputs = data.test[0]
    loader = DataLoader(inputs, batch_size=5)
    predictions = torch.cat(make_trainer().predict(model, loader))
    with torch.no_grad():
        assert torch.allclose(predictions, model(inputs).softmax(1))


def test_a_last_batch_of_one_row_does_not_end_the_run(make_model, make_trainer):
    x = torch.randn(11, 5)
    loader = DataLoader(TensorDataset(x, torch.arange(11) % 3), batch_size=5)
    model, trainer = make_model(), make_trainer()
    trainer.fit(model, loader)
    assert trainer.global_step == 3


def test_the_event_file_holds_losses_metrics_and_rates(tmp_path, data, make_model, make_trainer):
    logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
    trainer = make_trainer(
        max_epochs=3, logger=logger, callbacks=[LearningRateMonitor("epoch")], log_every_n_steps=1
    )
    trainer.fit(make_model(schedule="cosine"), data)
    events = EventAccumulator(logger.log_dir).Reload()
    for tag in ["train/loss", "train/acc", "val/loss", "val/acc"]:
        assert len(events.Scalars(tag)) == 3, tag
    for group in ["classical", "photonic"]:
        rates = [event.value for event in events.Scalars(f"lr-AdamW/{group}")]
        assert len(rates) == 3 and rates[0] > rates[1] > rates[2] > 0
    assert "loss" not in events.Tags()["scalars"]  # the bar's running loss stays out of the logs


def test_checkpoints_load_safely_and_restore_the_model(tmp_path, data, make_model, make_trainer):
    checkpoint = ModelCheckpoint(tmp_path, monitor="val/loss", save_last=True)
    trainer = make_trainer(enable_checkpointing=True, callbacks=[checkpoint])
    model = make_model(schedule="cosine", warmup_epochs=0.5)
    trainer.fit(model, data)
    content = torch.load(checkpoint.last_model_path, weights_only=True)
    assert content["hyper_parameters"]["n_modes"] == 4
    restored = SequentialHybrid.load_from_checkpoint(checkpoint.last_model_path)
    assert dict(restored.hparams) == dict(model.hparams)
    inputs = data.test[0]
    assert torch.equal(model.eval()(inputs), restored.eval()(inputs))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path, schedule, data, make_model, make_trainer
):
    def run(**options):
        torch.manual_seed(3)
        model = make_model(schedule=schedule, dropout=0.0)
        options = dict(max_epochs=4, enable_checkpointing=True) | options
        path = options.pop("ckpt_path", None)
        trainer = make_trainer(**options)
        trainer.fit(model, data, ckpt_path=path)
        return trainer, model

    kept = ModelCheckpoint(tmp_path, every_n_epochs=1, save_top_k=-1, filename="{epoch}")
    _, whole = run(callbacks=[kept])
    _, resumed = run(callbacks=[], ckpt_path=tmp_path / "epoch=1.ckpt")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_why(data, make_model, make_trainer):
    class Broken(SequentialHybrid):
        def loss(self, outputs, targets):
            return super().loss(outputs, targets) * torch.nan

    with pytest.raises(RuntimeError, match=r"loss is nan at step 0: lower classical_lr=0\.5"):
        make_trainer().fit(make_model(Broken, classical_lr=0.5), data)


def test_a_loss_that_is_not_finite_is_seen_between_steps_that_are_logged(
    data, make_model, make_trainer
):
    class BreaksLater(SequentialHybrid):
        def loss(self, outputs, targets):
            broken = self.training and self.global_step == 2
            return super().loss(outputs, targets) * (torch.inf if broken else 1.0)

    # an epoch has 4 batches, and only the first of 50 is logged
    trainer = make_trainer(max_epochs=2, log_every_n_steps=50)
    with pytest.raises(RuntimeError, match="loss is inf at step 2"):
        trainer.fit(make_model(BreaksLater), data)
    assert trainer.global_step == 2


def test_batches_of_another_form_are_refused_with_a_remedy(make_model, make_trainer):
    loader = DataLoader(torch.randn(8, 5), batch_size=4)
    with pytest.raises(TypeError, match=r"pair \(inputs, targets\), got Tensor; override unpack"):
        make_trainer().fit(make_model(), loader)


def test_other_batches_need_one_method(make_model, make_trainer):
    class Mapped(SequentialHybrid):
        def unpack(self, batch):
            return batch["x"], batch["y"]

    rows = [{"x": torch.randn(5), "y": i % 3} for i in range(8)]
    trainer = make_trainer()
    trainer.fit(make_model(Mapped), DataLoader(rows, batch_size=4))
    assert trainer.global_step == 2


def test_training_is_reproducible(data, make_model, make_trainer):
    def run():
        torch.manual_seed(5)
        model = make_model()
        make_trainer(max_epochs=2).fit(model, data)
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        return buffer.getvalue()

    assert run() == run()


@pytest.mark.slow
def test_two_processes_train(tmp_path, data, make_model, make_trainer):
    trainer = make_trainer(devices=2, strategy="ddp_spawn", max_epochs=2)
    model = make_model(normalization="standard")
    trainer.fit(model, data)
    assert torch.isfinite(trainer.callback_metrics["val/loss"])
    layer = model.classical_pre[-1]
    assert layer.count == 36  # both halves of the training data
