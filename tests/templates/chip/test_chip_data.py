"""Settings of a chip from a table: names, modes, missing detectors, and batches of one input."""

import numpy as np
import pandas
import pytest
import torch

from hybridlit import ChipDataModule, SimulatedChip
from hybridlit.data.batches import AlikeBatches
from hybridlit.data.preprocessing import Preprocessing


def table(rows=40, photons=None, **chip):
    made = SimulatedChip(3, seed=1, **chip)
    return made.table(rows, 1e-3, torch.Generator().manual_seed(2), photons=photons)


def test_a_file_becomes_voltages_light_and_targets(tmp_path):
    columns = table()
    frame = pandas.DataFrame(columns).astype({"in": int})
    frame["in"] += 1
    frame.loc[4, "out1"] = np.nan
    frame["day"] = range(40)
    frame.sample(frac=1, axis=1, random_state=0)[sorted(frame)].to_csv(
        tmp_path / "c.csv", index=False
    )
    data = ChipDataModule(
        tmp_path / "c.csv", first_mode=1, id="day", val_fraction=0, test_fraction=0
    )
    assert (data.modes, data.heaters) == (3, 6)
    inputs, targets = data.train
    voltages = np.stack([columns[f"v{k}"] for k in range(6)], 1)
    assert np.allclose(inputs[:, :6], voltages) and data.ids["train"]["day"] == [*range(40)]
    assert torch.equal(inputs[:, 6:].argmax(1).double(), torch.tensor(columns["in"]))
    assert torch.equal(inputs[:, 6:].sum(1), torch.ones(40))
    assert targets.isnan().nonzero().tolist() == [[4, 1]]
    again = Preprocessing.from_state(data.preprocessing.state())
    raw = again.inputs.read(tmp_path / "c.csv")
    assert torch.equal(again(raw.values), inputs) and again.same_as(data.preprocessing)


def test_two_photons_and_their_number():
    data = ChipDataModule(
        table(measured="coincidences", photons=400.0), power="power", test_fraction=0
    )
    assert data.modes == 3 and data.train[1].shape[1] == 3
    light = data.train[0][:, 6:]
    assert torch.allclose(light.sort(1).values, torch.tensor([0.0, 20.0, 20.0]))


def test_full_counts_have_to_be_said():
    """As many columns are coincidences of one mode more."""
    full = table(measured="full_counts")
    data = ChipDataModule(full, measured="full_counts", test_fraction=0)
    assert data.modes == 3 and data.train[1].shape[1] == 6
    assert ChipDataModule(full, test_fraction=0).modes == 4
    own = ChipDataModule(simulated={"modes": 3, "measured": "full_counts"}, rows=20)
    assert own.modes == 3
    with pytest.raises(ValueError, match=r"got 6 outputs and 2 columns .* measured='intensities'"):
        ChipDataModule(full, measured="intensities")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(**{"in": 3}), "column 'in' must hold modes, integers from 0 to 2, got"),
        (lambda f: f.assign(v0=f["v0"].where(f.index > 2)), "no missing values, got 3 in 'v0'"),
        (lambda f: f.assign(out0=np.inf), "output 'out0' must hold numbers"),
        (lambda f: f.assign(out0=np.nan, out1=np.nan, out2=np.nan), "measured in each row, got"),
        (lambda f: f.drop(columns="in"), "input must be columns of the table, got 'in*'"),
        (lambda f: f.drop(columns="out2"), "integers from 0 to 1"),  # a table of two modes
        (lambda f: f.drop(columns="out2").assign(in2=1), "got 2 outputs and 2 columns of input"),
    ],
)
def test_what_does_not_fit_is_told(change, words):
    frame = change(pandas.DataFrame(table()))
    with pytest.raises(ValueError, match=words.replace("*", r"\*")):
        ChipDataModule(frame)


def test_a_column_is_one_thing():
    frame = pandas.DataFrame(table()).assign(in_power=1.0)
    with pytest.raises(ValueError, match="'in_power' can be one thing only, got it as input and"):
        ChipDataModule(frame, power="in_power")
    assert ChipDataModule(frame, input="in", power="in_power").modes == 3


def test_a_table_or_a_simulated_chip_is_needed():
    with pytest.raises(ValueError, match=r"path must be .* got neither"):
        ChipDataModule()


def test_batches_are_of_one_kind_and_hold_every_row_once():
    kinds = torch.tensor([0, 1, 2, 1, 1, 0, 1, 1])
    batches = AlikeBatches(kinds, 2, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        batches.sampler.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches) == 5
        assert all(len(kinds[batch].unique()) == 1 for batch in found)
        assert sorted(row for batch in found for row in batch) == [*range(8)]
        orders.append(found)
    assert orders[0] == orders[2] != orders[1]


def test_training_batches_have_light_in_one_mode():
    data = ChipDataModule(simulated={"modes": 4}, rows=100, batch_size=8)
    loader = data.train_dataloader()
    lit = [batch[0][:, data.heaters :].argmax(1).unique() for batch in loader]
    assert {len(each) for each in lit} == {1} and len({int(each) for each in lit}) == 4
