"""A small, valid, signed bundle made in a moment, so that a test can break one thing of it at a time.

In: a `Recipe`. Out: its members, and tarballs of them in any order. Its payload is a stand-in for the service that
speaks the real protocol (tests/small_app), and uv's real wheel, so that it can really be installed and upgraded.
"""

from __future__ import annotations

import base64
import hashlib
import io
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from bundle import installer_zip
from checksums import signature, sums
from checksums.layout import INSTALLER, INTERPRETER_FOLDER, MANIFEST, SUMS, member_order, signature_name
from checksums.manifest import File, Manifest, Model, Python, Requires, Target, Wheel
from checksums.tarball import TarWriter

ROOT = Path(__file__).parents[1]
APP = Path(__file__).with_name("small_app")
ARCHITECTURE = platform.machine()
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
Members = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Recipe:
    """What to put into a bundle; `keys` are private keys, none for an unsigned one."""

    keys: tuple[Path, ...] = ()
    version: str = "1.0.0"
    sequence: int = 1
    behaviour: str = "good"
    schema: str = "1"
    license: str = "Apache-2.0"
    python: str = PYTHON
    glibc: str = "2.17"
    architecture: str = ARCHITECTURE
    disk_bytes: int = 1 << 20
    ram_bytes: int = 1 << 20
    is_installable: bool = True
    installer: bytes | None = None
    interpreter: Path | None = None
    more: dict[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"ferry-small-{self.version}-{ARCHITECTURE}"


def make(folder: Path, recipe: Recipe) -> Path:
    """Write the bundle into a folder and return its path."""
    return pack(folder / f"{recipe.name}.tar", recipe.name, members(recipe))


def pack(path: Path, top: str, content: Iterable[tuple[str, bytes]]) -> Path:
    """Write a tarball of members as they are given, sensible or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = TarWriter(stream, top)
        for name, data in content:
            writer.add(name, len(data), "0644", io.BytesIO(data))
        writer.close()
    return path


def members(recipe: Recipe) -> Members:
    """Return every member in the order of the tarball, signed."""
    files = _files(recipe)
    listed = {**files, MANIFEST: manifest(recipe, files).render()}
    return [*signed(recipe, listed), *((path, listed[path]) for path in member_order(listed))]


def signed(recipe: Recipe, listed: dict[str, bytes]) -> Members:
    """Return SHA256SUMS over these files and its signatures."""
    text = sums.render({path: digest(data) for path, data in listed.items()})
    signatures = [(signature_name(n), signature.sign(text, key)) for n, key in enumerate(recipe.keys, 1)]
    return [(SUMS, text), *signatures]


def manifest(recipe: Recipe, files: dict[str, bytes]) -> Manifest:
    """Return the manifest of these files."""
    wheels = [_wheel(path) for path in sorted(files) if path.startswith("payload/wheels/")]
    return Manifest(
        format=1,
        name=recipe.name,
        profile="small",
        version=recipe.version,
        sequence=recipe.sequence,
        created="2025-01-01T00:00:00Z",
        target=Target(recipe.python, recipe.architecture, recipe.glibc),
        python=Python("archive", f"{recipe.python}.1") if recipe.interpreter else Python("host", ""),
        model=Model("package", "nobody/small", "1", "1", recipe.license, "float32", 4),
        wheels=tuple(wheels),
        files=tuple(File(path, len(data), digest(data), "0644") for path, data in sorted(files.items())),
        requires=Requires(recipe.disk_bytes, recipe.ram_bytes),
    )


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_key(path: Path) -> Path:
    """Make a signing key, and an allowed_signers file for it beside it; return the key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)
    path.with_suffix(".allowed").write_text(signature.allowed_signers_line(path))
    return path


def _files(recipe: Recipe) -> dict[str, bytes]:
    files = {
        INSTALLER: recipe.installer or (installer() if recipe.is_installable else b"raise SystemExit(0)\n"),
        "licenses/model/LICENSE": b"Do as you like.\n",
        "payload/app/service/behaviour": recipe.behaviour.encode(),
        "payload/app/service/schema": recipe.schema.encode(),
        "payload/app/service/engine.py": (APP / "fake_engine.py").read_bytes(),
        "payload/app/service/ferry.toml": (ROOT / "service" / "ferry.toml").read_bytes(),
        "payload/app/service/web/__main__.py": (APP / "fake_web.py").read_bytes(),
        "payload/app/service/web/admin.py": (APP / "fake_admin.py").read_bytes(),
        "payload/model/config.json": b'{"model_type": "llama"}\n',
        "payload/model/model.safetensors": bytes(range(256)) * 64,
        "sbom.cdx.json": b"{}\n",
    }
    files |= {f"payload/app/systemd/{path.name}": path.read_bytes() for path in (ROOT / "systemd").iterdir()}
    if recipe.is_installable:
        version = metadata.version("uv")
        files[f"payload/wheels/uv-{version}-py3-none-any.whl"] = uv_wheel()
    if recipe.interpreter:
        files[f"{INTERPRETER_FOLDER}{recipe.interpreter.name}"] = recipe.interpreter.read_bytes()
    return files | recipe.more


def _wheel(path: str) -> Wheel:
    name, version = path.rpartition("/")[2].split("-")[:2]
    return Wheel(name, version, path, "tests", "MIT")


@cache
def installer() -> bytes:
    """Return install.pyz, as the build side makes it."""
    return installer_zip.make(ROOT, [_as_wheel(name) for name in installer_zip.LIBRARIES])


@cache
def uv_wheel() -> bytes:
    """Return a wheel with the uv program of this environment."""
    return _as_wheel("uv").getvalue()


def _as_wheel(name: str) -> io.BytesIO:
    """Put an installed package back into a wheel."""
    found = metadata.distribution(name)
    folder = f"{name}-{found.version}"
    content = {_inside(str(path), folder): Path(str(path.locate())).read_bytes() for path in found.files or []}
    content = {path: data for path, data in content.items() if not path.endswith((".pyc", "/RECORD", "/INSTALLER"))}
    record = [f"{path},sha256={_urlsafe(data)},{len(data)}" for path, data in content.items()]
    content[f"{folder}.dist-info/RECORD"] = "\n".join([*record, f"{folder}.dist-info/RECORD,,\n"]).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(content):
            archive.writestr(zipfile.ZipInfo(path), content[path])
    return stream


def _inside(path: str, folder: str) -> str:
    return f"{folder}.data/scripts/{path.rpartition('/')[2]}" if path.startswith("..") else path


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
