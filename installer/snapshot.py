"""The data of an installation, copied aside before another release may touch it, and put back when it was not healthy.

Taken while the service is stopped: what is copied is at rest. The copy is private and lives below the prefix until the
change is over. Data that lives in a database server elsewhere is not in it: the migrations' way back serves there.
"""

import os
from pathlib import Path

from checksums import process
from installer import files
from installer.audit import ANCHOR
from installer.files import Changes
from installer.places import Places

NAME = ".snapshot"


def take(places: Places, changes: Changes) -> None:
    """Copy the data aside, with owners and times, and put its restoring on the way back."""
    copy = _copy(places)
    files.remove(copy)
    changes.undo("remove", str(copy))
    changes.finish("remove", str(copy))
    if not places.data.is_dir():
        return
    copy.mkdir(mode=0o700)
    process.run(["cp", "-a", "--reflink=auto", places.data, copy])
    # From here on another release may change the data: the copy has to be there whatever happens.
    os.sync()
    changes.undo("restore-data")


def restore(places: Places) -> None:
    """Make the data what it was; the copy stays, so that this can be done again."""
    saved = _copy(places) / places.data.name
    if not saved.is_dir():
        return
    # The log was not set back, nor may be what says where it ends.
    files.remove(saved / ANCHOR)
    for path in places.data.iterdir():
        if path.name != ANCHOR:
            files.remove(path)
    process.run(["cp", "-a", "--reflink=auto", f"{saved}/.", places.data])
    os.sync()


def _copy(places: Places) -> Path:
    return places.prefix / NAME
