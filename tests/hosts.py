"""A server on which everything is good, as facts, and the release that it is examined for; tests break one thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import small_bundle
from small_bundle import Recipe

from checksums.manifest import File, Manifest
from installer.checks import GIB, Subject
from installer.facts import (
    Earlier,
    Facts,
    Limits,
    Machine,
    Memory,
    Network,
    Python,
    Room,
    Service,
    System,
    Volume,
    Volumes,
)
from installer.facts_system import TOOLS
from installer.places import places_of

WHEEL = "payload/wheels/torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl"
DISK = Volume(
    folder=Path("/opt"),
    real=Path("/opt"),
    device=1,
    kind="ext4",
    options=frozenset({"rw", "relatime"}),
    free_bytes=100 * GIB,
    free_inodes=1_000_000,
    is_writable=True,
    is_case_blind=False,
)
# Each place on a disk of its own, so that each can be full alone.
VOLUMES = Volumes(
    prefix=DISK,
    data=replace(DISK, folder=Path("/var/lib"), device=2),
    log=replace(DISK, folder=Path("/var/log"), device=3),
    cache=replace(DISK, folder=Path("/var/cache"), device=4),
    etc=replace(DISK, folder=Path("/etc"), device=5),
    units=replace(DISK, folder=Path("/etc/systemd/system"), device=5),
    command=replace(DISK, folder=Path("/usr/local/bin"), device=6),
    run=replace(DISK, folder=Path("/run"), device=7, kind="tmpfs"),
    temporary=replace(DISK, folder=Path("/tmp"), device=8),
)


def good_facts(is_user: bool = False) -> Facts:
    """Return a server that has all that Ferry wants."""
    return Facts(
        machine=Machine(
            architecture="x86_64",
            kernel="6.1.0-13-amd64",
            glibc="2.36",
            cpu_flags=frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3", "avx2", "fma"}),
            cores=8,
            namespaces=frozenset({"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}),
            has_seccomp=True,
            euid=1000 if is_user else 0,
            umask=0o022,
            now=1_800_000_000,
        ),
        memory=Memory(16 * GIB, 12 * GIB, 2 * GIB, None, None, "v2"),
        limits=Limits(4096, None, None, None, 30_000),
        volumes=VOLUMES,
        python=Python(Path("/usr/bin/python3.11"), "3.11.2", "cpython", "cpython-311-x86_64-linux-gnu"),
        system=System(
            tools={name: f"/usr/bin/{name}" for name in TOOLS},
            openssh=(9, 2),
            systemd=252,
            is_systemd_running=True,
            selinux="off",
            isolates_users=is_user,
            restricts_namespaces=False,
            accounts=(),
        ),
        network=Network("0.0.0.0:8080", "", True, 1024),
        earlier=Earlier(None, None, "", ()),
        room=Room(payload_bytes=GIB, wheel_bytes=GIB // 4, has_environment=False, data_bytes=0),
        service=Service("1.0.0-1-aaaaaaaa", "", "running", "http://127.0.0.1:8080", "", 0o640, True),
    )


def manifest() -> Manifest:
    """Return a release of 1 GiB of files that takes 3 GiB on disk and 2 GiB of memory."""
    recipe = Recipe(python="3.11", glibc="2.28", architecture="x86_64", disk_bytes=3 * GIB, ram_bytes=2 * GIB)
    made = small_bundle.manifest(recipe, {"install.pyz": b"", WHEEL: b""})
    return replace(made, files=(*made.files, File("payload/model/w", GIB, "0" * 64, "0644")))


def good_subject(is_user: bool = False) -> Subject:
    """Return that release, to be installed at the mode's own place."""
    places = places_of(Path("/opt/ferry"), is_user)
    return Subject(manifest(), places, "0.0.0.0:8080", new_bytes=3 * GIB)


def changed(value: Any, changes: dict[str, Any]) -> Any:
    """Return a frozen value with other fields; "memory.swap_bytes" names one further in."""
    for path, new in changes.items():
        name, _, rest = path.partition(".")
        value = replace(value, **{name: changed(getattr(value, name), {rest: new}) if rest else new})
    return value
