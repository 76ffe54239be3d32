"""The steps that a journal may name: each takes back, or finishes, one kind of change, and may be repeated.

`STEPS` is name -> function of a `Context` and the arguments that were written down. A name never changes its meaning: a
newer or older Ferry may read it. Those in `SERVICE` start and stop things.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installer import admin, files, release, snapshot, starting, units
from installer.host import host_of
from installer.places import Places
from installer.progress import Progress


@dataclass(frozen=True)
class Context:
    """What every step may need."""

    places: Places
    progress: Progress


def _remove(_: Context, path: str) -> None:
    files.remove(Path(path))


def _restore(_: Context, path: str, mode: int, user: int, group: int, data: str) -> None:
    files.restore(Path(path), mode, user, group, data)


def _point(_: Context, path: str, target: str) -> None:
    files.point(Path(path), target)


def _move_back(_: Context, path: str) -> None:
    files.move_back(Path(path))


def _prune(context: Context, keep: list[str]) -> None:
    release.prune(context.places, set(keep))


def _restore_data(context: Context) -> None:
    snapshot.restore(context.places)


def _migrate(context: Context, name: str, revision: str) -> None:
    places = context.places
    admin.ask(places, "migrate", "--to", revision, release=places.release(name))


def _start(context: Context) -> None:
    starting.start(context.places, host_of(context.places), context.progress)


def _stop(context: Context) -> None:
    host_of(context.places).stop()


def _daemon_reload(_: Context) -> None:
    units.reload()


def _disable(_: Context) -> None:
    units.disable()


def _remove_users(_: Context, users: list[str]) -> None:
    units.remove_users(users)


STEPS: Mapping[str, Callable[..., Any]] = {
    "remove": _remove,
    "restore": _restore,
    "point": _point,
    "move-back": _move_back,
    "prune": _prune,
    "restore-data": _restore_data,
    "migrate": _migrate,
    "start": _start,
    "stop": _stop,
    "daemon-reload": _daemon_reload,
    "disable": _disable,
    "remove-users": _remove_users,
}
SERVICE = frozenset({"start", "stop"})
