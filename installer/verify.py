"""A bundle's head, read and proved: signature, then SHA256SUMS, then manifest.json and install.pyz.

A stream goes in, a `VerifiedBundle` comes out; its payload is hashed while `copy_payload` hands it on. No payload byte
is read before the signature holds, and nothing is read twice. Where the payload goes is for others.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from checksums import parts, quorum, signature, sums
from checksums.errors import IntegrityError, UsageError
from checksums.hashing import OnBytes, Sink, sha256_ranges
from checksums.layout import INSTALLER, MANIFEST, MAX_SIGNATURES, SUMS, member_order, signature_name
from checksums.manifest import File, Manifest
from checksums.parts import PartsReader, explained
from checksums.quorum import Rule, Verdict
from checksums.tarball import Member, TarReader

T = TypeVar("T")
RECOPY = "copy the bundle again from where it was made"
HEAD_MODE = "0644"
# Generous for what they hold, small enough to be read into memory before anything is proved.
MAX_HEAD_BYTES = {SUMS: 4 << 20, MANIFEST: 16 << 20, INSTALLER: 64 << 20}


@dataclass(frozen=True)
class Trust:
    """Whose signatures count: an allowed_signers file, or nobody's where the operator said so loudly.

    `threshold` says how many of its keys have to sign.
    """

    allowed_signers: Path | None
    insecure_unsigned: bool = False
    threshold: int = 1


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose head is what was signed. Only `open_bundle` makes one.

    `head` holds the bytes of SHA256SUMS, its signatures, manifest.json and install.pyz; `signers` the fingerprints of
    the trusted keys that signed, empty for an unsigned one; `reader` stands before the first payload member; `notes`
    are what the operator has to be told.
    """

    manifest: Manifest
    digests: dict[str, str]
    head: dict[str, bytes]
    signers: tuple[str, ...]
    reader: TarReader = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def payload(self) -> list[File]:
        """The files that follow the head, in the order of the tarball."""
        by_path = {file.path: file for file in self.manifest.files}
        return [by_path[path] for path in member_order(by_path) if path != INSTALLER and path in self.digests]

    @property
    def left_out(self) -> list[File]:
        """The files that a delta counts on the server to have; a full bundle leaves out nothing."""
        return [file for file in self.manifest.files if file.path not in self.digests]


@contextmanager
def open_file(paths: Path | Sequence[Path]) -> Iterator[BinaryIO]:
    """Open a bundle: one file, or parts in any order, as if they were one; those beside a named part are found.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        IntegrityError: a part is missing, or cannot be one of this bundle.
    """
    named = [paths] if isinstance(paths, Path) else list(paths)
    if len(named) > 1 or parts.is_part(named[0]):
        with PartsReader(parts.find(named)) as reader:
            yield cast(BinaryIO, reader)
        return
    # A pipe could keep us waiting for ever, and parts and install.sh take files alone too.
    if named[0].exists() and not named[0].is_file():
        raise UsageError(f"{named[0]}: not a file that can be read", "give the path of a ferry-….tar")
    try:
        stream = named[0].open("rb")
    except OSError as error:
        raise UsageError(f"{named[0]}: {error.strerror}", "give the path of a ferry-….tar") from error
    with stream:
        yield stream


def open_bundle(stream: BinaryIO, trust: Trust) -> VerifiedBundle:
    """Read and prove the head of a bundle.

    Raises:
        IntegrityError: it is no bundle, is damaged, or is signed by fewer than `trust` asks for.
        HostError: its format is newer than this program knows, or OpenSSH here cannot read the list of signers.
        UsageError: the list of signers is none.
    """
    with explained(stream):
        return _read_head(stream, trust)


def _read_head(stream: BinaryIO, trust: Trust) -> VerifiedBundle:
    reader = TarReader(stream)
    member = _next(reader)
    if member.path != SUMS:
        raise IntegrityError(f"{member.path}: stands first; a bundle begins with {SUMS}", "check the file's name")
    head: dict[str, bytes] = {}
    while member.path == (signature_name(len(head)) if head else SUMS) and len(head) <= MAX_SIGNATURES:
        head[member.path] = _read(reader, member)
        member = _next(reader)
    # Its time is needed to judge the keys, and proved below; nothing else of it is looked at before.
    description = _read(reader, member) if member.path == MANIFEST else b""
    verdict = _judge(head, trust, quorum.created_in(description))
    digests = sums.parse(head[SUMS])
    _expect(member.path, MANIFEST, digests)
    manifest = Manifest.parse(_proved(MANIFEST, description, head, digests))
    if manifest.render() != head[MANIFEST]:
        raise IntegrityError(f"{MANIFEST}: not in the form that Ferry writes", "build the bundle again")
    _agree(manifest, digests, reader.top)
    member = _next(reader)
    _expect(member.path, INSTALLER, digests)
    program = _proved(INSTALLER, _read(reader, member), head, digests)
    if (described := manifest.file(INSTALLER)) is None or (described.size, described.mode) != (len(program), HEAD_MODE):
        raise IntegrityError(f"{INSTALLER}: size or mode differs from the manifest", RECOPY)
    return VerifiedBundle(manifest, digests, head, verdict.signers, reader, verdict.notes)


def copy_payload(bundle: VerifiedBundle, target: Callable[[File], Sink], on_bytes: OnBytes | None = None) -> None:
    """Hand every payload file to the sink that `target` opens for it, hashing on the way; then expect the end.

    Nothing that a sink took is proved before this returns.

    Raises:
        IntegrityError: files differ from the signed list (all are named), or one is missing, extra or out of order.
    """
    with explained(bundle.reader.stream):
        damaged = []
        for file in _members(bundle):
            if _copy(bundle.reader, file.path, target(file), on_bytes) != file.sha256:
                damaged.append(_differs(file) + parts.holding(bundle.reader.stream, file.size))
        _expect_end(bundle, damaged)


def hash_payload(bundle: VerifiedBundle, on_bytes: OnBytes | None = None) -> None:
    """Compare every payload file with the signed list, on all cores, and expect the end; for one file that can seek.

    Raises:
        IntegrityError: as `copy_payload`.
    """
    places = {file: _named(file.path, bundle.reader.skip) for file in _members(bundle)}
    digests = sha256_ranges(bundle.reader.stream.fileno(), list(places.values()), on_bytes)
    damaged = [_differs(file) for file, digest in zip(places, digests, strict=True) if digest != file.sha256]
    _expect_end(bundle, damaged)


def _members(bundle: VerifiedBundle) -> Iterator[File]:
    """Yield the payload files as the reader comes to stand before each; it must have been read before the next."""
    for file in bundle.payload:
        member = _next(bundle.reader, file.path)
        _expect(member.path, file.path, bundle.digests)
        if (member.size, member.mode) != (file.size, file.mode):
            raise IntegrityError(f"{file.path}: size or mode differs from the manifest", RECOPY)
        yield file


def _differs(file: File) -> str:
    return f"{file.path}: sha256 differs from the signed list"


def _expect_end(bundle: VerifiedBundle, damaged: list[str]) -> None:
    if damaged:
        raise IntegrityError("\n".join(damaged), RECOPY)
    if (extra := bundle.reader.next_member()) is not None:
        raise IntegrityError(f"{extra.path}: occurs twice or is not in the signed list", RECOPY)


class Discard:
    """A sink for those who only want the digests."""

    def write(self, data: memoryview, /) -> int:
        """Take the bytes and keep nothing."""
        return len(data)


def _judge(head: dict[str, bytes], trust: Trust, created: str) -> Verdict:
    """Return the trusted keys that signed; an unsigned bundle has none."""
    signatures = {name: data for name, data in head.items() if name != SUMS}
    if not signatures:
        if trust.insecure_unsigned:
            return Verdict(())
        raise IntegrityError("the bundle is not signed", "get a signed one, or say --insecure-unsigned if you must")
    if trust.allowed_signers is None:
        raise IntegrityError("nobody is trusted on this server yet", "give the signer's list: --allowed-signers FILE")
    return quorum.judge(head[SUMS], signatures, Rule(trust.allowed_signers, trust.threshold, created))


def _proved(name: str, data: bytes, head: dict[str, bytes], digests: dict[str, str]) -> bytes:
    if hashlib.sha256(data).hexdigest() != digests.get(name):
        raise IntegrityError(f"{name}: sha256 differs from the signed list", RECOPY)
    head[name] = data
    return data


def _agree(manifest: Manifest, digests: dict[str, str], top: str) -> None:
    """Refuse a signed bundle whose two lists contradict each other: it was put together wrongly."""
    listed = {file.path: file.sha256 for file in manifest.files}
    left_out = set(manifest.base.files) if manifest.base else set()
    here = {path: digest for path, digest in digests.items() if path != MANIFEST}
    wrong = sorted(path for path, digest in here.items() if listed.get(path) != digest or path in left_out)
    absent = sorted(set(listed) - set(here) - left_out)
    if manifest.name != top or wrong or absent:
        what = (wrong or absent or [f"the top folder {top!r}"])[0]
        raise IntegrityError(f"{what}: {MANIFEST} and {SUMS} disagree", "build the bundle again")


def _next(reader: TarReader, wanted: str = "") -> Member:
    member = _named(wanted, reader.next_member)
    if member is None:
        raise IntegrityError(f"{wanted or 'the head of the bundle'}: missing, the bundle ends before it", RECOPY)
    return member


def _read(reader: TarReader, member: Member) -> bytes:
    if member.mode != HEAD_MODE:
        raise IntegrityError(f"{member.path}: mode {member.mode}, which Ferry does not write", RECOPY)
    if member.size > MAX_HEAD_BYTES.get(member.path, signature.MAX_SIGNATURE_BYTES):
        raise IntegrityError(f"{member.path}: {member.size} bytes are too many for it", "check the file's name")
    data = io.BytesIO()
    _copy(reader, member.path, data)
    return data.getvalue()


def _copy(reader: TarReader, path: str, target: Sink, on_bytes: OnBytes | None = None) -> str:
    return _named(path, lambda: reader.copy_to(target, on_bytes))


def _expect(found: str, wanted: str, digests: dict[str, str]) -> None:
    if found != wanted:
        what = "occurs twice or out of order" if found in digests or found == SUMS else "is not in the signed list"
        raise IntegrityError(f"{found}: {what} (expected {wanted})", RECOPY)


def _named(path: str, read: Callable[[], T]) -> T:
    """Call `read`, and let its complaint name the member."""
    try:
        return read()
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error.message}" if path else error.message, error.hint) from error
