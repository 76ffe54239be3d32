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
    """What somebody made: its folder of licence texts, and what the manifest and the SBOM say of it."""

    name: str
    licence: str = ""
    texts: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Return "wheels" or "scripts"; "" for what there is one of."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def title(self) -> str:
        return self.name.partition("/")[2] or self.name


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
    """Group the licence texts: licenses/ferry/…, licenses/model/…, licenses/wheels/NAME-VERSION/…

    A script's name may have a slash in it: licenses/scripts/@OWNER/NAME-VERSION/LICENSE.txt.
    """
    top = folder / "licenses"
    texts: dict[str, list[str]] = {}
    for path in _files(top):
        parts = path.relative_to(top).parts
        depth = len(parts) - 1 if parts[0] == "scripts" else min(len(parts) - 1, 2)
        group = "/".join(parts[: max(depth, 1)])
        texts.setdefault(group, []).append("/".join(parts))
    told = {**_told_by_sbom(_json(folder / SBOM)), **_told(manifest)}
    names = sorted({*texts, *told}, key=lambda name: (name.count("/"), name.casefold()))
    return tuple(Component(name, told.get(name, ""), tuple(sorted(texts.get(name, ())))) for name in names)


def _told(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the licences that the manifest names, by the folder that their texts are in."""
    wheels = manifest.get("wheels", ())
    found = {f"wheels/{one.get('name')}-{one.get('version')}": str(one.get("license") or "") for one in wheels}
    model = manifest.get("model")
    return {**found, "model": str(model.get("license") or "")} if isinstance(model, dict) else found


def _told_by_sbom(sbom: Mapping[str, Any]) -> dict[str, str]:
    """Return the licences of Ferry itself and of the page's scripts, which no manifest names."""
    metadata, components = sbom.get("metadata"), sbom.get("components")
    found = {}
    for one in components if isinstance(components, list) else ():
        if isinstance(one, dict) and str(one.get("purl")).startswith("pkg:npm/"):
            found[f"scripts/{one.get('name')}-{one.get('version')}"] = _licence_of(one)
    ferry = metadata.get("component") if isinstance(metadata, dict) else None
    return {**found, "ferry": _licence_of(ferry)} if isinstance(ferry, dict) else found


def _licence_of(component: Mapping[str, Any]) -> str:
    """Read a component's licences in CycloneDX's form: an SPDX expression, or ids and names."""
    found = component.get("licenses")
    words = []
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict):
            named = one["license"] if isinstance(one.get("license"), dict) else {}
            words.append(str(one.get("expression") or named.get("id") or named.get("name") or ""))
    return ", ".join(filter(None, words))


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
