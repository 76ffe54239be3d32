"""Files of a benchmark -> a bundle of them, by the very code that `python -m bundle build` packs with.

`python -m benchmarks.packing FOLDER OUT` packs a folder that `prepare` made; it is timed as a process of its own.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bundle import pack
from bundle.artifacts import Artifact, of_bytes
from bundle.progress import Progress
from bundle.signing import Signing
from checksums.hashing import CHUNK_BYTES, sha256_file
from checksums.layout import FORMAT, INSTALLER
from checksums.manifest import Manifest, Model, Python, Requires, Target, Wheel

CHECKOUT = Path(__file__).resolve().parent.parent
NAME = "ferry-bench-1-x86_64"
WEIGHTS = "payload/model/model.safetensors"
WHEELS = 45
DIGESTS = "digests.json"


def prepare(folder: Path, weights_bytes: int, wheels_bytes: int, is_sparse: bool = False) -> list[Path]:
    """Make files like a real profile's, one large and many small, random or one great hole; return them, large first.

    Their digests are kept beside them: when a bundle is packed, what was fetched has been hashed already.
    """
    weights = folder / WEIGHTS
    weights.parent.mkdir(parents=True)
    if is_sparse:
        with weights.open("wb") as file:
            file.truncate(weights_bytes)
    else:
        _fill(weights, weights_bytes)
    for number in range(WHEELS):
        _fill(folder / "payload" / "wheels" / f"w{number}-1-py3-none-any.whl", wheels_bytes // WHEELS)
    files = list(_files(folder))
    digests = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    (folder / DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
    return files


def _files(folder: Path) -> Iterator[Path]:
    found = (path for path in (folder / "payload").rglob("*") if path.is_file())
    yield from sorted(found, key=lambda path: (-path.stat().st_size, path.name))


def _fill(path: Path, size_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size_bytes, CHUNK_BYTES):
            file.write(os.urandom(min(CHUNK_BYTES, size_bytes - start)))


def write(folder: Path, out: Path) -> Path:
    """Pack the folder into `out` and return the tarball."""
    digests = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
    carried = [of_bytes(INSTALLER, b"no installer")]
    for path, digest in digests.items():
        carried.append(Artifact(path, folder / path, (folder / path).stat().st_size, digest))
    manifest = Manifest(
        format=FORMAT,
        name=NAME,
        profile="bench",
        version="1",
        sequence=1,
        created="2025-01-01T00:00:00Z",
        target=Target("3.11", "x86_64", "2.28"),
        python=Python("host", ""),
        model=Model("folder", "bench/bench", "1", "1", "MIT", "float32", 1),
        wheels=tuple(
            Wheel(path.rpartition("/")[2].partition("-")[0], "1", path, "find-links", "MIT")
            for path in sorted(digests)
            if path.endswith(".whl")
        ),
        files=tuple(sorted((artifact.entry for artifact in carried), key=lambda file: file.path.encode())),
        requires=Requires(1, 1),
    )
    script = CHECKOUT / "installer" / "install.sh"
    return pack.write(manifest, carried, script, Signing(), out, Progress(quiet=True)).tarball


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
