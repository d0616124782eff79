"""Which checkpoint of a folder is the best, and whether a run can go on in it."""

import pytest
import torch

from hybridlit.resume.durable import save_durably
from hybridlit.resume.folder import best_checkpoint, step_of, step_to_go_on_from
from hybridlit.resume.lock import FolderLock


def saved(path, step, **callbacks):
    save_durably({"global_step": step, "callbacks": callbacks}, path)
    return path


def test_a_run_goes_on_behind_its_newest_checkpoint_alone(tmp_path):
    first, second = (saved(tmp_path / f"step{n:08d}.ckpt", n) for n in (3, 5))
    assert step_to_go_on_from(second) == step_of(second) == 5
    assert step_to_go_on_from(first) is None
    second.write_bytes(b"cut off")  # what is damaged is not further
    assert step_to_go_on_from(first) == 3 and step_to_go_on_from(second) is None


def test_no_run_goes_on_where_another_one_is_writing(tmp_path):
    path, lock = saved(tmp_path / "last.ckpt", 2), FolderLock(str(tmp_path))
    assert lock.take()
    assert step_to_go_on_from(path) is None
    lock.release()
    assert step_to_go_on_from(path) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["last.ckpt"]


@pytest.mark.parametrize(
    "state",
    [{"best": {"b.ckpt": 0.1, "a.ckpt": 0.2}}, {"best_model_path": "/elsewhere/b.ckpt"}],
)
def test_the_best_is_what_the_newest_says(tmp_path, state):
    saved(tmp_path / "b.ckpt", 4)
    saved(tmp_path / "a.ckpt", 5)
    saved(tmp_path / "last.ckpt", 6, Layout={"best": {"val/loss": 0.1}}, Other=[1], Kept=state)
    assert best_checkpoint(tmp_path) == tmp_path / "b.ckpt"
    (tmp_path / "b.ckpt").unlink()
    if "best" in state:
        assert best_checkpoint(tmp_path) == tmp_path / "a.ckpt"
    else:
        with pytest.raises(FileNotFoundError, match="is the best: give a file"):
            best_checkpoint(tmp_path)


def test_what_is_no_checkpoint_has_no_step(tmp_path):
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    assert step_of(tmp_path / "other.ckpt") == -1
    assert step_to_go_on_from(tmp_path / "other.ckpt") is None
