"""A backup's files on their way to their places: staged below the prefix, then moved, each step in the journal.

Staged files are hashed while they are written, and get the modes and owners that they shall have. They are moved when
the service has stopped: root must not work in a folder of the service's while that one could change it.
"""

import os
import pwd
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from checksums import process
from checksums.hashing import Sink
from checksums.new_file import NewFile
from installer import admin, backup_file, log_merge
from installer.audit import ANCHOR
from installer.backup_file import OpenBackup
from installer.backup_list import CONFIGURATION, DATA, LOG, SERVICE, Description, Entry
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress

SETTINGS, SIGNERS = f"{CONFIGURATION}ferry.toml", f"{CONFIGURATION}allowed_signers"
BESIDE = "allowed_signers.restored"
# A file system's own, where the data has one to itself; and what belongs to the log of this server.
NOT_OURS = {"lost+found", ANCHOR}


def stage(backup: OpenBackup, settings: bytes | None, folder: Path, places: Places, progress: Progress) -> Path:
    """Write a backup's files below a private folder and return where; `settings` stands in for its ferry.toml.

    Raises:
        IntegrityError: something differs from the list.
    """
    root = folder / "restored"

    def target(entry: Entry) -> AbstractContextManager[Sink]:
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _Synced(path, 0o600)

    for part in (CONFIGURATION, DATA, LOG):
        (root / part).mkdir(parents=True)
    with progress.bar("unpacking and verifying", backup.description.size_bytes) as on_bytes:
        backup_file.copy_files(backup, target, on_bytes)
    if settings is not None:
        (root / SETTINGS).write_bytes(settings)
    _own(root, backup.description, places)
    os.sync()
    return root


def put(staged: Path, description: Description, brings_signers: bool, places: Places, changes: Changes) -> list[str]:
    """Move everything to its place; return what the operator has to know.

    With `brings_signers` the backup's list of keys is put beside this server's, else it is left out.
    """
    _put_settings(staged / CONFIGURATION, brings_signers, places, changes)
    with _near(staged / DATA, places.data, changes) as near:
        for path in sorted(places.data.iterdir()):
            if path != near and path.name not in NOT_OURS:
                changes.remove(path)
        for path in sorted(near.iterdir()):
            changes.replace(path, places.data / path.name)
    with _near(staged / LOG, places.log, changes) as near:
        merged = log_merge.merge(near, places.log, description.created, changes)
    if merged.is_other:
        # It says where the other log ended; the service makes another, see `adopt` in installer/audit.py.
        changes.remove(places.data / ANCHOR)
    return list(merged.notes)


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
    folders = [path for path in (root / DATA).rglob("*") if path.is_dir()]
    for path in folders:
        path.chmod(0o700)
    if places.is_user:
        return
    account = pwd.getpwnam(admin.USER)
    user_mode = description.mode == "user"
    for entry in description.files:
        is_service = entry.owner == SERVICE or (user_mode and not entry.path.startswith(CONFIGURATION))
        os.chown(root / entry.path, account.pw_uid if is_service else 0, account.pw_gid)
    for path in folders:
        os.chown(path, account.pw_uid, account.pw_gid)


def _put_settings(staged: Path, brings_signers: bool, places: Places, changes: Changes) -> None:
    """Settings that the backup does not have stay."""
    signers = staged / Path(SIGNERS).name
    if brings_signers:
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
