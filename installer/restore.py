"""Put back what a backup holds: a file comes in, and the service answers with what was in it, or all is as before.

The file is read twice. First all of it is hashed and nothing is written; when the operator has agreed, it is hashed
again while it is written below the prefix, which root alone writes to, and only then the service is stopped. Data is
replaced whole, since a database's log beside another database destroys it. The audit log only grows.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from checksums.errors import FerryError, HealthError, HostError, IntegrityError, UsageError
from checksums.hashing import Sink
from installer import admin, audit, backup_file, release, restored_files, restored_settings, starting, transaction
from installer.backup_file import OpenBackup
from installer.backup_list import CONFIGURATION, DATA, LOG, Description, Entry
from installer.files import Changes
from installer.host import host_of
from installer.places import Places
from installer.progress import Progress
from installer.restored_files import BESIDE, SETTINGS, SIGNERS
from installer.state import State
from installer.verify import Discard

MAX_TEXT_BYTES = 1 << 20
SELFTEST_TIMEOUT_S = 300


@dataclass(frozen=True)
class Request:
    """What the operator asked for; `agree` is shown what would be done, and says whether it may."""

    places: Places
    current: State
    file: Path
    allowed_signers: Path | None
    agree: Callable[[str], bool]
    dry_run: bool = False


@dataclass(frozen=True)
class Restored:
    """What was put back, or would be; `notes` say what is not as in the backup, `url` where it answers."""

    file: Path
    description: Description
    signer: str
    is_trusted: bool
    notes: tuple[str, ...]
    url: str | None = None


@dataclass(frozen=True)
class _Looked:
    """A backup that was read to its end, and its two texts that are not simply put in place."""

    backup: OpenBackup
    settings: bytes | None
    signers: bytes | None
    notes: list[str] = field(default_factory=list)


def restore(request: Request, progress: Progress) -> Restored:
    """Verify a backup, ask, and put it in place of what is here.

    Raises:
        UsageError: no such file.
        IntegrityError: it is damaged, no backup, or not signed by whom it must be.
        HostError: the release here is too old for it, or the disk too full.
        HealthError: the service did not answer with it; everything is as before.
        FerryError: the operator did not agree.
    """
    with _opened(request.file) as stream:
        looked = _look(stream, request, progress)
        backup = looked.backup
        _demand_revision(backup.description, request.places)
        _demand_room(backup.description, request.places)
        done = Restored(request.file, backup.description, backup.signer, backup.is_trusted, tuple(looked.notes))
        if request.dry_run:
            return done
        if not request.agree(describe(done, request.current)):
            raise FerryError("nothing was changed", "run it again and type yes, the whole word")
        with transaction.begin(request.places, "restore", progress) as changes:
            url, more = _carry_out(stream, looked, request, changes, progress)
    return Restored(request.file, done.description, done.signer, done.is_trusted, (*done.notes, *more), url)


def describe(done: Restored, current: State) -> str:
    """Return what a restore would do, for the operator."""
    of = done.description
    signed = f"signed by {done.signer}" if done.signer else "not signed"
    signed += "" if done.is_trusted or not done.signer else ", which was compared with no list"
    lines = [
        f"{done.file}: made {of.created} by Ferry {of.version}, {len(of.files)} files, {signed}",
        f"settings, accounts, API keys and conversations of this server (Ferry {current.version}) become what they were"
        " then: what was made since is gone, what was disabled or revoked since is valid again",
        *done.notes,
    ]
    return "\n".join(lines)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    hint = "give the path of a ferry-backup-….tar"
    if file.exists() and not file.is_file():
        raise UsageError(f"{file}: not a file that can be read", hint)
    try:
        stream = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", hint) from error
    with stream:
        yield stream


def _look(stream: BinaryIO, request: Request, progress: Progress) -> _Looked:
    """Read the whole backup and keep nothing but two texts."""
    backup = backup_file.open_backup(stream, request.allowed_signers)
    texts: dict[str, _Text] = {}

    @contextmanager
    def target(entry: Entry) -> Iterator[Sink]:
        yield texts.setdefault(entry.path, _Text(entry)) if entry.path in (SETTINGS, SIGNERS) else Discard()

    with progress.bar("verifying the backup", backup.description.size_bytes) as on_bytes:
        backup_file.copy_files(backup, target, on_bytes)
    found = {path: bytes(text.data) for path, text in texts.items()}
    settings, notes = _fitting(found.get(SETTINGS), request.places)
    signers = found.get(SIGNERS)
    if signers is not None and signers == _read(request.places.allowed_signers):
        signers = None
    if signers is not None:
        beside = request.places.etc / BESIDE
        notes.append(f"this server goes on trusting the keys that it trusts; the backup's list is put into {beside}")
        notes.append(f"to trust those instead: ferry trust add --replace {beside}")
    if backup.description.outside:
        notes.append(f"NOT IN THE BACKUP: accounts and conversations were on {backup.description.outside}")
    return _Looked(backup, settings, signers, notes)


class _Text:
    """A sink that keeps a small file."""

    def __init__(self, entry: Entry) -> None:
        self.data = bytearray()
        if entry.size > MAX_TEXT_BYTES:
            raise IntegrityError(f"{entry.path}: too large for what it is", backup_file.RECOPY)

    def write(self, data: memoryview, /) -> None:
        """Take the bytes."""
        self.data += data


def _fitting(settings: bytes | None, places: Places) -> tuple[bytes | None, list[str]]:
    """Return the backup's ferry.toml as this server can use it, and what differs."""
    if settings is None:
        return None, []
    here = _read(places.config)
    try:
        text = settings.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{SETTINGS}: is not UTF-8 text", backup_file.RECOPY) from error
    adapted, notes = restored_settings.adapted(text, None if here is None else here.decode(errors="replace"))
    return adapted.encode(), notes


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _demand_revision(description: Description, places: Places) -> None:
    """Refuse tables that the installed release cannot read; older ones are brought forward when it starts."""
    known = admin.ask(places, "revision", "--release")["known"]
    if description.revision is not None and description.revision not in known:
        raise HostError(
            f"the backup is of Ferry {description.version}, whose database (revision {description.revision}) is newer"
            " than the installed release knows",
            "upgrade first, then restore: ferry upgrade BUNDLE",
        )


def _demand_room(description: Description, places: Places) -> None:
    parts = {DATA: places.data, LOG: places.log, CONFIGURATION: places.etc}
    needed = {places.prefix: description.size_bytes}
    device = places.prefix.stat().st_dev
    for part, folder in parts.items():
        if folder.is_dir() and folder.stat().st_dev != device:
            needed[folder] = sum(entry.size for entry in description.below(part))
    for folder, size_bytes in needed.items():
        free = shutil.disk_usage(folder).free
        if free < size_bytes:
            raise HostError(
                f"{folder}: needs {size_bytes:,} bytes, and {free:,} are free there", "free some space there"
            )


def _carry_out(
    stream: BinaryIO, looked: _Looked, request: Request, changes: Changes, progress: Progress
) -> tuple[str, list[str]]:
    places, host = request.places, host_of(request.places)
    stream.seek(0)
    again = backup_file.open_backup(stream, request.allowed_signers)
    if again.digests != looked.backup.digests:
        raise IntegrityError(f"{request.file}: was changed meanwhile", "run it again; nothing was changed")
    staged = restored_files.stage(again, looked.settings, release.stage(places), places, progress)
    if host.state() == "running":
        changes.undo("start")
    progress.step("stopping")
    host.stop()
    notes = restored_files.put(staged, again.description, looked.signers is not None, places, changes)
    changes.undo("stop")
    try:
        audit.adopt(places, again.description.created, again.description.version)
        url = starting.start(places, host, progress)
        progress.step("asking the model a question")
        admin.ask(places, "selftest", timeout_s=SELFTEST_TIMEOUT_S)
    except FerryError as error:
        text = error.message if isinstance(error, HealthError) else f"{error.message}\n{host.last_lines()}".rstrip()
        raise HealthError(f"the restore was taken back, everything is as before: {text}", error.hint) from error
    return url, notes
