"""What has to stand on this server: an installation comes in, folders with their expected entries go out.

A release by its signed manifest and, beside it, by the list that was made when it was installed; environments and
interpreters by theirs; the store by the digests; and what is outside: links, the command, the units. Nothing is hashed
here but the head of each release, which has to be proved before it is believed.
"""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from checksums import quorum, signature, sums
from checksums.errors import FerryError, IntegrityError
from checksums.layout import MANIFEST, MAX_SIGNATURES, SUMS, signature_name
from checksums.manifest import File, Manifest
from installer import environment, interpreter, trees, units, wrapper
from installer.places import Places
from installer.release import SHARED, SIGNERS, installed_path
from installer.state import State
from installer.trees import FILE, FOLDER, LINK, LIST, Difference, Entry, Owner

HEAD, RELEASE, VENV, PYTHON, STORE, HOST = "head", "release", "venv", "python", "store", "host"
SIGNED, LISTED = "sha256 differs from the signed list", "sha256 differs from what was installed"
VENV_LINK = "venv"


@dataclass(frozen=True)
class Area:
    """A folder and what has to be in it; where it is not `is_closed`, it may hold more.

    `known` are differences that are clear already; `names` is what a path is called where that is not its place;
    `differs` says what other bytes mean, but of what is only `listed`.
    """

    kind: str
    root: Path
    wanted: Mapping[str, Entry]
    owner: Owner
    is_closed: bool = True
    release: str = ""
    known: Sequence[Difference] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    differs: str = LISTED
    listed: Collection[str] = ()


@dataclass(frozen=True)
class Installed:
    """A release that is kept: its proved manifest, its environment, and the carried interpreter that it runs on."""

    name: str
    folder: Path
    manifest: Manifest
    venv: Path
    python: File | None


def of(places: Places, current: State) -> Iterator[Area]:
    """Yield the areas of an installation, those of the release that runs first."""
    heads = {name: head(places, name) for name in _names(current)}
    proved = [read(places, name, manifest, current) for name, (manifest, _) in heads.items() if manifest]
    for name, (_, known) in heads.items():
        if known:
            names = {one.path: one.path for one in known if name == current.release}
            yield Area(HEAD, places.release(name), {}, owner(places), False, name, known, names)
    yield from (_release(places, release, release.name == current.release) for release in proved)
    yield from (_listed(places, VENV, venv) for venv in dict.fromkeys(release.venv for release in proved))
    homes = dict.fromkeys(interpreter.home(release.python, places) for release in proved if release.python)
    yield from (_listed(places, PYTHON, home) for home in homes)
    yield _store(places, proved)
    yield _host(places, current)


def head(places: Places, name: str) -> tuple[Manifest | None, list[Difference]]:
    """Prove SHA256SUMS and manifest.json of a release; return the manifest where they hold, and what is wrong."""
    folder = places.release(name)
    try:
        data = (folder / SUMS).read_bytes()
        if wrong := list(_signature_faults(places, folder, data)):
            return None, wrong
        digests = sums.parse(data)
        description = (folder / MANIFEST).read_bytes()
        if hashlib.sha256(description).hexdigest() != digests.get(MANIFEST):
            return None, [_unproved(MANIFEST, SIGNED)]
        return Manifest.parse(description), []
    except OSError as error:
        return None, [_unproved(Path(error.filename).name, _reason(error))]
    except FerryError as error:
        return None, [_unproved(SUMS, error.message)]


def kept(places: Places, current: State) -> list[Installed]:
    """Return the releases that are kept and whose head holds, the one that runs first."""
    heads = {name: head(places, name)[0] for name in _names(current)}
    return [read(places, name, manifest, current) for name, manifest in heads.items() if manifest]


def read(places: Places, name: str, manifest: Manifest, current: State) -> Installed:
    """Find what a release uses beside its own folder."""
    folder = places.release(name)
    try:
        link = trees.read(folder)[VENV_LINK].content
    except (IntegrityError, KeyError):
        link = _target(folder / VENV_LINK)
    names = [environment.digest_of(manifest, path) for path in _programs(places, manifest, current)]
    there = [name for name in names if (places.venvs / name).is_dir()]
    venv = places.venvs / (Path(link).name or [*there, *names][0])
    file = interpreter.carried(manifest)
    return Installed(name, folder, manifest, venv, file if file and _runs_on(file, places, venv) else None)


def payload(manifest: Manifest) -> dict[str, Entry]:
    """Return where the files of a release have to stand in its folder."""
    files = {installed_path(file.path): file for file in manifest.files}
    return {path: Entry(path, FILE, int(file.mode, 8), file.size, file.sha256) for path, file in files.items()}


def owner(places: Places) -> Owner:
    """Return whose all that is below the prefix has to be."""
    found = places.prefix.stat()
    if places.is_user:
        return Owner(found.st_uid)
    return Owner(0, found.st_gid if found.st_mode & stat.S_ISGID else 0)


def program(places: Places, release: Installed, current: State) -> Path | None:
    """Return the interpreter that a release's environment was made from, None where that cannot be told."""
    link = _target(release.venv / "bin" / "python")
    candidates = [*_programs(places, release.manifest, current), *([Path(link)] if link else [])]
    names = ((environment.digest_of(release.manifest, path), path) for path in candidates)
    return next((path for name, path in names if name == release.venv.name), None)


def _programs(places: Places, manifest: Manifest, current: State) -> list[Path]:
    """Return the interpreters that a release may have been made for: the state names one, and it may carry one."""
    file = interpreter.carried(manifest)
    carried = [interpreter.program(file, places, manifest.target.python)] if file else []
    return [Path(current.python), *carried]


def _names(current: State) -> list[str]:
    names = (current.release, current.previous, current.newest)
    return list(dict.fromkeys(name for name in names if name))


def _release(places: Places, release: Installed, is_current: bool) -> Area:
    files, known = payload(release.manifest), list[Difference]()
    beside, is_closed = _list(release.folder, known)
    above = {str(folder) for path in files for folder in Path(path).parents}
    mode = 0o755 | (release.folder.stat().st_mode & stat.S_ISGID)
    wanted = {**{path: Entry(path, FOLDER, mode) for path in above}, **beside, **files}
    names = {installed_path(file.path): file.path for file in release.manifest.files}
    names |= {path: path for path in beside if "/" not in path and beside[path].kind == FILE}
    return Area(
        RELEASE, release.folder, wanted, owner(places), is_closed, release.name, known,
        names if is_current else {}, SIGNED, frozenset(beside),
    )  # fmt: skip


def _listed(places: Places, kind: str, root: Path) -> Area:
    known: list[Difference] = []
    wanted, is_closed = _list(root, known) if root.is_dir() else ({}, True)
    return Area(kind, root, wanted, owner(places), is_closed, known=known)


def _list(root: Path, known: list[Difference]) -> tuple[dict[str, Entry], bool]:
    """Return the list of a folder and whether it says all; what is wrong with the list itself is added to `known`."""
    try:
        entries = trees.read(root)
    except IntegrityError as error:
        known.append(Difference(LIST, error.message, Entry(LIST, FILE, trees.LIST_MODE)))
        return {}, False
    found = (root / LIST).lstat()
    size, mode = found.st_size, stat.S_IMODE(found.st_mode)
    wanted = Entry(LIST, FILE, trees.LIST_MODE, size)
    if difference := trees.compare(LIST, wanted, Entry(LIST, FILE, mode, size)):
        known.append(difference)
    return entries, True


def _store(places: Places, releases: Sequence[Installed]) -> Area:
    files = [file for release in releases for file in release.manifest.files if file.path.startswith(SHARED)]
    entries = [Entry(stored(file), FILE, int(file.mode, 8), file.size, file.sha256) for file in files]
    wanted = {entry.path: entry for entry in entries}
    return Area(STORE, places.store, wanted, owner(places), is_closed=False, differs=SIGNED)


def stored(file: File) -> str:
    """Return where a file stands in the store."""
    return f"{file.sha256[:2]}/{file.sha256}"


def _host(places: Places, current: State) -> Area:
    """What links and starts the release; the root is the system's own."""
    link = Entry(_below("/", places.current), LINK, 0o777, 0, f"{places.releases.name}/{current.release}")
    texts = {places.wrapper: (wrapper.render(places).encode(), 0o755)}
    if not places.is_user:
        # Where a template is missing, the release's own area says so.
        with suppress(OSError):
            rendered = units.rendered(places.release(current.release), places)
            texts |= {path: (text, 0o644) for path, text in rendered.items()}
    files = [_file_entry(path, data, mode) for path, (data, mode) in texts.items()]
    wanted = {entry.path: entry for entry in (link, *files)}
    whose = owner(places) if places.is_user else Owner(0)
    names = {_below("/", path): _shown(places, path) for path in (places.current, *texts)}
    differs = "is not what this release writes"
    return Area(HOST, Path("/"), wanted, whose, is_closed=False, names=names, differs=differs)


def _file_entry(path: Path, data: bytes, mode: int) -> Entry:
    return Entry(_below("/", path), FILE, mode, len(data), hashlib.sha256(data).hexdigest())


def _shown(places: Places, path: Path) -> str:
    return _below(str(places.prefix), path) if path.is_relative_to(places.prefix) else str(path)


def _below(folder: str, path: Path) -> str:
    return str(path.relative_to(folder))


def _signature_faults(places: Places, folder: Path, data: bytes) -> Iterator[Difference]:
    """Check the signatures that came with the release; one that was installed unsigned has none."""
    paths = [folder / signature_name(number) for number in range(1, MAX_SIGNATURES + 1)]
    made = {path.name: path.read_bytes() for path in paths if path.exists()}
    recorded = folder / SIGNERS
    try:
        if recorded.exists():
            found = {signature.match(data, text, name).fingerprint for name, text in made.items()}
            absent = sorted(set(recorded.read_text().split()) - found)
            yield from (_unproved(SUMS, f"the signature by {fingerprint} is missing") for fingerprint in absent)
        elif made:
            quorum.judge(data, made, quorum.Rule(places.allowed_signers))
    except FerryError as error:
        yield _unproved(SUMS, error.message)


def _unproved(name: str, problem: str) -> Difference:
    return Difference(name, problem, Entry(name, FILE, 0o644))


def _reason(error: OSError) -> str:
    return trees.MISSING if isinstance(error, FileNotFoundError) else error.strerror or "cannot be read"


def _target(link: Path) -> str:
    return str(link.readlink()) if link.is_symlink() else ""


def _runs_on(file: File, places: Places, venv: Path) -> bool:
    """Say whether an environment runs on the carried interpreter; where its own link is gone, it is assumed."""
    try:
        link = trees.read(venv)["bin/python"].content
    except (IntegrityError, KeyError):
        link = _target(venv / "bin" / "python")
    home = interpreter.home(file, places)
    return not link or Path(os.path.realpath(venv / "bin" / link)).is_relative_to(os.path.realpath(home))
