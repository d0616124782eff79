"""Two processes train, evaluate and predict as one does on the same rows."""

import pytest
import torch
from distributed_runs import (
    CASES,
    PARALLEL,
    ROWS,
    all_trained,
    data_for,
    evaluated,
    model_for,
    shown,
)
from ranks_together import together

from hybridlit.callbacks import ExactResume, export_component
from hybridlit.ranks import in_turns

# of every process alone, times, and bytes of its rows
ITS_OWN = ("loss", "profile/", "checkpointing/")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What is left of each run, in one process, and in each of two."""
    folder = tmp_path_factory.getbasetemp() / "runs"
    folder.mkdir()
    torch.manual_seed(77)
    cls, sizes = PARALLEL
    other = cls(input_dim=7, output_dim=3, n_modes=4, n_photons=2, **sizes)
    export_component(other, "photonic", folder / "photonic.pt")
    return [all_trained(CASES, folder, 1), *together(all_trained, CASES, folder, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_weights_and_scores_are_those_of_one_process(name, runs):
    """In float64, after 50 steps unless the case has fewer."""
    one, first, second = (run[name] for run in runs)
    assert first["steps"] == one["steps"] >= 15
    for key, value in one["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key]), key
        torch.testing.assert_close(first["weights"][key], value, rtol=0, atol=1e-6)
    assert first["frozen"] == one["frozen"] == ["classical_path"] * (name == "frozen")
    for key, value in one["logged"].items():
        if not key.startswith(ITS_OWN):
            assert float(first["logged"][key]) == pytest.approx(float(value), abs=1e-6), key
    assert first["tested"] == second["tested"] == pytest.approx(one["tested"], abs=1e-6)
    assert first["tested"].get("test/acc") == one["tested"].get("test/acc")
    assert len(one["predicted"]) == ROWS["test"]
    rows = in_turns([first["predicted"], second["predicted"]])
    torch.testing.assert_close(rows, one["predicted"], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_what_the_progress_bar_of_one_process_computes_is_waited_for_by_none(tmp_path):
    first, second = together(shown, tmp_path, seconds=120)
    assert first == second and first["train/loss"] > 0 and "val/acc" in first


@pytest.mark.slow
def test_loaders_of_others_are_evaluated_once_as_well():
    """27, 21 and 31 rows, of which two processes cannot have equal shares, in batches of 10."""
    both = together(evaluated, 2)
    one = evaluated(1, both[0]["weights"])
    for found in both:
        assert found["scores"] == pytest.approx(one["scores"], rel=1e-6)
        for key, value in found["in the fit"].items():
            assert value == pytest.approx(one["scores"][key], rel=1e-6)
        for key in ("val/acc", "val/acc/dataloader_idx_1", "test/acc"):
            assert found["scores"][key] == one["scores"][key]
    rows = in_turns([found["predicted"] for found in both])
    torch.testing.assert_close(rows, one["predicted"], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_other_processes_go_on_at_the_end_of_an_epoch_only(
    batch, runs, tmp_path_factory, make_trainer
):
    folder = tmp_path_factory.getbasetemp() / "runs" / "resumable-2"

    def go_on(checkpoint, epochs):
        (path,) = folder.rglob(checkpoint)
        trainer = make_trainer([ExactResume()], max_epochs=epochs, precision="64-true")
        trainer.fit(model_for("resumable"), data_for("resumable", batch), ckpt_path=path)
        return trainer

    with pytest.raises(ValueError, match=r"[rR]esume with the same data"):
        go_on("step00000042.ckpt", 10)
    with pytest.warns(UserWarning, match="saved by 2 processes and is resumed by 1: data and"):
        trainer = go_on("last.ckpt", 11)
    assert trainer.current_epoch == 11
