import io

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from hybridlit import SequenceDataModule, SequentialHybrid
from hybridlit.data.preprocessing import Preprocessing


def ragged(count=30, features=2, longest=9, seed=0):
    """Sequences of 1 to `longest` steps, and two classes."""
    generator = np.random.default_rng(seed)
    lengths = [longest, *generator.integers(1, longest + 1, count - 1)]
    return [generator.normal(5, 3, (n, features)) for n in lengths], np.arange(count) % 2


def everything(module):
    return torch.cat([module.train[0], module.val[0], module.test[0]])


@pytest.mark.parametrize("scaling", ["standard", "minmax", None])
def test_sequences_end_at_the_last_step_scaled_by_real_training_steps(scaling):
    sequences, labels = ragged()
    module = SequenceDataModule(sequences, labels, scaling=scaling)
    assert module.input_shape == (9, 2) and module.num_classes == 2
    assert [len(part[0]) for part in (module.train, module.val, module.test)] == [18, 6, 6]
    assert module.train[0].dtype == torch.float32
    raw = SequenceDataModule(sequences, np.arange(30.0), scaling=None, target_scaling=None)
    rows = SequenceDataModule(
        sequences, np.arange(30.0), scaling=scaling, target_scaling=None
    ).train
    steps = np.concatenate([sequences[int(i)] for i in rows[1]])
    offset, scale = {
        "standard": (steps.mean(0), steps.std(0)),
        "minmax": (steps.min(0), np.ptp(steps, axis=0)),
        None: (np.zeros(2), np.ones(2)),
    }[scaling]
    for row, index in zip(*rows, strict=True):
        sequence = sequences[int(index)]
        missing = 9 - len(sequence)
        assert (row[:missing] == 0).all()
        np.testing.assert_allclose(row[missing:], (sequence - offset) / scale, rtol=1e-4, atol=1e-6)
    assert torch.equal(raw.train[1], rows[1])


def test_an_array_is_sequences_of_one_length():
    array = np.random.default_rng(0).normal(size=(20, 5, 3))
    one = SequenceDataModule(array, np.arange(20) % 2)
    other = SequenceDataModule(list(torch.from_numpy(array)), np.arange(20) % 2)
    assert torch.equal(everything(one), everything(other))
    spread = one.train[0].double().std((0, 1), correction=0)
    assert torch.allclose(spread, torch.ones(3).double(), atol=1e-5)


def test_labels_may_be_text_and_targets_values():
    sequences, labels = ragged()
    module = SequenceDataModule(sequences, np.array(["down", "up"])[labels])
    assert module.preprocessing.targets.classes == ["down", "up"]
    values = SequenceDataModule(sequences, labels * 50 + 0.5)
    assert values.train[1].abs().max() < 3
    back = values.unscale_targets(values.test[1])
    assert torch.allclose((back - 0.5) % 50, torch.zeros(6), atol=1e-4)


def test_new_sequences_are_read_as_in_the_training():
    sequences, labels = ragged()
    module = SequenceDataModule(
        sequences, labels, val=(sequences[:3], labels[:3]), test=(sequences[3:5], labels[3:5])
    )
    inputs = module.preprocessing.inputs
    read = inputs.read({"a": sequences[3], "b": sequences[4].tolist()})
    assert read.ids == {"sequence": ["a", "b"]} and read.flags == ["", ""]
    assert read.values.dtype == torch.float64 and read.values.isnan().any()
    assert torch.equal(inputs(read.values), module.test[0])
    assert torch.equal(module.scale(sequences[:3]), module.val[0])
    far = sequences[4].copy()
    far[-1, 1] = 1e3
    assert inputs.read([sequences[3], far]).flags == ["", "feature 1 far above the training rows"]


def test_an_archive_of_numpy_is_a_dictionary(tmp_path):
    sequences, labels = ragged()
    named = {f"person {row}": each for row, each in enumerate(sequences)}
    np.savez(tmp_path / "steps.npz", **named)
    module = SequenceDataModule(tmp_path / "steps.npz", labels)
    assert torch.equal(everything(module), everything(SequenceDataModule(sequences, labels)))
    read = module.preprocessing.inputs.read(str(tmp_path / "steps.npz"))
    assert read.ids == {"sequence": list(named)}
    for content in ("secret", "", "PK\x03\x04secret"):
        (tmp_path / "bad.npz").write_text(content)
        with pytest.raises(ValueError, match=r"must be a \.npy or \.npz .*bad\.npz, which is none"):
            module.preprocessing.inputs.read(tmp_path / "bad.npz")


def test_a_checkpoint_keeps_it_and_a_recurrent_model_trains(tmp_path):
    sequences, labels = ragged()
    module = SequenceDataModule(sequences, labels, batch_size=8)
    model = SequentialHybrid(
        input_dim=None,
        input_shape=[9, 2],
        quantum_dim=2,
        output_dim=2,
        front="gru",
        n_modes=4,
        n_photons=2,
    )
    trainer = Trainer(
        max_epochs=1, default_root_dir=tmp_path, logger=False, enable_progress_bar=False
    )
    trainer.fit(model, module)
    state = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    again = Preprocessing.from_state(state["hybridlit_preprocessing"])
    assert again.same_as(module.preprocessing)
    assert torch.equal(again(again.inputs.read(sequences).values), module.scale(sequences))


ONES = [np.ones((3, 2))] * 9


@pytest.mark.parametrize(
    ("sequences", "error", "message"),
    [
        ([*ONES, np.ones((3, 1))], ValueError, "same features, got 2 in row 0 and 1 in row 9"),
        ([*ONES, np.ones(3)], ValueError, r"\(steps, features\) each, got \(3,\) in row 9; .*None"),
        ([*ONES, np.ones((0, 2))], ValueError, r"got \(0, 2\) in row 9"),
        ([*ONES, np.full((3, 2), np.nan)], ValueError, r"inputs\[9\] must be finite, got 6"),
        ([*ONES, [["a", "b"]]], TypeError, r"inputs\[9\] must hold real numbers, got dtype"),
        (ONES, ValueError, "targets must have one entry for each of the 9 rows"),
        ([], ValueError, "inputs must be at least one, got none"),
        (3, TypeError, "inputs must be a list of arrays .* got int"),
        (np.ones((10, 3)), ValueError, r"each, got \(3,\) in row 0"),
        ("nowhere.npz", FileNotFoundError, "nowhere"),
    ],
)
def test_what_is_no_sequence_is_refused(sequences, error, message):
    with pytest.raises(error, match=message):
        SequenceDataModule(sequences, np.arange(10) % 2)


def test_longer_or_wider_sequences_are_refused_afterwards():
    sequences, labels = ragged()
    module = SequenceDataModule(sequences, labels)
    longer, wider = np.ones((11, 2)), np.ones((3, 5))
    with pytest.raises(ValueError, match=r"at most 9 steps like .* got 11 in row 1: shorten them"):
        module.scale([sequences[0], longer])
    with pytest.raises(ValueError, match=r"must have 2 features like .* got 5"):
        module.scale([wider])
    with pytest.raises(ValueError, match="val inputs must have at most 9 steps"):
        SequenceDataModule(sequences, labels, val=([longer], [1]))


def test_it_exports_with_any_number_of_sequences():
    sequences, labels = ragged()
    inputs = SequenceDataModule(sequences, labels).preprocessing.inputs
    rows = inputs.read(sequences).values
    program = torch.export.export(
        inputs, (rows[:4],), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for some in (rows[:2], rows):
        assert torch.equal(loaded(some), inputs(some))
