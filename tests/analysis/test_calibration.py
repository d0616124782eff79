"""`calibrate`, and what test rows say of doubts, against closed forms and torchmetrics."""

import numpy as np
import pandas as pd
import pytest
import torch
from model_state import same, snapshot
from PIL import Image
from scipy.stats import betabinom
from torch.utils.data import DataLoader, TensorDataset

from hybridlit import (
    ArrayDataModule,
    ImageFolderDataModule,
    ParallelHybrid,
    SequentialHybrid,
    TableDataModule,
    calibrate,
    model_card,
    uncertainty,
)
from hybridlit.analysis.pictures.classification import reliability
from hybridlit.analysis.uncertain_rows import _ranks, _risks, expected_calibration_error
from hybridlit.templates.predictions.calibration import Calibration


def problem(rows=600, noise=2.0, task="multiclass", **options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 3))
    values = x @ generator.normal(size=(3, 3)) + noise * generator.gumbel(size=(rows, 3))
    y = 100 * values[:, 0] if task == "regression" else values.argmax(1)
    return ArrayDataModule(x, y, calibration_fraction=0.2, batch_size=32, **options)


@pytest.fixture
def trained(make_trainer):
    def train(data, outputs=3, task="multiclass", epochs=3, **options):
        model = ParallelHybrid(3, outputs, n_modes=4, n_photons=2, task=task, **options)
        make_trainer(max_epochs=epochs).fit(model, data)
        return model.eval()

    return train


def test_nothing_but_the_calibration_changes(trained):
    data = problem()
    model = trained(data)
    before = snapshot(model)
    found = calibrate(model, data)
    assert model.calibration is found and found.scores.shape == (120, 1)
    model.calibration = None
    assert same(snapshot(model), before)


def test_scores_are_of_the_calibration_rows_at_the_temperature_of_the_validation_rows(trained):
    data = problem()
    model = trained(data)
    found = calibrate(model, data)
    inputs, targets = data.calibration
    with torch.no_grad():
        shares = (model(inputs) / found.temperature).softmax(1)
    wanted = 1 - shares[torch.arange(len(targets)), targets].double()
    torch.testing.assert_close(found.scores[:, 0], wanted.sort().values)
    assert found.facts == {
        "validation_rows": 120,
        "held_out": "calibration rows of ArrayDataModule",
    }


def test_rows_that_the_model_may_have_learned_from_are_refused(trained):
    model = trained(problem())
    with pytest.raises(ValueError, match="rows held out may be rows that the model has learned"):
        calibrate(model, problem(seed=1))
    assert model.calibration is None


def test_nothing_to_calibrate_by(trained):
    data = problem(val_fraction=0.0)
    data.calibration = None
    model = trained(data)
    with pytest.raises(ValueError, match="nothing to calibrate ParallelHybrid by"):
        calibrate(model, data)
    with pytest.raises(ValueError, match="nothing to calibrate"):
        calibrate(model)


def test_data_of_another_kind_give_a_temperature(trained):
    """A LightningDataModule of the user's has no calibration rows."""
    from lightning.pytorch import LightningDataModule

    data = problem()

    class Own(LightningDataModule):
        def val_dataloader(self):
            return DataLoader(TensorDataset(*data.val), batch_size=50)

    model = trained(data)
    own = calibrate(model, Own())
    assert own.scores is None
    assert own.temperature == pytest.approx(calibrate(model, data).temperature)


def test_without_a_temperature_it_is_said(trained):
    x = torch.cat([torch.randn(60, 3) + 9, torch.randn(60, 3) - 9])
    data = ArrayDataModule(x, torch.arange(120) // 60, calibration_fraction=0.2)
    model = trained(data, outputs=2, epochs=20)
    with pytest.warns(UserWarning, match="no temperature makes the 24 validation rows most likely"):
        found = calibrate(model, data)
    assert found.temperature is None and len(found.scores) == 24


def test_held_out_images_are_a_folder_of_their_classes(make_trainer, tmp_path):
    for name, count in (("train", 12), ("held", 9)):
        for label, shade in (("cat", 40), ("dog", 200)):
            (tmp_path / name / label).mkdir(parents=True)
            for index in range(count):
                picture = Image.new("L", (3, 3), shade + 5 * (index % 4))
                picture.save(tmp_path / name / label / f"{index}.png")
    data = ImageFolderDataModule(tmp_path / "train")
    model = ParallelHybrid("auto", "auto", n_modes=4, n_photons=2)
    make_trainer().fit(model, data)
    found = calibrate(model.eval(), rows=tmp_path / "held")
    table = model.predict(str(tmp_path / "held"))
    true = [1 - table[f"probability_{file[:3]}"][row] for row, file in enumerate(table["file"])]
    assert found.scores[:, 0].tolist() == pytest.approx(sorted(true)) and len(true) == 18


def test_a_checkpoint_of_other_weights_brings_its_own_calibration_or_none(
    trained, make_trainer, tmp_path
):
    data = problem()
    model = trained(data)
    trainer = make_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    found = calibrate(model, data)
    trainer.save_checkpoint(tmp_path / "calibrated.ckpt")
    for name in ("plain", "calibrated"):
        make_trainer().validate(model, data, ckpt_path=tmp_path / f"{name}.ckpt", verbose=False)
        own = None if model.calibration is None else model.calibration.temperature
        assert own == (None if name == "plain" else found.temperature)


@pytest.fixture
def of_a_table(make_trainer, tmp_path):
    """A table, the data module that reads it, and a model that is trained on it."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"a": generator.normal(size=200), "b": generator.normal(size=200)})
    table["y"] = np.where(table["a"] + generator.normal(size=200) > 0, "yes", "no")
    table.to_csv(tmp_path / "table.csv", index=False)
    data = TableDataModule(tmp_path / "table.csv", "y")
    model = SequentialHybrid("auto", 2, "auto", n_modes=4)
    make_trainer(max_epochs=3).fit(model, data)
    return table, data, model


def test_rows_alone_leave_the_temperature_that_was_found(of_a_table):
    table, data, model = of_a_table
    before = calibrate(model, data)
    with pytest.raises(ValueError, match="nothing to calibrate"):
        calibrate(model)
    after = calibrate(model, rows=table)
    assert after.temperature == before.temperature != 1
    assert after.facts["validation_rows"] == 40
    found = pd.DataFrame(model.predict(table).columns)
    true = np.where(table["y"] == "yes", found["probability_yes"], found["probability_no"])
    assert after.scores[:, 0].tolist() == pytest.approx(sorted(1 - true))


def test_no_rows_are_nothing_to_calibrate_by(of_a_table):
    table, _, model = of_a_table
    with pytest.raises(ValueError, match="rows must hold at least one row"):
        calibrate(model, rows=table[:0])
    assert len(calibrate(model, rows=table[:1]).scores) == 1


def test_a_diverged_model_has_no_temperature(trained):
    data = problem()
    data.calibration = None
    model = trained(data)
    last = list(model.parameters())[-1]
    with torch.no_grad():
        last.fill_(torch.nan)
    with pytest.raises(ValueError, match="outputs on the validation rows are not finite"):
        calibrate(model, data)
    assert model.calibration is None


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_a_model_in_another_precision_than_its_data(make_trainer, precision):
    data = problem()
    model = ParallelHybrid(3, 3, n_modes=4, n_photons=2)
    make_trainer(max_epochs=3, precision=precision).fit(model, data)
    before = snapshot(model.eval())
    found = calibrate(model, data)
    sets = model.predict(_raw(data), coverage=0.9)["set_target"]
    right = [int(label) in own for label, own in zip(data.test[1], sets, strict=True)]
    assert uncertainty(model, data).covered[0].found.mean == pytest.approx(np.mean(right))
    assert "were not calibrated" not in str(model_card(model, data))
    model.calibration = None
    assert same(snapshot(model), before) and found.temperature > 0


# --- what test rows say ---------------------------------------------------------------------------


def test_the_calibration_error_is_that_of_torchmetrics_and_of_the_picture(trained):
    data = problem()
    model = trained(data)
    inputs, targets = data.test
    with torch.no_grad():
        shares = model.predictions(model(inputs))
    found = expected_calibration_error(model, shares, targets)
    assert found == pytest.approx(reliability(shares, targets).error, abs=1e-6)


def test_coverage_by_class_and_the_size_of_sets(trained):
    data = problem()
    model = trained(data)
    without = uncertainty(model, data)
    assert without.covered == [] and "needs at least 9 rows" in without.missing
    assert without.calibration_error[0] == without.calibration_error[1]
    assert "as trained, with no temperature (15" in str(without)
    calibrate(model, data)
    found = uncertainty(model, data)
    bound = model.calibration.quantiles(0.9)
    inputs, targets = data.test
    with torch.no_grad():
        shares = model.calibrated(model(inputs)).double()
    inside = 1 - shares <= bound
    right = inside[torch.arange(len(targets)), targets]
    assert " as calibrated (15 bins" in str(found)
    whole, *classes = found.covered
    assert whole.of == "all" and whole.rows == 120 and found.held_out == 120
    assert whole.found.mean == pytest.approx(float(right.double().mean()))
    assert whole.size == pytest.approx(float(inside.sum(1).double().mean()))
    assert [each.of for each in classes] == ["0", "1", "2"]
    for index, each in enumerate(classes):
        chosen = targets == index
        assert each.rows == int(chosen.sum())
        assert each.found.mean == pytest.approx(float(right[chosen].double().mean()))
        assert each.size == pytest.approx(float(inside[chosen].sum(1).double().mean()))
    # the chance of so many of m test rows, given n held-out ones, is beta-binomial
    n, m, rank = 120, 120, 109  # ceil(121 * 0.9)
    low, high = betabinom(m, rank, n + 1 - rank).ppf([0.0005, 0.9995])
    assert low <= round(whole.found.mean * m) <= high


def test_intervals_are_in_units_and_doubts_of_values_come_from_paths(trained):
    data = problem(task="regression")
    model = trained(data, outputs=1, task="regression", dropout=0.2)
    calibrate(model, data)
    found = uncertainty(model, data, coverage=0.8)
    assert found.calibration_error is None and found.detection == {}
    (only,) = found.covered
    assert only.of == "target" and only.rows == 120
    assert only.size == pytest.approx(2 * float(model.calibration.quantiles(0.8)))
    assert {"paths", "passes"} <= set(found.risks) and "probability" not in found.risks
    measured = data.preprocessing.targets.inverse(data.test[1])
    values = torch.tensor(model.predict(_raw(data))["target"])
    whole = 1 - (values - measured).square().mean() / measured.var(correction=0)
    for risks in found.risks.values():
        assert risks[-1] == pytest.approx(1 - float(whole), rel=1e-4)


@pytest.mark.slow
def test_several_labels_a_row_have_a_set_each(trained):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, 3))
    y = (x[:, :2] + generator.normal(size=(400, 2)) > 0).astype(int)
    data = ArrayDataModule(x, y, calibration_fraction=0.2)
    model = trained(data, outputs=2, task="multilabel")
    assert "were not calibrated" in str(model_card(model, data))
    calibrate(model, data)
    assert "were not calibrated" not in str(model_card(model, data))
    found = uncertainty(model, data)
    whole, *each = found.covered
    assert whole.rows == 160 and [part.rows for part in each] == [80, 80]
    assert whole.found.mean == pytest.approx(np.mean([part.found.mean for part in each]))
    table = model.predict(_raw(data), coverage=0.9)
    for index, part in enumerate(each):
        sets = table[f"set_target_{index}"]
        right = [int(label) in own for label, own in zip(data.test[1][:, index], sets, strict=True)]
        assert np.mean(right) == part.found.mean
        assert np.mean([len(own) for own in sets]) == part.size


def _raw(data):
    scaler = data.preprocessing.inputs.scaler
    return scaler.inverse(data.test[0].double())


def test_risks_and_detection_in_closed_form():
    losses = torch.tensor([1.0, 0.0, 0.0, 1.0])
    assert _risks(losses, torch.tensor([0.9, 0.1, 0.2, 0.8])).tolist() == pytest.approx(
        [0, 0, 1 / 3, 1 / 2]
    )
    # of rows of the same doubt, which come in any order, the mean
    tied = _risks(losses, torch.tensor([0.5, 0.1, 0.5, 0.5]))
    assert tied.tolist() == pytest.approx([0, 1 / 3, 4 / 9, 1 / 2])
    assert _ranks(torch.tensor([30.0, -5.0, 30.0])).tolist() == [0.5, 0.0, 0.5]


def test_the_report_says_all_of_it_and_leaves_the_model_as_it_was(trained, tmp_path):
    data = problem()
    model = trained(data, path_dropout=0.2)
    calibrate(model, data)
    before = snapshot(model)
    found = uncertainty(model, data)
    assert same(snapshot(model), before)
    assert list(found.risks) == ["probability", "paths", "passes", "the errors themselves"]
    assert set(found.detection) == {"probability", "paths", "passes"}
    best = found.risks["the errors themselves"]
    for risks in found.risks.values():
        assert (risks >= best - 1e-12).all() and risks[-1] == pytest.approx(best[-1])
    text = found.to_markdown()
    for wanted in ("Expected calibration error of the 120 test rows", "| all |", "| passes |"):
        assert wanted in text
    found.figure().savefig(tmp_path / "risks.png")
    card = str(model_card(model, data))
    assert text.strip() in card and "| calibration rows | 120 |" in card
    assert "were not calibrated" not in card
    assert "120 held-out rows" in str(found)


@pytest.mark.filterwarnings("error:No (negative|positive) samples")
def test_without_a_wrong_row_there_is_nothing_to_detect(trained):
    x = torch.cat([torch.randn(60, 3) + 9, torch.randn(60, 3) - 9])
    data = ArrayDataModule(x, torch.arange(120) // 60)
    found = uncertainty(trained(data, outputs=2, epochs=20), data)
    assert found.detection == {} and found.risks["paths"].max() == 0


@pytest.mark.parametrize("options", [{"coverage": 1.0}, {"passes": 1}])
def test_arguments_of_the_report(trained, options):
    data = problem()
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        uncertainty(SequentialHybrid(3, 2, 3, n_modes=4), data, **options)


def test_calibration_rows_tell_of_too_few():
    with pytest.raises(ValueError, match="needs at least 9 rows"):
        Calibration(1.0).quantiles(0.9)
