"""What goes into a bundle: each artifact has a path in the tarball, its bytes' source, size, digest and mode.

Everything large comes with a digest that is already known; it is taken again while the bytes are packed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bundle import components, wheel_info
from bundle import licences as licence_words
from bundle.lock import Locked
from bundle.slim import Rewritten
from bundle.wheel_info import WheelInfo
from checksums.errors import IntegrityError
from checksums.layout import SBOM
from checksums.manifest import File, Manifest

APP_FOLDERS = ("service", "systemd")
LICENCE_NAMES = ("license", "licence", "notice", "copying")


@dataclass(frozen=True)
class Artifact:
    """One file of the bundle; `source` is a file, or the bytes themselves where we made them.

    `upstream_sha256` is the hub's digest where ours differs; a file that `is_cached` may be removed when it is damaged.
    """

    path: str
    source: Path | bytes
    size_bytes: int
    sha256: str
    mode: str = "0644"
    upstream_sha256: str | None = None
    is_cached: bool = True

    @property
    def entry(self) -> File:
        """The artifact as the manifest lists it."""
        return File(self.path, self.size_bytes, self.sha256, self.mode, self.upstream_sha256)


def of_bytes(path: str, data: bytes, mode: str = "0644") -> Artifact:
    """Return an artifact that holds its own bytes."""
    return Artifact(path, data, len(data), hashlib.sha256(data).hexdigest(), mode)


def app(checkout: Path) -> list[Artifact]:
    """Return what runs on the server: service/ and systemd/, scripts executable, nothing compiled or hidden."""
    found = []
    for path in sources_below(checkout, APP_FOLDERS):
        data = path.read_bytes()
        mode = "0755" if data.startswith(b"#!") else "0644"
        found.append(of_bytes(f"payload/app/{path.relative_to(checkout).as_posix()}", data, mode))
    return found


def sources_below(checkout: Path, folders: Iterable[str]) -> Iterator[Path]:
    """Yield the files of the checkout's folders by name, leaving out bytecode and hidden files.

    Raises:
        IntegrityError: one is a link: what it points to need not be in the bundle.
    """
    for path in sorted(path for folder in folders for path in (checkout / folder).rglob("*")):
        parts = path.relative_to(checkout).parts
        if "__pycache__" in parts or any(part.startswith(".") for part in parts) or path.suffix == ".pyc":
            continue
        if path.is_symlink():
            raise IntegrityError(f"{path}: a symbolic link cannot be carried", "put a copy of the file there")
        if path.is_file():
            yield path


def wheels(locked: Iterable[Locked], files: Iterable[Path]) -> list[Artifact]:
    """Return the wheels, with the digests of the lock."""
    return [
        Artifact(f"payload/wheels/{wheel.file}", file, file.stat().st_size, wheel.sha256)
        for wheel, file in zip(locked, files, strict=True)
    ]


def model(
    folder: Path, digests: Mapping[str, str], rewritten: Mapping[str, Rewritten], is_cached: bool
) -> list[Artifact]:
    """Return the weights and what belongs to them, with the digests that the hub listed or that we took."""
    found = []
    for path, digest in digests.items():
        new = rewritten.get(path)
        source = new.source if new else folder / path
        upstream, is_ours = (new.upstream_sha256, True) if new else (None, is_cached)
        size = source.stat().st_size
        found.append(Artifact(f"payload/model/{path}", source, size, digest, "0644", upstream, is_ours))
    return found


def licences(
    infos: Mapping[str, WheelInfo], folder: Path, model_paths: Iterable[str], checkout: Path
) -> list[Artifact]:
    """Return every licence text: of the wheels (by NAME-VERSION), of the model, of the page's scripts, and Ferry's."""
    ferry = (checkout / "LICENSE").read_bytes()
    texts = [
        of_bytes(f"licenses/wheels/{name}/{path}", text)
        for name, info in infos.items()
        for path, text in sorted(wheel_texts(info, ferry).items())
    ]
    for path in sorted(model_paths):
        if PurePosixPath(path).name.lower().startswith(LICENCE_NAMES):
            texts.append(of_bytes(f"licenses/model/{path}", (folder / path).read_bytes()))
    vendored = checkout / components.VENDORED
    for script in components.scripts((vendored / "README.md").read_text(encoding="utf-8")):
        path = f"licenses/scripts/{script.name}-{script.version}/LICENSE.txt"
        texts.append(of_bytes(path, (vendored / script.text).read_bytes()))
    return [*texts, of_bytes("licenses/ferry/LICENSE", ferry)]


def wheel_texts(info: WheelInfo, apache: bytes) -> Mapping[str, bytes]:
    """Return a wheel's licence texts; where it brings none, the standard text of the one licence without names in it.

    Ferry's own LICENSE is the unchanged text of Apache-2.0.
    """
    if info.license_texts or licence_words.spdx(info.license) != components.FERRY_LICENSE:
        return info.license_texts
    return {f"{components.FERRY_LICENSE}.txt": apache}


def with_sbom(manifest: Manifest, carried: Iterable[Artifact], checkout: Path) -> tuple[Manifest, list[Artifact]]:
    """Return manifest and artifacts with the bill of materials of all the others among them."""
    from bundle import sbom  # its library takes half a second to import, which only a build has

    record = (checkout / components.VENDORED / "README.md").read_text(encoding="utf-8")
    bill = of_bytes(SBOM, sbom.render(manifest, components.of(manifest, record)))
    listed = sorted([*manifest.files, bill.entry], key=lambda file: file.path.encode())
    return replace(manifest, files=tuple(listed)), [*carried, bill]


def wheel_infos(locked: Iterable[Locked], files: Iterable[Path]) -> dict[str, WheelInfo]:
    """Return NAME-VERSION -> what the wheel says of itself."""
    return {f"{lock.name}-{lock.version}": wheel_info.read(file) for lock, file in zip(locked, files, strict=True)}
