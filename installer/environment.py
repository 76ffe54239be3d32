"""The release's Python environment: verified wheels come in, a folder of `venvs/` goes out, made without any network.

uv does it, and comes out of the verified uv wheel itself. Environments are named by what they are made of, so that
releases with the same wheels share one.
"""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from checksums import process
from checksums.errors import IntegrityError
from checksums.manifest import Manifest
from installer import bytecode, trees, wheel_files
from installer.files import Changes
from installer.places import Places
from installer.release import installed_path

# In the app's folder, where the engine looks for them.
KERNELS = "kernels"


def digest_of(manifest: Manifest, python: Path) -> str:
    """Return the name of the environment that this interpreter makes of these wheels."""
    by_path = {file.path: file.sha256 for file in manifest.files}
    words = [*sorted(by_path[wheel.file] for wheel in manifest.wheels), manifest.target.python, str(python)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]


def make(manifest: Manifest, places: Places, staging: Path, release: Path, python: Path, changes: Changes) -> Path:
    """Make the environment, unless it stands there undamaged; return its place below the prefix.

    Raises:
        IntegrityError: the bundle carries no uv that could be taken out of its wheel, or uv left something out.
        ProcessError: uv failed; the message carries the end of what it said.
    """
    final = places.venvs / digest_of(manifest, python)
    if final.is_dir() and trees.is_whole(final):
        return final
    made = build(manifest, places, staging, release, python)
    final.parent.mkdir(exist_ok=True)
    changes.replace(made, final)
    return final


def build(manifest: Manifest, places: Places, staging: Path, release: Path, python: Path) -> Path:
    """Make the environment in the staging folder, with the list of all that is in it; return it there."""
    final, made = places.venvs / digest_of(manifest, python), staging / "venv"
    uv = _uv(manifest, staging, release)
    process.run([uv, "venv", "--relocatable", "--no-project", "--python", str(python), str(made)], **_alone(staging))
    files = _fill(made, final, uv, manifest, staging, release)
    # The disk begins to write what it will have to, beside the hashing.
    with process.beside(["sync", "--file-system", made]):
        entries = trees.record(made)
        wheel_files.check(files, entries)
        trees.write(made, entries)
    return made


def _fill(
    made: Path, final: Path, uv: Path, manifest: Manifest, staging: Path, release: Path
) -> Sequence[wheel_files.WheelFile]:
    """Let uv lay out the wheels, and compile their modules meanwhile; return what the wheels bring."""
    with process.beside(_install(uv, manifest, staging, release), **_alone(staging)) as installed:
        files = wheel_files.of(manifest, release)
        with bytecode.compiling(made / "bin" / "python", staging, final, files, model_type(release)) as compiled:
            installed()
            compiled()
    bytecode.place(staging, made)
    # uv leaves it writable by everybody.
    (made / ".lock").unlink(missing_ok=True)
    return files


@contextmanager
def compiling_app(python: Path, folder: Path, final: Path) -> Iterator[None]:
    """Compile the app's modules beside the block; tracebacks will name their final place."""
    words = ["-m", "compileall", "-q", "-s", str(folder), "-p", str(final), str(folder)]
    with process.beside([python, "-I", "-B", *words]) as compiled:
        yield
        compiled()


def add_kernels(venv: Path, app: Path, places: Places) -> str:
    """Compile the engine's kernels for this server's processor into the app, or take over those that run now.

    Returns: "", or why there are none: then the engine decodes with torch, slower.
    """
    if not (app / "service" / "engine" / "kernels").is_dir():
        return ""
    words = ["-m", "service.engine.kernels.build", "--like", str(places.current / "app" / KERNELS), KERNELS]
    done = process.run([venv / "bin" / "python", "-E", "-s", "-B", *words], cwd=app, check=False)
    if done.returncode == 0:
        return ""
    return done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "it failed"


def model_type(release: Path) -> str:
    """Return what transformers calls the carried model, by its config.json; "" when that says nothing usable."""
    try:
        name = json.loads((release / "model" / "config.json").read_bytes())["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name if isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+", name) else ""


def _uv(manifest: Manifest, staging: Path, release: Path) -> Path:
    """Take the uv program out of its wheel."""
    found = next((wheel for wheel in manifest.wheels if wheel.name == "uv"), None)
    if found is None:
        raise IntegrityError("the bundle carries no uv", "build the bundle again: python -m bundle build")
    target = staging / "uv"
    try:
        with zipfile.ZipFile(release / installed_path(found.file)) as wheel:
            target.write_bytes(wheel.read(f"uv-{found.version}.data/scripts/uv"))
    except (zipfile.BadZipFile, KeyError) as error:
        raise IntegrityError(f"{found.file}: holds no uv", "build the bundle again: python -m bundle build") from error
    target.chmod(0o755)
    return target


def _requirements(manifest: Manifest, staging: Path) -> Path:
    by_path = {file.path: file.sha256 for file in manifest.files}
    lines = (f"{wheel.name}=={wheel.version} --hash=sha256:{by_path[wheel.file]}\n" for wheel in manifest.wheels)
    path = staging / "requirements.txt"
    path.write_text("".join(lines))
    return path


def _install(uv: Path, manifest: Manifest, staging: Path, release: Path) -> list[str | Path]:
    words: list[str | Path] = [
        uv, "pip", "install", "--python", staging / "venv" / "bin" / "python",
        "--no-index", "--find-links", release / "wheels", "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--link-mode", "hardlink", "--requirement", _requirements(manifest, staging),
    ]  # fmt: skip
    return words


def _alone(staging: Path) -> Any:
    """Return what lets uv see nothing of the host's but its PATH: no configuration, no cache, no network."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(staging),
        "UV_CACHE_DIR": str(staging / "cache"),
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
    }
    return {"cwd": staging, "env": environment}
