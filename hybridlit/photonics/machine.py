"""How much memory this process may still take."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["available_memory"]


def available_memory() -> int:
    """Return the memory that a process may still take: of the system, its control group, its limit.

    Returns:
        Bytes.
    """
    import psutil  # not needed by those who only import the package

    found: list[int] = [psutil.virtual_memory().available]
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]  # as set by ulimit -v
        if limit != resource.RLIM_INFINITY:
            found.append(max(0, limit - psutil.Process().memory_info().vms))
    return min(found + _left_by_control_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")))


def _left_by_control_groups(root: Path, membership: Path) -> list[int]:
    """Return what the limits of this process's control groups, of version 1 and 2, leave."""
    places = {root, root / "memory"}  # the own group is the root where a container hides the rest
    if membership.exists():
        for line in membership.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "" or "memory" in kinds.split(","):
                own = (root / "memory" if kinds else root) / path.lstrip("/")
                places.update([own, *own.parents])
    left = []
    for place in places:
        for limit, used, cached in _CONTROL_FILES:
            if not (place / limit).exists() or not (place / used).exists():
                continue
            allowed = (place / limit).read_text().strip()
            if allowed == "max":
                continue
            taken = int((place / used).read_text())
            if (place / "memory.stat").exists():  # cached files make room when it is needed
                rows = map(str.split, (place / "memory.stat").read_text().splitlines())
                taken -= sum(int(amount) for kind, amount in rows if kind in cached)
            left.append(max(0, int(allowed) - taken))
    return left


_CONTROL_FILES = [
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
]
"""Limit, use, and the statistics of cached files, of control groups of version 2 and 1."""
