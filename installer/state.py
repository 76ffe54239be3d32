"""state.json: which release an installation runs, which one before it, and the highest sequence it ever took.

Places come in, a frozen `State` goes out. The file is written last: what it says has been proved to work.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from checksums.errors import FerryError
from installer.places import Places

FORMAT = 1


@dataclass(frozen=True)
class State:
    """What is installed; `python` is the interpreter that the release's environment was made from.

    `sequence` is the highest that was ever taken, and `newest` the release that had it: after a rollback not the one
    that runs.
    """

    mode: str
    release: str
    version: str
    sequence: int
    python: str
    previous: str | None = None
    newest: str | None = None
    format: int = FORMAT


def read(places: Places) -> State | None:
    """Return the state, or None where nothing is installed.

    Raises:
        FerryError: the file is there and makes no sense.
    """
    try:
        raw: dict[str, Any] = json.loads(places.state.read_bytes())
        # A newer Ferry may have written more, before it was rolled back.
        known = {name: value for name, value in raw.items() if name in State.__dataclass_fields__}
        return _checked(State(**known))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FerryError(
            f"{places.state}: damaged: {error}", "restore it from a backup, or install into another --prefix"
        ) from error


def _checked(state: State) -> State:
    words = (state.mode, state.release, state.version, state.python, state.previous or "")
    if state.mode not in {"root", "user"} or not all(isinstance(word, str) for word in words):
        raise ValueError("a value that cannot be")
    return state


def need(places: Places) -> State:
    """Return the state of an installation that must be there.

    Raises:
        FerryError: nothing is installed below the prefix.
    """
    state = read(places)
    if state is None:
        raise FerryError(f"{places.prefix}: nothing is installed there", "install a bundle: sh install.sh ferry-….tar")
    return state


def render(state: State) -> bytes:
    """Return the file's bytes."""
    return (json.dumps(asdict(state), indent=1) + "\n").encode()
