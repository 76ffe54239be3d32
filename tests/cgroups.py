"""Find and remove the cgroups that a test's container lives in, under cgroup v1, hybrid and v2."""

from __future__ import annotations

import time
from pathlib import Path


def hierarchies() -> list[Path]:
    """Return the hierarchies that systemd manages: v2's, and on a v1 or hybrid host name=systemd's."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(m[1]) for m in mounts if m[2] == "cgroup2" or (m[2] == "cgroup" and "name=systemd" in m[3].split(","))]


def remove(name: str) -> None:
    for mount in hierarchies():
        for _ in range(50):  # the kernel reports a group busy until its last process is reaped
            groups = sorted((path.parent for path in (mount / name).rglob("cgroup.procs")), reverse=True)
            for group in groups:
                _try_rmdir(group)
            if not (mount / name).exists():
                break
            time.sleep(0.1)


def _try_rmdir(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:
        return
