"""Artifacts and manifest -> the finished files of a bundle, under their final names only when all of them are whole.

Everything is written into a fresh folder beside its place and moved at the end; whatever stops it leaves nothing. Each
byte is read once: it is hashed while it is copied and compared with the digest that the manifest already states.
"""

import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bundle.artifacts import Artifact, of_bytes
from bundle.progress import Bar, Progress
from checksums import signature, sums
from checksums.errors import IntegrityError, UsageError
from checksums.layout import MANIFEST, SUMS, member_order, signature_name
from checksums.manifest import Manifest
from checksums.tarball import TarWriter

BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Written:
    """The files of a finished bundle: the tarball, and what lies beside it."""

    tarball: Path
    others: tuple[Path, ...]


def write(
    manifest: Manifest,
    artifacts: Sequence[Artifact],
    install_sh: Path,
    keys: Sequence[Path],
    out: Path,
    progress: Progress,
) -> Written:
    """Write the tarball, install.sh and, with keys, its signature and allowed_signers into `out`.

    Raises:
        IntegrityError: a file changed since its digest was taken.
        UsageError: a key cannot sign, or `out` cannot be written.
    """
    by_path = {artifact.path: artifact for artifact in [*artifacts, of_bytes(MANIFEST, manifest.render())]}
    sums_bytes = sums.render({path: artifact.sha256 for path, artifact in by_path.items()})
    signatures = [signature.sign(sums_bytes, key) for key in keys]
    script = install_sh.read_bytes()
    with _workshop(out) as folder:
        with (folder / f"{manifest.name}.tar").open("wb", buffering=BUFFER_BYTES) as stream:
            _write_tar(stream, manifest.name, sums_bytes, signatures, by_path, progress)
        (folder / "install.sh").write_bytes(script)
        if keys:
            (folder / "install.sh.sig").write_bytes(signature.sign(script, keys[0]))
            lines = sorted({signature.allowed_signers_line(key) for key in keys})
            (folder / "allowed_signers").write_text("".join(lines), encoding="ascii")
        return _publish(folder, out)


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


def _add(writer: TarWriter, artifact: Artifact, bar: Bar) -> None:
    with _opened(artifact) as source:
        digest = writer.add(artifact.path, artifact.size_bytes, artifact.mode, source, bar.update)
    if digest == artifact.sha256:
        return
    if isinstance(artifact.source, Path):
        artifact.source.unlink(missing_ok=True)
    raise IntegrityError(
        f"{artifact.path}: sha256 is {digest} and was {artifact.sha256} when it was fetched: the cache is damaged",
        "the damaged file was removed: run the same command again",
    )


@contextmanager
def _opened(artifact: Artifact) -> Iterator[BinaryIO]:
    if isinstance(artifact.source, bytes):
        yield io.BytesIO(artifact.source)
        return
    with artifact.source.open("rb", buffering=0) as file:
        yield cast(BinaryIO, file)


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """Yield a fresh folder inside `out`, on its file system; it is gone afterwards, whatever happened."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".building-", dir=out)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}", "give a folder that can be written: --out DIR") from error
    with folder as name:
        yield Path(name)


def _publish(folder: Path, out: Path) -> Written:
    """Force every file to the disk and move it to its name, the tarball last: where it is, everything is."""
    files = sorted(folder.iterdir(), key=lambda path: path.suffix == ".tar")
    for path in files:
        path.chmod(0o755 if path.name == "install.sh" else 0o644)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if not (folder / "install.sh.sig").exists():
        for stale in ("install.sh.sig", "allowed_signers"):
            (out / stale).unlink(missing_ok=True)
    return Written(*_moved(files, out))


def _moved(files: Sequence[Path], out: Path) -> tuple[Path, tuple[Path, ...]]:
    for path in files:
        path.replace(out / path.name)
    *others, tarball = (out / path.name for path in files)
    return tarball, tuple(others)
