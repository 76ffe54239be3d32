"""The release that runs, as its folder tells: manifest, licences, what is before it. Read only, and damaged files too.

`ferry verify` is what holds the files to their signed list; here they are only shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SBOM = "sbom.cdx.json"
MAX_LICENCE_BYTES = 4 << 20


@dataclass(frozen=True)
class Component:
    """What somebody else made: its folder of licence texts, and what the manifest says of it."""

    name: str
    licence: str = ""
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """`manifest` is empty where there is none, as in a checkout."""

    folder: Path
    manifest: Mapping[str, Any]
    signers: tuple[str, ...] = ()
    previous: str = ""
    components: tuple[Component, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def has_sbom(self) -> bool:
        return (self.folder / SBOM).is_file()

    @property
    def size_bytes(self) -> int:
        return sum(file.get("size", 0) for file in self.manifest.get("files", ()))


def read(release: Path) -> Release:
    """Read what the folder of a release tells; `release` may be the link to it."""
    folder = release.resolve()
    manifest = _json(folder / "manifest.json")
    state = _json(folder.parent.parent / "state.json")
    previous = state.get("previous") if state.get("release") == folder.name else None
    return Release(
        folder, manifest, _lines(folder / "SHA256SUMS.signers"), previous or "", _components(folder, manifest)
    )


def licence(release: Path, name: str) -> str | None:
    """Return a licence's text; None for anything that is not one of the release's licences."""
    folder = release.resolve() / "licenses"
    known = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if name not in known:
        return None
    with known[name].open("rb") as file:
        return file.read(MAX_LICENCE_BYTES).decode("utf-8", "replace")


def _components(folder: Path, manifest: Mapping[str, Any]) -> tuple[Component, ...]:
    """Group the licence texts: licenses/ferry/…, licenses/model/…, licenses/wheels/NAME-VERSION/…"""
    top = folder / "licenses"
    texts: dict[str, list[str]] = {}
    for path in _files(top):
        parts = path.relative_to(top).parts
        group = "/".join(parts[:2]) if len(parts) > 2 else parts[0]
        texts.setdefault(group, []).append("/".join(parts))
    told = _told(manifest)
    names = sorted({*texts, *told}, key=lambda name: (name.count("/"), name.casefold()))
    return tuple(Component(name, told.get(name, ""), tuple(sorted(texts.get(name, ())))) for name in names)


def _told(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the licences that the manifest names, by the folder that their texts are in."""
    wheels = manifest.get("wheels", ())
    found = {f"wheels/{one.get('name')}-{one.get('version')}": str(one.get("license") or "") for one in wheels}
    model = manifest.get("model")
    return {**found, "model": str(model.get("license") or "")} if isinstance(model, dict) else found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line for line in path.read_text().splitlines() if line)
    except (OSError, UnicodeDecodeError):
        return ()
