"""The release's Python environment: verified wheels come in, a folder of `venvs/` goes out, made without any network.

uv does it, and comes out of the verified uv wheel itself. Environments are named by what they are made of, so that
releases with the same wheels share one.
"""

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path

from checksums import process
from checksums.errors import IntegrityError
from checksums.manifest import Manifest
from installer import trees, wheel_files
from installer.files import Changes
from installer.places import Places
from installer.release import installed_path

# What no start of the service imports, measured on the demo: tests, torch's compiler, the other models' code, and whole
# packages that others only may use. They hold two thirds of all bytes.
_UNUSED = (
    "networkx", "setuptools", "pydantic", "pygments/(lexers|styles)", "numpy/(distutils|f2py)", "gevent/testing",
    "sympy/(physics|combinatorics|stats|parsing|plotting|codegen|vector|liealgebras)",
    "huggingface_hub/(cli|inference)", "transformers/(exporters|pipelines|cli)",
    "sqlalchemy/(testing|dialects/(mysql|oracle|mssql))", "torch/(testing|_inductor|_vendor)",
)  # fmt: skip
NOT_COMPILED = rf"/tests?/|/({'|'.join(_UNUSED)})/|/transformers/models/(?!auto/|{{model}}/)[^/]+/"


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
    _run(uv, staging, "venv", "--relocatable", "--no-project", "--python", str(python), str(made))
    _run(
        uv, staging, "pip", "install", "--python", str(made / "bin" / "python"),
        "--no-index", "--find-links", str(release / "wheels"), "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--link-mode", "hardlink", "--requirement", str(_requirements(manifest, staging)),
    )  # fmt: skip
    # uv leaves it writable by everybody.
    (made / ".lock").unlink(missing_ok=True)
    compile_folder(made / "bin" / "python", made, final, model_type(release))
    entries = trees.record(made)
    wheel_files.check(manifest, release, entries)
    trees.write(made, entries)
    return made


def compile_folder(python: Path, folder: Path, final: Path, model_type: str) -> None:
    """Compile the modules below `folder`, on all cores; tracebacks will name their final place.

    Files that are no Python of this version are left as they are: some packages carry such.
    """
    argv: list[str | Path] = [
        python,
        "-I",
        "-B",
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "-x",
        NOT_COMPILED.format(model=model_type),
    ]
    process.run([*argv, "-s", folder, "-p", final, folder], check=False)


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


def _run(uv: Path, staging: Path, *words: str) -> None:
    """Run uv with nothing of the host's but its PATH: no configuration, no cache, no network."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(staging),
        "UV_CACHE_DIR": str(staging / "cache"),
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
    }
    process.run([uv, *words], cwd=staging, env=environment)
