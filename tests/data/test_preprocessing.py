"""What a model needs to prepare raw rows: fitted on training rows, kept as plain values."""

import io

import numpy as np
import pytest
import torch

from hybridlit import ArrayDataModule
from hybridlit.data.preprocessing import INPUTS, Preprocessing


def data(**options):
    generator = np.random.default_rng(0)
    rows = generator.normal(5, 3, (60, 3))
    return ArrayDataModule(rows, 1000 + 7 * rows[:, 0], **options), rows


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("scaling", ["standard", "minmax", None])
def test_it_comes_back_from_a_safe_file(scaling):
    module, rows = data(scaling=scaling)
    made = module.preprocessing
    again = Preprocessing.from_state(through_a_file(made.state()))
    assert again.same_as(made) and made.same_as(again)
    values = again.inputs.read(rows).values
    assert torch.equal(again(values), module.scale(rows))
    assert torch.equal(
        again.targets.inverse(module.train[1]), made.targets.inverse(module.train[1])
    )
    assert again.facts["rows"] == {"train": 36, "val": 12, "test": 12}
    assert not again.state_dict()


def test_other_training_rows_are_another_preparation():
    one, other = data()[0].preprocessing, data(seed=1)[0].preprocessing
    assert not one.same_as(other)
    assert one.same_as(data()[0].preprocessing)


def test_an_unknown_kind_of_data_is_named():
    state = {**data()[0].preprocessing.state(), "kind": "hologram"}
    with pytest.raises(ValueError, match="'hologram', which this version does not know"):
        Preprocessing.from_state(state)


def test_columns_go_by_their_names():
    rows = np.random.default_rng(0).normal(size=(20, 2))
    import pandas as pd

    table = pd.DataFrame(rows, columns=["left", "right"])
    inputs = ArrayDataModule(table, np.arange(20) % 2).preprocessing.inputs
    expected = inputs.read(table).values
    assert torch.equal(inputs.read(table[["right", "left"]]).values, expected)
    assert torch.equal(inputs.read({"right": rows[:, 1], "left": rows[:, 0]}).values, expected)
    with pytest.raises(ValueError, match="missing \\['right'\\]"):
        inputs.read(table[["left"]])


def test_values_far_outside_are_flagged_by_name():
    rows = np.linspace(0, 1, 40).reshape(20, 2)
    inputs = ArrayDataModule(rows, np.arange(20) % 2).preprocessing.inputs
    low, high = inputs.low.tolist(), inputs.high.tolist()
    width = high[0] - low[0]
    near, far = high[0] + 0.99 * width, high[0] + 1.01 * width
    flags = inputs.read([[near, 0.5], [far, 0.5], [low[0] - 1.01 * width, 99.0]]).flags
    assert flags[:2] == ["", "feature 0 far above the training rows"]
    assert flags[2] == (
        "feature 0 far below the training rows; feature 1 far above the training rows"
    )


def test_every_kind_is_known_by_its_name():
    assert all(kind == each.kind for kind, each in INPUTS.items())
