"""Asks the kernel: processor, memory, control groups, limits. Reads /proc and /sys, and starts nothing."""

import os
import platform
import resource
import time
from pathlib import Path

from installer.facts import Limits, Machine, Memory

PROC, SYS = Path("/proc"), Path("/sys")
# A v1 group without a limit shows the largest number of pages; nobody has this much memory.
NO_LIMIT_BYTES = 1 << 60
# Units live here, whatever the group of the terminal that we run in.
UNIT_GROUP = "system.slice"


def machine() -> Machine:
    """Return what the kernel and the C library say of themselves."""
    umask = os.umask(0o077)
    os.umask(umask)
    return Machine(
        architecture=platform.machine(),
        kernel=platform.release(),
        glibc=_glibc(),
        cpu_flags=_cpu_flags(),
        cores=len(os.sched_getaffinity(0)),
        namespaces=frozenset(path.name for path in (PROC / "self" / "ns").iterdir()),
        has_seccomp="Seccomp:" in (PROC / "self" / "status").read_text(),
        euid=os.geteuid(),
        umask=umask,
        now=time.time(),
    )


def memory(is_user: bool) -> Memory:
    """Return how much memory there is, and how much of it the control groups above the service leave."""
    sizes = _meminfo((PROC / "meminfo").read_text())
    strict = (PROC / "sys" / "vm" / "overcommit_memory").read_text().strip() == "2"
    return Memory(
        total_bytes=sizes["MemTotal"],
        available_bytes=sizes.get("MemAvailable", sizes["MemFree"]),
        swap_bytes=sizes.get("SwapTotal", 0),
        limit_bytes=_group_limit("memory.max", "memory", "memory.limit_in_bytes", is_user),
        committable_bytes=max(0, sizes["CommitLimit"] - sizes["Committed_AS"]) if strict else None,
        cgroup=_cgroup_kind(),
    )


def limits(is_user: bool) -> Limits:
    """Return the soft limits of this process, and how many more tasks the kernel allows."""
    used = sum(1 for entry in PROC.iterdir() if entry.name.isdigit())
    left = [int((PROC / "sys" / "kernel" / "pid_max").read_text()) - used]
    group = _group_limit("pids.max", "pids", "pids.max", is_user)
    if group is not None:
        left.append(group)
    return Limits(
        open_files=_soft(resource.RLIMIT_NOFILE),
        processes=_soft(resource.RLIMIT_NPROC),
        address_space_bytes=_soft(resource.RLIMIT_AS),
        file_bytes=_soft(resource.RLIMIT_FSIZE),
        tasks_left=min(left),
    )


def _glibc() -> str:
    """Return the version of the C library, "" where it is not glibc."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


def _cpu_flags() -> frozenset[str]:
    """Return the processor's features by the names of /proc/cpuinfo: `flags` on x86, `Features` on Arm."""
    for line in (PROC / "cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()


def _meminfo(text: str) -> dict[str, int]:
    """Read /proc/meminfo, `Name:  12345 kB` a line, into bytes."""
    lines = (line.replace(":", " ").split() for line in text.splitlines())
    return {words[0]: int(words[1]) * 1024 for words in lines if len(words) == 3}


def _cgroup_kind() -> str:
    groups = SYS / "fs" / "cgroup"
    if (groups / "cgroup.controllers").exists():
        return "v2"
    return "v1" if (groups / "memory").is_dir() or (groups / "systemd").is_dir() else "none"


def _group_limit(name: str, controller: str, old_name: str, is_user: bool) -> int | None:
    """Return the smallest limit on the way from the service's control group up, None where no group has one."""
    base = SYS / "fs" / "cgroup" / ("" if _cgroup_kind() == "v2" else controller)
    group = base / (_own_group(controller) if is_user else UNIT_GROUP)
    folders = [folder for folder in [group, *group.parents] if folder.is_relative_to(base)]
    found = (_number(folder / (name if _cgroup_kind() == "v2" else old_name)) for folder in folders)
    return min((number for number in found if number is not None and number < NO_LIMIT_BYTES), default=None)


def _own_group(controller: str) -> str:
    """Return our group's path below its hierarchy (/proc/self/cgroup, cgroups(7): `4:memory:/a/b`, v2: `0::/a/b`)."""
    for line in (PROC / "self" / "cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if (number == "0" and _cgroup_kind() == "v2") or controller in controllers.split(","):
            return path.lstrip("/")
    return ""


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _soft(kind: int) -> int | None:
    soft = resource.getrlimit(kind)[0]
    return None if soft == resource.RLIM_INFINITY else soft
