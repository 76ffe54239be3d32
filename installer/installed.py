"""What is installed, against what was signed: places come in, every deviation goes out.

The signatures over the release's own SHA256SUMS are checked again; then each file is hashed, on all cores. Nothing is
changed. Who signed was trusted when it was installed: a key that has since been replaced or has expired makes what it
signed no worse.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from checksums import quorum, signature, sums
from checksums.errors import FerryError
from checksums.hashing import OnBytes, sha256_file
from checksums.layout import MANIFEST, MAX_SIGNATURES, SUMS, signature_name
from checksums.manifest import File, Manifest
from installer import interpreter
from installer.places import Places
from installer.progress import Progress
from installer.release import SIGNERS, installed_path


@dataclass(frozen=True)
class Problem:
    """One file that is not what it has to be."""

    path: str
    problem: str


def verify(places: Places, release: str, progress: Progress) -> list[Problem]:
    """Compare the release that runs with what was signed."""
    folder = places.release(release)
    try:
        data = (folder / SUMS).read_bytes()
        digests = sums.parse(data)
        manifest = Manifest.parse((folder / MANIFEST).read_bytes())
    except OSError as error:
        return [Problem(Path(error.filename).name, error.strerror or "cannot be read")]
    except FerryError as error:
        return [Problem(release, error.message)]
    described = File(MANIFEST, (folder / MANIFEST).stat().st_size, digests.get(MANIFEST, ""), "0644")
    problems = [*_signatures(places, folder, data), *_contents(folder, [described, *manifest.files], progress)]
    return [*problems, *_interpreter(places, folder, manifest)]


def _signatures(places: Places, folder: Path, data: bytes) -> Iterator[Problem]:
    """Check the signatures that came with the release; one that was installed unsigned has none."""
    paths = [folder / signature_name(number) for number in range(1, MAX_SIGNATURES + 1)]
    made = {path.name: path.read_bytes() for path in paths if path.exists()}
    recorded = folder / SIGNERS
    try:
        if recorded.exists():
            found = {signature.match(data, text, name).fingerprint for name, text in made.items()}
            absent = sorted(set(recorded.read_text().split()) - found)
            yield from (Problem(SUMS, f"the signature by {fingerprint} is missing") for fingerprint in absent)
        elif made:
            quorum.judge(data, made, quorum.Rule(places.allowed_signers))
    except FerryError as error:
        yield Problem(SUMS, error.message)


def _contents(folder: Path, files: list[File], progress: Progress) -> list[Problem]:
    with (
        progress.bar("verifying", sum(file.size for file in files)) as on_bytes,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        found = pool.map(lambda file: _compare(folder, file, on_bytes), files)
        return [problem for problem in found if problem]


def _interpreter(places: Places, folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Compare the carried interpreter with its archive, where the release runs on it."""
    file = interpreter.carried(manifest)
    if file is None:
        return
    home = interpreter.home(file, places)
    if not (folder / "venv" / "bin" / "python").resolve().is_relative_to(home.resolve()):
        return
    try:
        for path, problem in interpreter.differences(folder / installed_path(file.path), home):
            yield Problem(f"{home.relative_to(places.prefix)}/{path}", problem)
    except (OSError, FerryError):
        # The archive itself is missing or damaged: its digest has told.
        return


def _compare(folder: Path, file: File, on_bytes: OnBytes) -> Problem | None:
    path = folder / installed_path(file.path)
    if path.is_symlink() or not path.is_file():
        return Problem(file.path, "missing" if not path.exists() else "not a plain file")
    if path.stat().st_mode & 0o777 != int(file.mode, 8):
        return Problem(file.path, f"mode {path.stat().st_mode & 0o777:04o} instead of {file.mode}")
    try:
        same = sha256_file(path, on_bytes) == file.sha256
    except OSError as error:
        return Problem(file.path, error.strerror or "cannot be read")
    return None if same else Problem(file.path, "sha256 differs from the signed list")
