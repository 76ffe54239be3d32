"""What a bundle consists of, for whoever has to answer for it: model, wheels, interpreter, page scripts, Ferry. Pure.

In: a manifest, and the record that lies beside the page's vendored scripts. Out: components with version, licence and
digest, from which the SBOM, the licence report and the comparison are made.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from checksums import sums
from checksums.layout import INTERPRETER_FOLDER
from checksums.manifest import File, Manifest

MODEL, WHEEL, INTERPRETER, SCRIPT, FERRY = "model", "wheel", "interpreter", "script", "ferry"
MODEL_FOLDER, APP_FOLDER = "payload/model/", "payload/app/"
VENDORED = "service/web/static/vendor/"
RECORD = f"{APP_FOLDER}{VENDORED}README.md"
ROW = re.compile(r"\| ([\w./-]+) \| ([\w.@/-]+) ([\w.+-]+) \| [^|\n]+ \| ([^|\n]+?) \| [0-9a-f]{64} \|")
PYTHON_LICENSE, FERRY_LICENSE = "PSF-2.0", "Apache-2.0"
# Said in the manifest's licence line, so that the installer and `inspect --licenses` need no list of licences.
NO_COMMERCIAL_USE = "(no commercial use)"


@dataclass(frozen=True)
class Component:
    """One thing that is carried, by its files' entries; `texts` is the folder of its licence texts."""

    kind: str
    name: str
    version: str
    license: str
    files: tuple[File, ...]
    texts: str
    allows_commercial_use: bool = True

    @property
    def sha256(self) -> str:
        """The file's digest; of several files, the digest of their lines in SHA256SUMS."""
        return self.files[0].sha256 if len(self.files) == 1 else digest_of(self.files)


@dataclass(frozen=True)
class Script:
    """A package of another project that the page loads files of, as the record beside them says."""

    paths: tuple[str, ...]
    name: str
    version: str
    license: str

    @property
    def text(self) -> str:
        """What its licence text is called, in the same folder."""
        return f"{self.paths[0].partition('.')[0]}.LICENSE.txt"


def digest_of(files: Iterable[File]) -> str:
    """Return one digest for several files; by hand: grep '  payload/model/' SHA256SUMS | sha256sum."""
    return hashlib.sha256(sums.render({file.path: file.sha256 for file in files})).hexdigest()


def of(manifest: Manifest, record: str) -> list[Component]:
    """Return everything that a bundle consists of, the model first; `record` is the text of RECORD, "" for none."""
    by_path = {file.path: file for file in manifest.files}
    found = [_model(manifest)]
    for wheel in manifest.wheels:
        texts = f"licenses/wheels/{wheel.name}-{wheel.version}/"
        found.append(Component(WHEEL, wheel.name, wheel.version, wheel.license, (by_path[wheel.file],), texts))
    if files := _below(manifest, INTERPRETER_FOLDER):
        found.append(
            Component(INTERPRETER, "python", manifest.python.version, PYTHON_LICENSE, files, "licenses/python/")
        )
    for script in scripts(record):
        places = [f"{APP_FOLDER}{VENDORED}{path}" for path in sorted(script.paths)]
        if files := tuple(by_path[place] for place in places if place in by_path):
            texts = f"licenses/scripts/{script.name}-{script.version}/"
            found.append(Component(SCRIPT, script.name, script.version, script.license, files, texts))
    return [*found, ferry(manifest)]


def ferry(manifest: Manifest) -> Component:
    """Return Ferry itself: what runs on the server, but for the scripts of others."""
    files = tuple(file for file in _below(manifest, APP_FOLDER) if not file.path.startswith(APP_FOLDER + VENDORED))
    return Component(FERRY, "ferry", manifest.version, FERRY_LICENSE, files, "licenses/ferry/")


def scripts(record: str) -> list[Script]:
    """Return the packages that the record of vendored files lists, the files of each together."""
    found: dict[str, Script] = {}
    for line in record.splitlines():
        if (row := ROW.fullmatch(line)) and line.isprintable() and ".." not in row[1]:
            path, name, version, license_name = row.groups()
            before = found[name].paths if name in found else ()
            found[name] = Script((*before, path), name, version, license_name)
    return list(found.values())


def _model(manifest: Manifest) -> Component:
    model = manifest.model
    stated = model.license.removesuffix(NO_COMMERCIAL_USE).rstrip()
    allowed = not model.license.endswith(NO_COMMERCIAL_USE)
    return Component(MODEL, model.id, model.commit, stated, _below(manifest, MODEL_FOLDER), "licenses/model/", allowed)


def _below(manifest: Manifest, folder: str) -> tuple[File, ...]:
    return tuple(file for file in manifest.files if file.path.startswith(folder))
