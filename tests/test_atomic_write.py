"""A file stands at its place as a whole, or not at all."""

import os

import pytest

from hybridlit.atomic_write import UNFINISHED, atomic_write


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as unfinished:
        unfinished.write_text("one")
        assert not path.exists() and unfinished.parent == path.parent
    with atomic_write(path) as unfinished:
        unfinished.write_text("two")
        assert path.read_text() == "one" and unfinished.name.endswith(UNFINISHED)
    assert path.read_text() == "two" and os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_stops_it_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_write(path) as unfinished:
        unfinished.write_text("half")
        raise error
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    order, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("sync"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("replace"), replace(*names)))
    with atomic_write(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("whole")
    assert order[:2] == ["sync", "replace"]
