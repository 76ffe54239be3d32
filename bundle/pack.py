"""Artifacts and manifest -> the finished files of a bundle, under their final names only when all of them are whole.

Everything is written into a fresh folder beside its place and moved at the end; whatever stops it leaves nothing. Each
byte is read once: it is hashed while it is copied and compared with the digest that the manifest already states.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bundle import media
from bundle.artifacts import Artifact, of_bytes
from bundle.progress import Bar, Progress
from bundle.signing import Signing
from bundle.workshop import workshop
from checksums import signature, sums
from checksums.errors import IntegrityError
from checksums.layout import MANIFEST, SUMS, member_order, signature_name
from checksums.manifest import Manifest
from checksums.tarball import BLOCK, TarWriter, header
from installer.verify import Discard

SCRIPT = "install.sh"


@dataclass(frozen=True)
class Written:
    """The files of a finished bundle: the tarball, or its parts and their list; and what lies beside it."""

    bundle: tuple[Path, ...]
    others: tuple[Path, ...]

    @property
    def tarball(self) -> Path:
        """The tarball, or its first part: what a command is given."""
        return self.bundle[0]


def write(
    manifest: Manifest,
    artifacts: Sequence[Artifact],
    install_sh: Path,
    signing: Signing,
    out: Path,
    progress: Progress,
    part_bytes: int | None = None,
) -> Written:
    """Write the tarball, install.sh and, with keys, its signatures and allowed_signers into `out`.

    With `part_bytes` the tarball is written as parts of that size, never as a whole.

    Raises:
        FerryError: the disk of `out` is too full.
        IntegrityError: a file changed since its digest was taken.
        UsageError: a key cannot sign, `out` cannot be written, or there would be too many parts.
    """
    by_path = {artifact.path: artifact for artifact in [*artifacts, of_bytes(MANIFEST, manifest.render())]}
    sums_bytes = sums.render({path: artifact.sha256 for path, artifact in by_path.items()})
    signatures = signature.sign_with_all(sums_bytes, signing.keys)
    script = install_sh.read_bytes()
    head = {SUMS: len(sums_bytes)} | {signature_name(n): len(data) for n, data in enumerate(signatures, 1)}
    tar_bytes = _tar_bytes(manifest.name, head | {path: artifact.size_bytes for path, artifact in by_path.items()})
    if part_bytes:
        media.check_count(tar_bytes, part_bytes)
    with workshop(out, ".building-") as folder:
        media.check_room(out, tar_bytes)
        with media.writing(folder / f"{manifest.name}.tar", part_bytes) as stream:
            _write_tar(stream, manifest.name, sums_bytes, signatures, by_path, progress)
        (folder / SCRIPT).write_bytes(script)
        if signatures:
            for number, key in enumerate(signing.keys, 1):
                (folder / signature_name(number, SCRIPT)).write_bytes(signature.sign(script, key))
            (folder / "allowed_signers").write_text(signing.allowed_signers(signatures), encoding="ascii")
        return _publish(folder, out, f"{manifest.name}.tar")


def _write_tar(
    stream: BinaryIO,
    top: str,
    sums_bytes: bytes,
    signatures: Sequence[bytes],
    by_path: Mapping[str, Artifact],
    progress: Progress,
) -> None:
    writer = TarWriter(stream, top)
    head = [(SUMS, sums_bytes), *((signature_name(number), data) for number, data in enumerate(signatures, 1))]
    for name, data in head:
        writer.add(name, len(data), "0644", io.BytesIO(data))
    with progress.bytes_bar("packing", sum(artifact.size_bytes for artifact in by_path.values())) as bar:
        for path in member_order(by_path):
            _add(writer, by_path[path], bar)
    writer.close()


def rehearse(artifacts: Sequence[Artifact], progress: Progress) -> None:
    """Read and compare every file as packing does, and keep nothing.

    Raises:
        IntegrityError: a file changed since its digest was taken.
    """
    writer = TarWriter(cast(BinaryIO, Discard()), "nowhere")
    with progress.bytes_bar("comparing", sum(artifact.size_bytes for artifact in artifacts)) as bar:
        for artifact in artifacts:
            _add(writer, artifact, bar)


def _add(writer: TarWriter, artifact: Artifact, bar: Bar) -> None:
    with _opened(artifact) as source:
        digest = writer.add(artifact.path, artifact.size_bytes, artifact.mode, source, bar.update)
    if digest == artifact.sha256:
        return
    if isinstance(artifact.source, Path) and artifact.is_cached:
        artifact.source.unlink(missing_ok=True)
        fault, hint = "when it was fetched: the cache is damaged", "the damaged file was removed"
    else:
        fault, hint = "when this build began", "nobody may change it meanwhile"
    raise IntegrityError(
        f"{artifact.path}: sha256 is {digest} and was {artifact.sha256} {fault}", f"{hint}: run the same command again"
    )


@contextmanager
def _opened(artifact: Artifact) -> Iterator[BinaryIO]:
    if isinstance(artifact.source, bytes):
        yield io.BytesIO(artifact.source)
        return
    with artifact.source.open("rb", buffering=0) as file:
        yield cast(BinaryIO, file)


def _tar_bytes(top: str, sizes: Mapping[str, int]) -> int:
    """Return the size of a tarball of members with these sizes."""
    members = (len(header(f"{top}/{path}", size, "0644")) + size + -size % BLOCK for path, size in sizes.items())
    return sum(members) + 2 * BLOCK


def _publish(folder: Path, out: Path, name: str) -> Written:
    """Force every file to the disk and move it to its name, the bundle last: where it is, everything is."""
    others = sorted(path for path in folder.iterdir() if not path.name.startswith(name))
    for path in others:
        media.synced(path)
        if path.name == SCRIPT:
            path.chmod(0o755)
    for stale in (*out.glob(f"{SCRIPT}*.sig"), out / "allowed_signers"):
        if not (folder / stale.name).exists():
            stale.unlink(missing_ok=True)
    moved = tuple(path.replace(out / path.name) for path in others)
    return Written(_publish_bundle(folder, out, name), moved)


def _publish_bundle(folder: Path, out: Path, name: str) -> tuple[Path, ...]:
    """Move the tarball, or its parts and their list; what an earlier build of that name left goes."""
    whole = folder / name
    if not whole.exists():
        parts = tuple(media.publish(folder, out, name))
        (out / name).unlink(missing_ok=True)
        return parts
    media.synced(whole)
    tarball = whole.replace(out / name)
    media.remove(out, name)
    return (tarball,)
