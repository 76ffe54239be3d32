"""Checks of the file systems below an installation: room for each place, and what each mount allows."""

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from installer.checks import MIB, Answer, Question, Subject, advice, gib, must
from installer.facts import Facts, Volume

# What each place takes beside the release: accounts and conversations to begin with, a few rotations of the logs,
# compiled kernels, two small files, the socket, the head of a bundle while install.sh reads it.
GROWTH_BYTES = {
    "data": 64 * MIB, "log": 64 * MIB, "cache": 64 * MIB, "etc": MIB, "run": MIB, "temporary": 64 * MIB,
}  # fmt: skip
# Measured on the demo: 30,450 files and folders came of 275.7 MB of wheels, bytecode counted.
INODES_PER_WHEEL_MB = 111
# They have no links of either kind, or no modes.
WITHOUT_LINKS = frozenset({"vfat", "msdos", "exfat", "fuseblk", "ntfs", "ntfs3", "cifs", "smb3", "vboxsf", "hgfs"})
# SQLite's log needs memory that processes share, which no network file system gives (sqlite.org/wal.html).
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "afs", "9p"})
VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})
# ProtectHome=yes and PrivateTmp=yes hide these from the units.
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))
# sockaddr_un holds 108 bytes with the zero at the end (unix(7)).
MAX_SOCKET_BYTES = 107


@must
def disk(facts: Facts, subject: Subject) -> Answer:
    """Room for the release and whatever else lands on the same file system, each with its figure."""
    volume = facts.volumes.prefix
    parts = [part for part in _parts(facts, subject) if part[1]]
    needed = sum(size for _, size in parts)
    text = f"{gib(needed)}: {', '.join(f'{gib(size)} for {what}' for what, size in parts)}"
    ok = volume.free_bytes >= needed
    return ok, _free(volume), text, f"free {gib(max(0, needed - volume.free_bytes))} more there, or another --prefix"


@advice
def disk_next(facts: Facts, subject: Subject) -> Answer:
    """The release before stays for a rollback, so an upgrade needs room for a third."""
    volume, release = facts.volumes.prefix, subject.manifest.requires.disk_bytes
    needed = release + (0 if subject.is_installed else sum(size for _, size in _parts(facts, subject)))
    text = f"{gib(needed)}, with a release of this size beside those kept for a rollback"
    return volume.free_bytes >= needed, _free(volume), text, "an upgrade to another model will need it; free it by then"


@must
def disk_inodes(facts: Facts, subject: Subject) -> Answer:
    free = facts.volumes.prefix.free_inodes
    if free is None or subject.is_installed:
        return None
    made = 0 if facts.room.has_environment else facts.room.wheel_bytes * INODES_PER_WHEEL_MB // 1_000_000
    needed = 2 * len(subject.manifest.files) + made
    return free >= needed, f"{free} files", f"{needed} files", "remove small files there, or another --prefix"


@must
def disk_data(facts: Facts, _subject: Subject) -> Answer:
    return _place(facts, "data", "free some space there")


@must
def disk_log(facts: Facts, _subject: Subject) -> Answer:
    return _place(facts, "log", "free some space there: journalctl --vacuum-size=200M")


@must
def disk_cache(facts: Facts, _subject: Subject) -> Answer:
    return _place(facts, "cache", "free some space there")


@must
def disk_settings(facts: Facts, _subject: Subject) -> Answer:
    return _place(facts, "etc", "free some space there")


@must
def disk_run(facts: Facts, _subject: Subject) -> Answer:
    return _place(facts, "run", "free some space there")


@must
def disk_temporary(facts: Facts, _subject: Subject) -> Answer:
    volume, needed = facts.volumes.temporary, GROWTH_BYTES["temporary"]
    ok = volume.is_writable and volume.free_bytes >= needed
    found = _free(volume) if volume.is_writable else f"{volume.folder} is not writable"
    return ok, found, f"{gib(needed)}, writable", "free some space there, or set TMPDIR to another folder"


@must
def prefix(_facts: Facts, subject: Subject) -> Answer:
    if subject.places.is_user:
        return None
    found = str(subject.places.prefix)
    ok = re.fullmatch(r"[A-Za-z0-9/._+@ -]+", found) is not None
    return ok, found, "letters, digits and ._+@- only", "choose another --prefix"


@must
def prefix_place(facts: Facts, subject: Subject) -> Answer:
    if subject.places.is_user:
        return None
    ways = (subject.places.prefix, facts.volumes.prefix.real)
    is_hidden = any(way.is_relative_to(place) for way in ways for place in HIDDEN)
    needed = f"not below {', '.join(map(str, HIDDEN))}"
    return (
        not is_hidden,
        str(subject.places.prefix),
        needed,
        "the units cannot see it there; choose another --prefix, as /opt/ferry",
    )


@must
def prefix_writable(facts: Facts, _subject: Subject) -> Answer:
    volume = facts.volumes.prefix
    ok = volume.is_writable and "ro" not in volume.options
    found = (
        f"{volume.folder} is {'writable' if ok else 'mounted read-only' if 'ro' in volume.options else 'not writable'}"
    )
    return ok, found, "a folder to write to", "choose another --prefix, or remount it: mount -o remount,rw"


@must
def prefix_exec(facts: Facts, _subject: Subject) -> Answer:
    volume = facts.volumes.prefix
    ok = "noexec" not in volume.options
    hint = f"choose another --prefix, or: mount -o remount,exec, on the file system of {volume.folder}"
    return ok, "exec" if ok else "noexec", "programs may run there", hint


@advice
def prefix_nosuid(facts: Facts, subject: Subject) -> Answer:
    """Nothing of Ferry's is setuid; but under SELinux a program on such a mount may not change its domain."""
    if subject.places.is_user or facts.system.selinux != "enforcing":
        return None
    ok = "nosuid" not in facts.volumes.prefix.options
    hint = "if the units do not start, look for denials with: ausearch -m avc; and remount it without nosuid"
    return ok, "suid" if ok else "nosuid", "no nosuid where SELinux is enforcing", hint


@must
def prefix_links(facts: Facts, _subject: Subject) -> Answer:
    kind = facts.volumes.prefix.kind
    hint = "choose a --prefix on a file system of Linux's own, as ext4 or xfs"
    return kind not in WITHOUT_LINKS, kind, "symbolic and hard links", hint


@must
def prefix_case(facts: Facts, _subject: Subject) -> Answer:
    blind = facts.volumes.prefix.is_case_blind
    found = "A and a are one name" if blind else "A and a are two names"
    return not blind, found, "A and a are two names", "choose a --prefix on another file system"


@advice
def prefix_kind(facts: Facts, _subject: Subject) -> Answer:
    kind = facts.volumes.prefix.kind
    hint = "what is there is gone after a restart" if kind in VOLATILE else "weights load slowly from there"
    return kind not in VOLATILE | NETWORK, kind, "a disk of this server's", hint


@must
def data_kind(facts: Facts, subject: Subject) -> Answer:
    kind = facts.volumes.data.kind
    hint = f"SQLite's log is not safe on it: mount a local disk at {subject.places.data}"
    return kind not in NETWORK, kind, "a disk of this server's", hint


@must
def system_folders(facts: Facts, subject: Subject) -> Answer:
    if subject.places.is_user:
        return None
    volumes = facts.volumes
    shut = [str(v.folder) for v in (volumes.etc, volumes.units, volumes.command, volumes.run) if _is_shut(v)]
    found = f"not writable: {', '.join(dict.fromkeys(shut))}" if shut else "writable"
    hint = "as root; on an immutable system use --user-mode with --prefix"
    return not shut, found, "settings, units, the command and /run can be written", hint


@must
def open_folders(facts: Facts, subject: Subject) -> Answer:
    if subject.places.is_user:
        return None
    shut = [str(volume.folder) for volume in (facts.volumes.prefix, facts.volumes.etc) if not volume.is_open]
    found = f"closed to others: {', '.join(shut)}" if shut else "open"
    hint = "the service's own users could not get in; chmod a+x it, and what is above it"
    return not shut, found, "everybody may pass through to the prefix and the settings", hint


@advice
def socket_path(_facts: Facts, subject: Subject) -> Answer:
    length = len(os.fsencode(subject.places.run / "engine.sock"))
    hint = "Ferry copes; other programs cannot name the engine's socket. A shorter --prefix mends it"
    return length <= MAX_SOCKET_BYTES, f"{length} bytes", f"at most {MAX_SOCKET_BYTES}", hint


def _parts(facts: Facts, subject: Subject) -> Iterator[tuple[str, int]]:
    """Yield what lands on the file system of the prefix."""
    if not subject.is_installed:
        payload = facts.room.payload_bytes
        # What the build side computed from the wheels' own directories is exact but for bytecode: 4.39 times the demo's
        # wheels, where 4.28 times were measured on disk. Unpacked, no wheel is smaller than it was.
        environment = 0 if facts.room.has_environment else max(subject.new_bytes - payload, facts.room.wheel_bytes)
        yield "the bundle's files", payload
        yield "its Python environment", environment
        yield "a copy of the data while it is upgraded", facts.room.data_bytes
    yield "data, logs and settings", sum(GROWTH_BYTES[name] for name in _beside(facts))


def _beside(facts: Facts) -> list[str]:
    names = [field.name for field in fields(facts.volumes) if field.name in GROWTH_BYTES]
    return [name for name in names if _device(getattr(facts.volumes, name)) == facts.volumes.prefix.device]


def _device(volume: Volume | object) -> int | None:
    """Return the device, None where the place could not be looked at; its own check says so."""
    return volume.device if isinstance(volume, Volume) else None


def _place(facts: Facts, name: str, hint: str) -> Answer:
    volume: Volume = getattr(facts.volumes, name)
    if volume.device == facts.volumes.prefix.device:
        # `disk` counts it.
        return None
    needed = GROWTH_BYTES[name]
    return volume.free_bytes >= needed, _free(volume), gib(needed), hint


def _free(volume: Volume) -> str:
    return f"{gib(volume.free_bytes)} free in {volume.folder}"


def _is_shut(volume: Volume) -> bool:
    return not volume.is_writable or "ro" in volume.options


DISK: tuple[Question, ...] = (
    disk,
    disk_next,
    disk_inodes,
    disk_data,
    disk_log,
    disk_cache,
    disk_settings,
    disk_run,
    disk_temporary,
    prefix,
    prefix_place,
    prefix_writable,
    prefix_exec,
    prefix_nosuid,
    prefix_links,
    prefix_case,
    prefix_kind,
    data_kind,
    system_folders,
    open_folders,
    socket_path,
)
