"""The backup's file format: a tar of Ferry's own, SHA256SUMS first, then backup.json, then the files it lists.

Both sides are here. `write` takes a `Description` and where its files can be opened; `open_backup` reads and proves the
head and gives an `OpenBackup`, whose files `copy_files` hashes while it hands them on. Nothing is extracted by name:
what the list does not say ends the reading.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from checksums import quorum, signature, sums
from checksums.errors import FerryError, IntegrityError
from checksums.hashing import OnBytes, Sink, copy_hashing
from checksums.layout import SUMS, signature_name
from checksums.quorum import Rule
from checksums.tarball import Member, TarReader, TarWriter
from installer.backup_list import DESCRIPTION, Description, Entry
from installer.verify import Discard

NAMESPACE = "ferry-backup"
TOP = "ferry-backup"
# A tar header of Ferry's says no more; the real modes stand in the list.
MODE = "0644"
MAX_HEAD_BYTES = {SUMS: 16 << 20, DESCRIPTION: 16 << 20}
RECOPY = "take another copy of the backup, or an older backup; nothing was changed"

Opener = Callable[[Entry], AbstractContextManager[BinaryIO]]


def write(stream: BinaryIO, description: Description, opened: Opener, key: Path | None, on_bytes: OnBytes) -> bytes:
    """Write a backup and return its signature, b"" without a key. Every file is read twice: for its digest, and then.

    Raises:
        FerryError: a file was changed between the two.
        UsageError: `key` cannot sign.
    """
    digests = {DESCRIPTION: _digest(description.render())}
    for entry in description.files:
        with opened(entry) as source, _unchanged(entry):
            digests[entry.path] = copy_hashing(source, Discard(), entry.size, on_bytes)
    text = sums.render(digests)
    writer = TarWriter(stream, TOP)
    _add(writer, SUMS, text)
    signed = signature.sign(text, key, NAMESPACE) if key else b""
    if key:
        _add(writer, signature_name(1), signed)
    _add(writer, DESCRIPTION, description.render())
    for entry in description.files:
        with opened(entry) as source, _unchanged(entry):
            if writer.add(entry.path, entry.size, MODE, source, on_bytes) != digests[entry.path]:
                raise IntegrityError("other bytes than a moment ago")
    writer.close()
    return signed


@dataclass(frozen=True)
class OpenBackup:
    """A backup whose head is whole; `signer` is the fingerprint of the key that signed it, "" for none.

    Whether somebody trusts that key is said by `is_trusted`. Only `open_backup` makes one.
    """

    description: Description
    digests: Mapping[str, str]
    signer: str
    is_trusted: bool
    reader: TarReader


def open_backup(stream: BinaryIO, allowed_signers: Path | None) -> OpenBackup:
    """Read and prove the head of a backup; with a list of signers, one of them must have signed it.

    Raises:
        IntegrityError: it is no backup, is damaged, or is not signed by whom it must be.
        HostError: its format is newer than this program knows.
    """
    with _explained():
        reader = TarReader(stream)
        text = _read(reader, _next(reader), SUMS)
        member = _next(reader)
        armoured = b""
        if member.path == signature_name(1):
            armoured = _read(reader, member, member.path)
            member = _next(reader)
        signer = _judge(text, armoured, allowed_signers)
        digests = sums.parse(text)
        data = _read(reader, member, DESCRIPTION)
        if _digest(data) != digests.get(DESCRIPTION):
            raise IntegrityError(f"{DESCRIPTION}: sha256 differs from {SUMS}", RECOPY)
        description = Description.parse(data)
        _agree(description, digests)
        return OpenBackup(description, digests, signer, allowed_signers is not None, reader)


def copy_files(backup: OpenBackup, target: Callable[[Entry], AbstractContextManager[Sink]], on_bytes: OnBytes) -> None:
    """Hand every file to the sink that `target` opens, hashing on the way; nothing is proved before this returns.

    Raises:
        IntegrityError: files differ from the list (all are named), or one is missing, extra or out of order.
    """
    damaged = []
    with _explained():
        for entry in backup.description.files:
            member = _next(backup.reader, entry.path)
            if member != Member(entry.path, entry.size, MODE):
                raise IntegrityError(f"{member.path}: not where {DESCRIPTION} has it, or not of its size", RECOPY)
            with target(entry) as sink:
                with _named(entry.path):
                    digest = backup.reader.copy_to(sink, on_bytes)
                if digest != backup.digests[entry.path]:
                    damaged.append(f"{entry.path}: sha256 differs from {SUMS}")
        if (extra := backup.reader.next_member()) is not None:
            raise IntegrityError(f"{extra.path}: occurs twice or is not in the list", RECOPY)
    if damaged:
        raise IntegrityError("\n".join(damaged), RECOPY)


def trusting_line(signed: bytes) -> str:
    """Return the line of an allowed_signers file that trusts the key of a signature for backups."""
    return signature.line_of(signature.parse(signed, "the signature", NAMESPACE), namespace=NAMESPACE)


def _judge(text: bytes, armoured: bytes, allowed_signers: Path | None) -> str:
    if allowed_signers is None:
        return signature.match(text, armoured, f"{SUMS}.sig", NAMESPACE).fingerprint if armoured else ""
    if not armoured:
        hint = "make signed ones: ferry backup --sign-key KEY"
        raise IntegrityError(f"the backup is not signed, and {allowed_signers} was to decide", hint)
    verdict = quorum.judge(text, {f"{SUMS}.sig": armoured}, Rule(allowed_signers, namespace=NAMESPACE))
    return verdict.signers[0]


def _agree(description: Description, digests: Mapping[str, str]) -> None:
    listed = {DESCRIPTION, *(entry.path for entry in description.files)}
    if odd := sorted(listed ^ set(digests)):
        raise IntegrityError(f"{odd[0]}: in one of {SUMS} and {DESCRIPTION} alone", RECOPY)


def _add(writer: TarWriter, path: str, data: bytes) -> None:
    writer.add(path, len(data), MODE, io.BytesIO(data))


def _next(reader: TarReader, wanted: str = "") -> Member:
    with _named(wanted):
        member = reader.next_member()
    if member is None:
        raise IntegrityError(f"{wanted or 'its head'}: missing", RECOPY)
    return member


def _read(reader: TarReader, member: Member, wanted: str) -> bytes:
    """Read a member of the head into memory."""
    if member.path != wanted:
        raise IntegrityError(f"{member.path}: stands where {wanted} must", "check that the right file was given")
    if member.size > MAX_HEAD_BYTES.get(wanted, signature.MAX_SIGNATURE_BYTES):
        raise IntegrityError(f"{wanted}: {member.size} bytes are too many for it", RECOPY)
    target = io.BytesIO()
    with _named(wanted):
        reader.copy_to(target)
    return target.getvalue()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let a complaint of the reader name the member."""
    try:
        yield
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}" if path else error.message, error.hint) from error


@contextmanager
def _explained() -> Iterator[None]:
    """What is shared with bundles says "bundle", and what to do with one."""
    try:
        yield
    except IntegrityError as error:
        hint = error.hint if NAMESPACE in error.hint else RECOPY
        raise IntegrityError(error.message.replace("bundle", "backup"), hint) from error


@contextmanager
def _unchanged(entry: Entry) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise FerryError(f"{entry.path}: was changed while it was read", "try again: ferry backup") from error
