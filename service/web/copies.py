"""A copy of the database that is whole while others write: the data folder comes in, a folder inside it goes out.

SQLite's own backup reads in one transaction, the write-ahead log included; writers go on meanwhile. The copy is one
file, without a log beside it, and has been looked through. Where the tables are on a database server nothing is copied.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import make_url

from service.web import audit_anchor, audit_state, revisions, spool
from service.web.database import BUSY_TIMEOUT_S, Database
from service.web.errors import AdminError

PREFIX = ".backup-"
LOCK = ".migrate.lock"
# What is being written is there anew once it has ended, in the database; where the log ends, its own server knows.
LEAVE = (LOCK, f"{spool.FOLDER}/", audit_anchor.NAME, audit_state.NAME)
SIDES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Copies:
    """`files` of the data folder are to be taken from `folder`, those in `leave` not at all; a folder ends in /.

    `outside` names the server that holds the tables, "" where the data folder does; `revision` is theirs.
    """

    folder: str
    files: tuple[str, ...]
    leave: tuple[str, ...]
    revision: str | None
    outside: str

    def as_object(self) -> dict[str, object]:
        return asdict(self)


def make(url: str, data: Path, dry_run: bool) -> Copies:
    """Copy the database into a new folder below `data`; the caller removes it.

    Raises: AdminError when the database is damaged.
    """
    for stale in data.glob(f"{PREFIX}*"):
        shutil.rmtree(stale)
    file = _file_of(url, data)
    if file is None:
        return Copies("", (), LEAVE, _revision(url), make_url(url).render_as_string(hide_password=True))
    leave = (*LEAVE, *(f"{file.name}{side}" for side in SIDES))
    if dry_run or not file.exists():
        return Copies("", (), leave, _revision(url), "")
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=data))
    try:
        _copy(file, folder / file.name)
        return Copies(str(folder), (file.name,), leave, _revision(url), "")
    except BaseException:
        shutil.rmtree(folder)
        raise


def _file_of(url: str, data: Path) -> Path | None:
    """Return the SQLite file in the data folder, None where the tables are anywhere else."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    file = Path(parsed.database)
    return file if file.parent.resolve() == data.resolve() else None


def _copy(file: Path, target: Path) -> None:
    # Not read-only: a database that was not closed has a log that only a writer may look into.
    source_url = f"{file.absolute().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(source_url, timeout=BUSY_TIMEOUT_S, uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        try:
            source.backup(copy)
            # One file: the copy is in the source's mode, which keeps a log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
            problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise AdminError(f"{file}: cannot be copied: {error}", "mend it, then try again") from error
        except sqlite3.DatabaseError as error:
            problem = str(error)
    if problem != "ok":
        hint = "stop the service and copy the data folder by hand; then restore the newest backup that is whole"
        raise AdminError(f"{file}: the database is damaged, this cannot become a backup: {problem}", hint)


def _revision(url: str) -> str | None:
    store = Database(url)
    try:
        return revisions.current(store)
    finally:
        store.close()
