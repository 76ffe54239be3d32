"""What is true of this server, as values, and the one function that finds it out.

Places and a manifest come in, `Facts` go out; nothing is judged here and nothing is changed. Each part is gathered for
itself: one that cannot be gathered becomes `Unknown`, and only who asks for it learns so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from checksums.errors import FerryError


class UnknownFact(Exception):
    """Something was asked that could not be found out; the text says why."""


class Unknown:
    """Stands in place of a part that could not be gathered."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownFact(self._why)


@dataclass(frozen=True)
class Machine:
    """The processor, the kernel and who we are; `now` is seconds since 1970, `namespaces` are those the kernel has."""

    architecture: str
    kernel: str
    glibc: str
    cpu_flags: frozenset[str]
    cores: int
    namespaces: frozenset[str]
    has_seccomp: bool
    euid: int
    umask: int
    now: float


@dataclass(frozen=True)
class Memory:
    """Bytes of memory; `limit_bytes` is what a control group leaves, None without one. `cgroup`: "v1", "v2", "none".

    `committable_bytes` is what may still be promised where the kernel promises no more than it has, else None.
    """

    total_bytes: int
    available_bytes: int
    swap_bytes: int
    limit_bytes: int | None
    committable_bytes: int | None
    cgroup: str


@dataclass(frozen=True)
class Limits:
    """What a process of ours may take, by ulimit and by the kernel; None is no limit."""

    open_files: int | None
    processes: int | None
    address_space_bytes: int | None
    file_bytes: int | None
    tasks_left: int | None


@dataclass(frozen=True)
class Volume:
    """A file system, seen from the nearest folder on the way to a place; `real` is that folder without links.

    `is_open` says that the service's users may pass through that folder and all above it.
    """

    folder: Path
    real: Path
    device: int
    kind: str
    options: frozenset[str]
    free_bytes: int
    free_inodes: int | None
    is_writable: bool
    is_case_blind: bool
    is_open: bool = True


@dataclass(frozen=True)
class Volumes:
    """The file systems of the places that matter."""

    prefix: Volume
    data: Volume
    log: Volume
    cache: Volume
    etc: Volume
    units: Volume
    command: Volume
    run: Volume
    temporary: Volume


@dataclass(frozen=True)
class Python:
    """An interpreter of the server's, asked about itself; `problem` where it did not answer.

    `is_reachable` says that everybody may go to it and run it.
    """

    program: Path
    version: str = ""
    implementation: str = ""
    abi: str = ""
    missing: tuple[str, ...] = ()
    problem: str = ""
    is_reachable: bool = True


@dataclass(frozen=True)
class Account:
    """A user of this server, of the name that one of Ferry's has."""

    name: str
    home: str
    shell: str


@dataclass(frozen=True)
class System:
    """Programs by name (those that are there), versions, and how access is kept."""

    tools: Mapping[str, str]
    openssh: tuple[int, ...]
    systemd: int | None
    is_systemd_running: bool
    selinux: str
    isolates_users: bool
    restricts_namespaces: bool
    accounts: tuple[Account, ...]


@dataclass(frozen=True)
class Network:
    """`busy` is why nothing can listen at the wanted address; from `port_floor` on anybody may have a port."""

    listen: str | None
    busy: str
    has_loopback: bool
    port_floor: int


@dataclass(frozen=True)
class Earlier:
    """What an earlier installation left: where units point to, its mode, what is wrong with its state, and scraps."""

    other_prefix: str | None
    mode: str | None
    problem: str
    leftovers: tuple[str, ...]


@dataclass(frozen=True)
class Room:
    """What the release brings that is not here yet: bytes of its files, and whether its environment is made already.

    `wheel_bytes` is what the environment is made of, `data_bytes` what the data folder holds now, `context_bytes` what
    the settings want of memory beyond the release's own figure.
    """

    payload_bytes: int
    wheel_bytes: int
    has_environment: bool
    data_bytes: int
    context_bytes: int = 0


@dataclass(frozen=True)
class Service:
    """What is installed: its release, what is wrong with it, "running", "stopped" or "failed", and its settings."""

    release: str
    release_problem: str
    state: str
    url: str | None
    settings_problem: str
    settings_mode: int | None
    is_ready: bool
    warning: str = ""  # what the release says of its own settings


@dataclass(frozen=True)
class Facts:
    """All of it. `python` is None where the release brings its own, `service` where none is installed yet."""

    machine: Machine
    memory: Memory
    limits: Limits
    volumes: Volumes
    python: Python | None
    system: System
    network: Network
    earlier: Earlier
    room: Room
    service: Service | None = None


def attempt(step: Callable[[], Any]) -> Any:
    """Return what a step finds out, or an `Unknown` that says why it could not."""
    try:
        return step()
    except FerryError as error:
        return Unknown(error.message)
    except UnknownFact as error:
        return Unknown(str(error))
    except Exception as error:
        # Whatever /proc of an odd kernel says: the other parts must still be told.
        return Unknown(f"{type(error).__name__}: {error}")


def unknown(kind: type[Any], why: str) -> Any:
    """Return an `Unknown` for the type checker to take for a value of `kind`."""
    return cast(kind, Unknown(why))  # type: ignore[valid-type]
