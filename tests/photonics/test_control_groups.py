"""What the limits of control groups leave of the memory."""

import pytest

from hybridlit.photonics.memory import _left_by_control_groups

MIB = 2**20


@pytest.fixture
def group(tmp_path):
    """Write the files of a control group below a folder that stands for the root of all."""

    def write(place, **files):
        folder = tmp_path / "cgroup" / place
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(f"{content}\n")

    return write


def left(tmp_path, membership):
    (tmp_path / "membership").write_text(membership)
    return _left_by_control_groups(tmp_path / "cgroup", tmp_path / "membership")


def test_a_limit_less_what_is_used_and_not_merely_cached(tmp_path, group):
    stat = f"anon {20 * MIB}\nactive_file {3 * MIB}\ninactive_file {7 * MIB}"
    files = dict(memory__max=100 * MIB, memory__current=40 * MIB, memory__stat=stat)
    group("jobs/mine", **files)
    assert left(tmp_path, "0::/jobs/mine\n") == [(100 - 40 + 10) * MIB]


def test_groups_above_count_and_those_without_a_limit_do_not(tmp_path, group):
    group("jobs", memory__max=60 * MIB, memory__current=50 * MIB)
    group("jobs/mine", memory__max="max", memory__current=5 * MIB)
    group("jobs/others", memory__max=MIB, memory__current=0)
    assert left(tmp_path, "0::/jobs/mine\n") == [10 * MIB]


def test_version_1_counts_in_files_of_its_own(tmp_path, group):
    stat = f"cache {9 * MIB}\ntotal_inactive_file {2 * MIB}"
    group(
        "memory/mine",
        memory__limit_in_bytes=30 * MIB,
        memory__usage_in_bytes=12 * MIB,
        memory__stat=stat,
    )
    assert left(tmp_path, "4:cpu,cpuacct:/x\n3:memory:/mine\n") == [20 * MIB]


def test_a_group_beyond_its_limit_leaves_nothing(tmp_path, group):
    group("", memory__max=10 * MIB, memory__current=11 * MIB)
    assert left(tmp_path, "0::/\n") == [0]
