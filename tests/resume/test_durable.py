import errno
import gc
import os
import warnings

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from hybridlit.resume import durable
from hybridlit.resume.checkpoint_io import DurableCheckpointIO
from hybridlit.resume.durable import damage, remove_leftovers, save_durably
from hybridlit.resume.folder import later_checkpoints, newest_checkpoint

CONTENT = {"global_step": 7, "state_dict": {"w": torch.randn(300, 20), "c": torch.ones(2) * 1j}}


def with_step(step):
    return CONTENT | {"global_step": step}


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[:-1]
    elif how == "cut in half":
        content = content[: len(content) // 2]
    elif how == "flipped":
        content[len(content) // 2] ^= 4
    elif how == "flipped in the comment":
        content[-80] ^= 1
    elif how == "empty":
        content = b""
    elif how == "overwritten":
        content = b"\0" * len(content)
    path.write_bytes(content)


DAMAGES = ["truncated", "cut in half", "flipped", "flipped in the comment", "empty", "overwritten"]


def test_a_file_is_an_ordinary_one_for_torch(tmp_path):
    path = tmp_path / "new" / "a.ckpt"
    save_durably(CONTENT, path)
    for options in (dict(), dict(mmap=True)):
        content = torch.load(path, weights_only=True, **options)
        assert content["global_step"] == 7
        assert torch.equal(content["state_dict"]["w"], CONTENT["state_dict"]["w"])
        assert torch.equal(content["state_dict"]["c"], CONTENT["state_dict"]["c"])
    assert damage(path) is None
    assert [p.name for p in path.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("how", DAMAGES)
def test_damage_is_found(tmp_path, how):
    path = tmp_path / "a.ckpt"
    save_durably(CONTENT, path)
    spoil(path, how)
    assert damage(path) is not None


def test_flipped_bits_are_found_wherever_they_are(tmp_path):
    path = tmp_path / "a.ckpt"
    save_durably({"global_step": 1}, path)
    content = path.read_bytes()
    for position in {*range(0, len(content), 7), *range(len(content) - 120, len(content))}:
        spoiled = bytearray(content)
        spoiled[position] ^= 1 << position % 8
        path.write_bytes(spoiled)
        assert damage(path) is not None, position


def test_torch_alone_would_not_notice(tmp_path):
    path = tmp_path / "a.ckpt"
    save_durably(CONTENT, path)
    spoil(path, "flipped")
    content = torch.load(path, weights_only=True)  # hence this module
    assert not torch.equal(content["state_dict"]["w"], CONTENT["state_dict"]["w"])


@pytest.mark.parametrize("how", [None, "flipped", "cut in half", "empty"])
def test_files_without_our_checksum_are_checked_by_their_own(tmp_path, how):
    path = tmp_path / "a.ckpt"
    torch.save(CONTENT, path)
    if how:
        spoil(path, how)
    assert (damage(path) is None) == (how is None)


def test_a_missing_file_is_damage_not_an_error(tmp_path):
    assert "cannot be read" in damage(tmp_path / "none.ckpt")


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_leaves_the_file_from_before(tmp_path, monkeypatch, function, before):
    path = tmp_path / "a.ckpt"
    if before:
        save_durably(with_step(1), path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match=r"cannot save .*a.ckpt: No space left") as raised:
        save_durably(with_step(2), path)
    assert raised.value.errno == errno.ENOSPC
    assert ("untouched" in str(raised.value)) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"] * before
    if before:
        assert damage(path) is None and torch.load(path)["global_step"] == 1


def test_a_disk_that_does_not_keep_what_was_written(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    save_durably(with_step(1), path)

    def lossy(descriptor):
        os.pwrite(descriptor, b"?", 200)

    monkeypatch.setattr(os, "fsync", lossy)
    with pytest.raises(OSError, match=r"does not read back: its checksum differs.*untouched"):
        save_durably(with_step(2), path)
    assert torch.load(path)["global_step"] == 1


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_durably(CONTENT, tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 4, 9])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_what_stops_torch_amid_its_archive_is_what_is_raised(tmp_path, monkeypatch, fault, nth):
    save_durably(with_step(1), tmp_path / "a.ckpt")
    update, left = durable._Writer._add, [nth]

    def stopped(writer, view):
        left[0] -= 1
        if left[0] == 0:
            raise fault
        update(writer, view)

    monkeypatch.setattr(durable._Writer, "_add", stopped)
    with pytest.raises(type(fault)):
        save_durably(with_step(2), tmp_path / "a.ckpt")
    assert left[0] == 0  # torch went on to end its archive, and nobody wrote that
    gc.collect()  # torch's writer, whose last words must not reach a closed file
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]
    assert torch.load(tmp_path / "a.ckpt")["global_step"] == 1


def test_a_signal_on_the_way_into_a_write_is_what_is_raised(tmp_path, monkeypatch):
    write, left = durable._Writer.write, [5]

    def interrupted(writer, data):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return write(writer, data)

    monkeypatch.setattr(durable._Writer, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_durably(CONTENT, tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", ["", "folder"])
def test_a_folder_that_cannot_be_written(tmp_path, inside):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot save .*a.ckpt: (Not a directory|File exists)"):
        save_durably(CONTENT, tmp_path / "file" / inside / "a.ckpt")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_cannot_be_removed_does_not_hide_the_error(tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    def stuck(*_, **__):
        raise PermissionError

    monkeypatch.setattr(os, "fsync", fails)
    monkeypatch.setattr(type(tmp_path), "unlink", stuck)
    with pytest.raises(type(error), match="No space left" if isinstance(error, OSError) else ""):
        save_durably(CONTENT, tmp_path / "a.ckpt")


def test_the_newest_is_the_one_with_most_steps_then_the_last_written(tmp_path):
    for name, step in [("b", 12), ("last", 9), ("a", 12)]:
        save_durably(with_step(step), tmp_path / f"{name}.ckpt")
    os.utime(tmp_path / "b.ckpt", (1, 1))
    assert newest_checkpoint(tmp_path) == tmp_path / "a.ckpt"
    torch.save(with_step(13), tmp_path / "ordinary.ckpt")
    assert newest_checkpoint(str(tmp_path)).name == "ordinary.ckpt"


def test_the_folder_of_a_run_will_do(tmp_path):
    save_durably(CONTENT, tmp_path / "checkpoints" / "a.ckpt")
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "a.ckpt"


def test_of_numbered_folders_the_last_one_is_taken_whatever_the_clock_says(tmp_path):
    for number, (folder, step) in enumerate(
        [("checkpoints-10", 5), ("checkpoints", 9), ("checkpoints-2", 3), ("checkpoints_old", 4)]
    ):
        save_durably(with_step(step), tmp_path / folder / "a.ckpt")
        os.utime(tmp_path / folder / "a.ckpt", (number, number))  # the clock was set back
    (tmp_path / "checkpoints-11").mkdir()  # nothing was saved there
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoints-10" / "a.ckpt"


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_that_lead_nowhere_are_passed_over(tmp_path):
    save_durably(with_step(3), tmp_path / "checkpoints" / "a.ckpt")
    (tmp_path / "checkpoints" / "loop.ckpt").symlink_to(tmp_path / "checkpoints" / "loop.ckpt")
    (tmp_path / "checkpoints" / "gone.ckpt").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path, tmp_path / "checkpoints"):
        assert newest_checkpoint(folder).name == "a.ckpt"
    assert [path.name for path in later_checkpoints(tmp_path / "checkpoints", 2)] == ["a.ckpt"]


def test_an_interrupted_one_only_if_it_has_more_steps(tmp_path):
    save_durably(with_step(3), tmp_path / "step3.ckpt")
    save_durably(with_step(3), tmp_path / "interrupted.ckpt")
    os.utime(tmp_path / "step3.ckpt", (1, 1))
    assert newest_checkpoint(tmp_path).name == "step3.ckpt"
    save_durably(with_step(4), tmp_path / "interrupted.ckpt")
    assert newest_checkpoint(tmp_path).name == "interrupted.ckpt"


def test_later_checkpoints_are_the_undamaged_ones_of_later_steps(tmp_path):
    for step in (1, 2, 3, 4):
        save_durably(with_step(step), tmp_path / f"step{step}.ckpt")
    spoil(tmp_path / "step3.ckpt", "flipped")
    assert [path.name for path in later_checkpoints(tmp_path, 1)] == ["step2.ckpt", "step4.ckpt"]
    assert later_checkpoints(tmp_path / "none", 0) == []


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_files_are_passed_over_and_named(tmp_path, how):
    for step in (1, 2, 3):
        save_durably(with_step(step), tmp_path / f"step{step}.ckpt")
    spoil(tmp_path / "step3.ckpt", how)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert newest_checkpoint(tmp_path) == tmp_path / "step2.ckpt"
    if how in ("flipped", "flipped in the comment"):  # of the others the step is not known
        assert "step3.ckpt is damaged" in str(caught[0].message)


def test_leftovers_and_other_files_are_never_chosen(tmp_path):
    save_durably(with_step(1), tmp_path / "a.ckpt")
    save_durably(with_step(5), tmp_path / ".b.ckpt.0123abcd.unfinished")
    save_durably(with_step(6), tmp_path / "photonic.pt")
    assert newest_checkpoint(tmp_path).name == "a.ckpt"


def test_without_any_usable_checkpoint_the_error_says_why(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        newest_checkpoint(tmp_path)
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"can be used: .*a.ckpt is damaged: .*empty"):
        newest_checkpoint(tmp_path)


def test_leftovers_are_removed_unless_somebody_is_writing(tmp_path):
    name = f".a.ckpt.0123abcd{durable.UNFINISHED}"
    (tmp_path / name).touch()
    (tmp_path / "a.ckpt").touch()
    (tmp_path / ".other").touch()
    with durable._Writer(tmp_path / f".b.ckpt.0123abcd{durable.UNFINISHED}"):
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 3 and not (tmp_path / name).exists()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other", "a.ckpt"]


@pytest.mark.parametrize("how", ["flipped", "cut in half", "empty"])
def test_a_damaged_checkpoint_is_replaced_on_loading(tmp_path, how):
    for step in (1, 2, 3):
        save_durably(with_step(step), tmp_path / f"step{step}.ckpt")
    spoil(tmp_path / "step3.ckpt", how)
    with pytest.warns(UserWarning, match=r"step3.ckpt is damaged: .* Resuming from .*step2.ckpt"):
        assert DurableCheckpointIO().load_checkpoint(tmp_path / "step3.ckpt")["global_step"] == 2
    with pytest.raises(RuntimeError, match=r"step3.ckpt is damaged"):
        DurableCheckpointIO(fall_back=False).load_checkpoint(tmp_path / "step3.ckpt")
    for step in (1, 2):
        spoil(tmp_path / f"step{step}.ckpt", how)
    with pytest.raises(RuntimeError, match=r"step3.ckpt is damaged: .*step1.ckpt is damaged"):
        DurableCheckpointIO().load_checkpoint(tmp_path / "step3.ckpt")
    with pytest.raises(FileNotFoundError):
        DurableCheckpointIO().load_checkpoint(tmp_path / "step4.ckpt")


def test_as_a_plugin_of_any_trainer(tmp_path):
    options = dict(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[DurableCheckpointIO()],
    )
    trainer = Trainer(max_steps=2, **options)
    trainer.fit(BoringModel())
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    assert damage(path) is None and path.read_bytes()[-90:].find(b"hybridlit sha256 ") >= 0
    again = Trainer(max_steps=3, **options)
    again.fit(BoringModel(), ckpt_path=path)
    assert again.global_step == 3
    trainer.strategy.remove_checkpoint(path)
    assert not path.exists()
