"""Inputs by name from arrays or a file: split, scaled over the rows that have them, batched."""

import numpy as np
import pytest
import torch

from hybridlit import ArrayDataModule, MultiModalDataModule
from hybridlit.data.preprocessing import Preprocessing


def arrays(rows=60):
    generator = np.random.default_rng(0)
    image = generator.normal(5, 2, (rows, 1, 2, 3))
    table = generator.normal(-3, 10, (rows, 4))
    table[::3] = np.nan
    names = np.array([f"row {index}" for index in range(rows)])
    kinds = np.array(["no", "yes"])[generator.integers(0, 2, rows)]
    return {"image": image, "name": names, "table": table, "kind": kinds}


def made(content=None, **options):
    options = {"target": "kind", "id": "name", "batch_size": 8} | options
    return MultiModalDataModule(arrays() if content is None else content, **options)


def test_batches_are_inputs_by_name_and_targets():
    data = made()
    assert data.input_shapes == {"image": [1, 2, 3], "table": [4]}
    assert data.input_shape == (10,) and data.output_dim("multiclass") == 2
    seen = 0
    for inputs, targets in data.train_dataloader():
        rows = len(targets)
        assert list(inputs) == ["image", "table"] and targets.dtype == torch.int64
        assert inputs["image"].shape == (rows, 1, 2, 3) and inputs["table"].shape == (rows, 4)
        assert inputs["image"].isfinite().all()
        gone = inputs["table"].isnan()
        assert torch.equal(gone.any(1), gone.all(1))
        seen += int(gone.any(1).sum())
    assert seen == int(data.train[0][:, 6].isnan().sum()) > 0
    one = data.train_dataloader().dataset[0]
    assert one[0]["image"].shape == (1, 2, 3)


def test_each_input_is_scaled_over_the_training_rows_that_have_it():
    content = arrays()
    data = made(content, scaling={"table": "minmax"}, val=content, test_fraction=0, seed=3)
    image, table = data.train[0].split([6, 4], 1)
    # all rows train, since validation data are given
    assert torch.equal(image, torch.tensor(content["image"]).reshape(60, 6).float())
    there = ~np.isnan(content["table"][:, 0])
    kept = content["table"][there]
    wanted = (kept - kept.min(0)) / (kept.max(0) - kept.min(0))
    np.testing.assert_allclose(table[torch.tensor(there)].numpy(), wanted, rtol=0, atol=1e-6)
    assert table[torch.tensor(~there)].isnan().all()


def test_standard_scaling_is_that_of_the_array_alone():
    content = arrays()
    data, alone = made(content), ArrayDataModule(content["image"], content["kind"])
    assert torch.equal(data.train[0][:, :6], alone.train[0].flatten(1))
    assert torch.equal(data.scale(content)[:, :6], alone.scale(content["image"]).flatten(1))


def test_the_file_of_numpy_gives_the_same(tmp_path):
    np.savez(tmp_path / "rows.npz", **arrays())
    data, memory = made(tmp_path / "rows.npz"), made()
    assert torch.equal(data.train[0].nan_to_num(7), memory.train[0].nan_to_num(7))
    assert data.hparams["arrays"] == str(tmp_path / "rows.npz")
    assert "arrays" not in memory.hparams and data.preprocessing.facts["source"] == "rows.npz"


def test_raw_rows_are_read_by_name(tmp_path):
    content = arrays()
    inputs = made(content).preprocessing.inputs
    raw = inputs.read(content)
    assert raw.ids == {"name": content["name"].tolist()}
    assert raw.flags[0] == "table missing" and raw.flags[1] == ""
    np.savez(tmp_path / "rows.npz", **content)
    assert torch.equal(
        inputs.read(tmp_path / "rows.npz").values.nan_to_num(7), raw.values.nan_to_num(7)
    )
    prepared = inputs(raw.values)
    assert prepared[0, 6:].isnan().all() and prepared[0, :6].isfinite().all()

    image = content["image"][:3].copy()
    image[0], image[1, 0, 1, 2] = np.nan, 1000.0
    raw = inputs.read({"table": content["table"][:3], "image": image})
    assert raw.flags[:2] == [
        "image, table missing: no prediction",
        "image[5] far above the training rows",
    ]
    raw = inputs.read({"image": image[1:]})
    assert [flag.startswith("table missing") for flag in raw.flags] == [True, True]
    with pytest.raises(ValueError, match=r"must hold arrays of the names \['image', 'table'\]"):
        inputs.read({"picture": image})
    with pytest.raises(TypeError, match="inputs must be arrays by name"):
        inputs.read(image)
    with pytest.raises(ValueError, match=r"inputs\['image'\] must have shape .*\[1, 2, 3\]"):
        inputs.read({"image": image[..., :2]})


def test_what_is_fitted_comes_back_from_a_checkpoint(tmp_path):
    kept = made().preprocessing
    torch.save(kept.state(), tmp_path / "kept.pt")
    again = Preprocessing.from_state(torch.load(tmp_path / "kept.pt", weights_only=True))
    assert again.same_as(kept)
    values = kept.inputs.read(arrays()).values
    assert torch.equal(again(values).nan_to_num(7), kept(values).nan_to_num(7))
    assert again.inputs.seen()[1][:2] == ("table", "4 numbers")
    assert "missing in 3" in again.inputs.seen()[1][2]
    assert again.targets.names == ["kind"] and again.targets.classes == ["no", "yes"]


def test_real_targets_and_single_values_in_a_row():
    generator = np.random.default_rng(0)
    content = {"a": generator.normal(size=40), "b": generator.normal(size=(40, 2))}
    content["y"] = generator.normal(size=40)
    data = MultiModalDataModule(content, target="y", inputs=["b", "a"])
    assert data.input_shapes == {"b": [2], "a": [1]} and data.preprocessing.targets.names == ["y"]
    assert data.train[1].std() == pytest.approx(1, abs=0.05)


def changed(**changes):
    content = arrays()
    for name, change in changes.items():
        content[name] = change(content[name].copy()) if callable(change) else change
    return content


def partly(table):
    table[1, 2] = np.nan
    return table


def nothing(table):
    table[:] = np.nan
    return table


@pytest.mark.parametrize(
    ("content", "options", "error", "said"),
    [
        (changed(table=partly), {}, ValueError, r"inputs\['table'\] must be finite, got 1 NaN"),
        (changed(table=nothing), {}, ValueError, "got none with 'table': leave it out of inputs"),
        (
            changed(image=lambda image: nothing(image)),
            {},
            ValueError,
            "inputs must be there in every row, got 20 of 60 rows with none of",
        ),
        (changed(image=np.zeros((59, 2))), {}, ValueError, "must be arrays of as many rows, got"),
        (changed(image=np.array(["a"] * 60)), {}, TypeError, r"inputs\['image'\] must hold real"),
        (None, dict(target="sort"), ValueError, "target must be the name of an array of arrays"),
        (None, dict(inputs=["image", "sound"]), ValueError, "inputs must hold arrays of the names"),
        (None, dict(scaling={"sound": None}), ValueError, "scaling must be by names of inputs"),
        (None, dict(scaling="strong"), ValueError, "scaling must be"),
        (np.zeros(3), {}, TypeError, "arrays must be arrays by name in a dictionary"),
        (None, dict(val={"image": np.zeros((9, 1, 2, 2))}), ValueError, "target must be the name"),
        (
            None,
            dict(val=changed(image=np.zeros((60, 1, 2, 2)))),
            ValueError,
            "val inputs must have the shapes of the training inputs",
        ),
    ],
)
def test_what_cannot_be_is_told(content, options, error, said):
    with pytest.raises(error, match=said):
        made(content, **options)
