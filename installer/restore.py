"""Put back what a backup holds: a file comes in, and the service answers with what was in it, or all is as before.

The file is read twice. First all of it is hashed and nothing is written; when the operator has agreed, it is hashed
again while it is written below the prefix, which root alone writes to, and only then the service is stopped. Data is
replaced whole, since a database's log beside another database destroys it. The audit log only grows.
"""

import os
import pwd
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from checksums import process
from checksums.errors import FerryError, HealthError, HostError, IntegrityError, UsageError
from checksums.hashing import Sink
from checksums.new_file import NewFile
from installer import admin, backup_file, log_merge, release, restored_settings, starting, transaction
from installer.backup_file import OpenBackup
from installer.backup_list import CONFIGURATION, DATA, LOG, SERVICE, Description, Entry
from installer.files import Changes
from installer.host import host_of
from installer.places import Places
from installer.progress import Progress
from installer.state import State
from installer.verify import Discard

SETTINGS, SIGNERS = "etc/ferry.toml", "etc/allowed_signers"
MAX_TEXT_BYTES = 1 << 20
SELFTEST_TIMEOUT_S = 300
BESIDE = "allowed_signers.restored"
# A file system's own, where the data has one to itself.
NOT_OURS = {"lost+found"}


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

    with progress.bar("verifying the backup", _size(backup.description)) as on_bytes:
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
    needed = {places.prefix: _size(description)}
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


def _size(description: Description) -> int:
    return sum(entry.size for entry in description.files)


def _carry_out(
    stream: BinaryIO, looked: _Looked, request: Request, changes: Changes, progress: Progress
) -> tuple[str, list[str]]:
    places, host = request.places, host_of(request.places)
    with release.staging(places) as folder:
        staged = _stage(stream, looked, request, folder, progress)
        if host.state() == "running":
            changes.undo("start")
        progress.step("stopping")
        host.stop()
        notes = _put(staged, looked, places, changes)
    changes.undo("stop")
    try:
        url = starting.start(places, host, progress)
        progress.step("asking the model a question")
        admin.ask(places, "selftest", timeout_s=SELFTEST_TIMEOUT_S)
    except FerryError as error:
        text = error.message if isinstance(error, HealthError) else f"{error.message}\n{host.last_lines()}".rstrip()
        raise HealthError(f"the restore was taken back, everything is as before: {text}", error.hint) from error
    return url, notes


def _stage(stream: BinaryIO, looked: _Looked, request: Request, folder: Path, progress: Progress) -> Path:
    """Write the backup's files below the staging folder, hashed again, with modes and owners as they shall be."""
    stream.seek(0)
    again = backup_file.open_backup(stream, request.allowed_signers)
    if again.digests != looked.backup.digests:
        raise IntegrityError(f"{request.file}: was changed meanwhile", "run it again; nothing was changed")
    root = folder / "restored"

    def target(entry: Entry) -> AbstractContextManager[Sink]:
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _Synced(path, 0o600)

    for part in (CONFIGURATION, DATA, LOG):
        (root / part).mkdir(parents=True)
    with progress.bar("unpacking and verifying", _size(again.description)) as on_bytes:
        backup_file.copy_files(again, target, on_bytes)
    if looked.settings is not None:
        (root / SETTINGS).write_bytes(looked.settings)
    _own(root, again.description, request.places)
    os.sync()
    return root


class _Synced(NewFile):
    """A new file that is on the disk when it is closed."""

    def close(self) -> None:
        """Force it to the disk and close it."""
        if not self.closed:
            self.sync()
        super().close()


def _own(root: Path, description: Description, places: Places) -> None:
    """Give every staged file and folder its mode and its owner, by the names that this server has."""
    for entry in description.files:
        path = root / entry.path
        # Whatever the backup says: nobody but the owner writes.
        path.chmod(int(entry.mode, 8) & ~0o022)
    if places.is_user:
        return
    account = pwd.getpwnam(admin.USER)
    user_mode = description.mode == "user"
    for entry in description.files:
        is_service = entry.owner == SERVICE or (user_mode and not entry.path.startswith(CONFIGURATION))
        os.chown(root / entry.path, account.pw_uid if is_service else 0, account.pw_gid)
    for path in (root / DATA).rglob("*"):
        if path.is_dir():
            os.chown(path, account.pw_uid, account.pw_gid)


def _put(staged: Path, looked: _Looked, places: Places, changes: Changes) -> list[str]:
    """Move everything to its place; return what the operator has to know."""
    _put_settings(staged / CONFIGURATION, looked, places, changes)
    with _near(staged / DATA, places.data, changes) as near:
        for path in sorted(places.data.iterdir()):
            if path != near and path.name not in NOT_OURS:
                changes.remove(path)
        for path in sorted(near.iterdir()):
            changes.replace(path, places.data / path.name)
    with _near(staged / LOG, places.log, changes) as near:
        return log_merge.merge(near, places.log, looked.backup.description.created, changes)


def _put_settings(staged: Path, looked: _Looked, places: Places, changes: Changes) -> None:
    """Settings that the backup does not have stay."""
    signers = staged / Path(SIGNERS).name
    if looked.signers is not None:
        signers.rename(signers.with_name(BESIDE))
    else:
        signers.unlink(missing_ok=True)
    with _near(staged, places.etc, changes) as near:
        for path in sorted(path for path in near.rglob("*") if not path.is_dir()):
            place = places.etc / path.relative_to(near)
            changes.folder(place.parent)
            changes.replace(path, place)


@contextmanager
def _near(staged: Path, folder: Path, changes: Changes) -> Iterator[Path]:
    """Bring a staged folder onto the file system, and the mount, of the one that it is for."""
    near = folder / f".restore-{secrets.token_hex(8)}"
    changes.folder(near, 0o700)
    changes.finish("remove", str(near))
    for path in sorted(staged.iterdir()):
        try:
            path.rename(near / path.name)
        except OSError:
            # Another file system: a rename does not go across.
            process.run(["cp", "-a", path, near])
            os.sync()
    yield near
