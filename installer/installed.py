"""What is installed, against what was signed and what came of it: places come in, every deviation goes out.

The signatures over each kept release's SHA256SUMS are checked again; then everything below releases, environments and
interpreters is looked at, and each file is hashed once, on all cores. Nothing is changed. Who signed was trusted when
it was installed: a key that has since been replaced or has expired makes what it signed no worse.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from checksums import process
from checksums.errors import FerryError
from checksums.manifest import Manifest
from installer import areas, state, trees
from installer.areas import HOST, VENV, Area
from installer.places import Places
from installer.progress import Progress
from installer.state import State
from installer.trees import FILE, Difference, Entry

VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class Problem:
    """One file that is not what it has to be."""

    path: str
    problem: str


@dataclass(frozen=True)
class Finding:
    """A difference, the area that it is in, and what it is called there."""

    name: str
    area: Area
    difference: Difference

    @property
    def place(self) -> Path:
        """Return where it is on the disk."""
        return self.area.root / self.difference.path

    @property
    def problem(self) -> Problem:
        """Return it as it is reported."""
        return Problem(self.name, self.difference.problem)


def record(release: Path, manifest: Manifest) -> None:
    """Write the list of what is in a release's folder beside its signed payload: bytecode, links, the head."""
    trees.write(release, trees.record(release, areas.payload(manifest)))


def verify(places: Places, release: str, progress: Progress) -> list[Problem]:
    """Compare the release that runs, the one that is kept beside it and all that they use with what was signed."""
    current = state.need(places)
    return [finding.problem for finding in find(places, replace(current, release=release), progress)]


def find(places: Places, current: State, progress: Progress) -> list[Finding]:
    """Return everything that is not as it has to be, each named once, sorted by name."""
    looked = [(area, *_look(area)) for area in areas.of(places, current)]
    found = [_finding(places, area, difference) for area, differences, _ in looked for difference in differences]
    found += _hash(places, [(area, area.wanted[path]) for area, _, unread in looked for path in unread], progress)
    found += _bases(places, [area for area, _, _ in looked if area.kind == VENV])
    return sorted(_once(found), key=lambda finding: finding.name)


def _look(area: Area) -> tuple[list[Difference], list[str]]:
    differences, unread = trees.look(area.root, area.wanted, area.owner, area.is_closed)
    return [*area.known, *differences], unread


def _hash(places: Places, wanted: list[tuple[Area, Entry]], progress: Progress) -> Iterator[Finding]:
    """Hash every file, one that has several names once."""
    unique = {_inode(area.root / entry.path, entry.content): (area, entry) for area, entry in reversed(wanted)}
    chosen = list(unique.values())
    with progress.bar("verifying", sum(entry.size for _, entry in chosen)) as on_bytes:
        digests = trees.sha256_files([area.root / entry.path for area, entry in chosen], on_bytes)
    for (area, entry), digest in zip(chosen, digests, strict=True):
        if isinstance(digest, OSError):
            yield _finding(places, area, Difference(entry.path, digest.strerror or "cannot be read", entry))
        elif digest != entry.content:
            yield _finding(places, area, Difference(entry.path, _differs(area, entry.path), entry))


def _differs(area: Area, path: str) -> str:
    return areas.LISTED if path in area.listed else area.differs


def _once(found: Iterable[Finding]) -> Iterator[Finding]:
    """Leave out what is named already: a hard link is damaged under each of its names."""
    seen = set[object]()
    for finding in found:
        entry = finding.difference.entry
        is_file = entry is not None and entry.kind == FILE and finding.place.is_file()
        inode = _inode(finding.place, finding.difference.problem) if is_file else finding.name
        if not {inode, finding.name} & seen:
            yield finding
        seen |= {inode, finding.name}


def _inode(path: Path, what: str) -> tuple[int, int, str]:
    found = path.lstat()
    return found.st_dev, found.st_ino, what


def _finding(places: Places, area: Area, difference: Difference) -> Finding:
    path, prefix = area.root / difference.path, places.prefix
    if " bytes instead of " in difference.problem:
        difference = replace(difference, problem=_differs(area, difference.path))
    name = str(path.relative_to(prefix)) if path.is_relative_to(prefix) else str(path)
    return Finding(area.names.get(difference.path, name), area, difference)


def _bases(places: Places, venvs: list[Area]) -> Iterator[Finding]:
    """Say where the interpreter under an environment is gone, or has become another version."""
    for area in venvs:
        program = area.root / "bin" / "python"
        base = area.wanted.get("bin/python")
        library = next((path for path in area.wanted if path.startswith("lib/python")), "")
        is_carried = base is not None and Path(base.content).is_relative_to(places.pythons)
        if base is None or is_carried or not library or not program.is_symlink():
            continue
        version = library.split("/")[1].removeprefix("python")
        if problem := base_problem(program, version):
            host = replace(area, kind=HOST, names={})
            yield Finding(base.content, host, Difference("bin/python", problem, None))


def base_problem(program: Path, version: str) -> str:
    """Say what is wrong with the interpreter under an environment that was made for a Python "3.11"."""
    if not program.exists():
        return f"missing: the environment runs on this Python {version}"
    try:
        found = process.run([program, "-I", "-B", "-S", "-c", VERSION]).text
    except (FerryError, OSError) as error:
        return f"does not run: {str(error).splitlines()[-1]}"
    return "" if found == version else f"is Python {found}, and the environment was made for {version}"
