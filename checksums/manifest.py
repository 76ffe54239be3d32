"""manifest.json: what a bundle is, what it needs and every file in it (contract, section 3).

Pure: bytes in, frozen values out, and back to canonical bytes. Whether the bytes are the signed ones is for others.
"""

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from checksums import contents
from checksums.errors import HostError, IntegrityError
from checksums.layout import FORMAT, INSTALLER, MANIFEST, MAX_TOP_BYTES, safe_path

T = TypeVar("T")
SHA256 = re.compile(r"[0-9a-f]{64}")
# They become folder names on the server and words on a command line; install.sh takes no two dots in a row.
NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
PYTHON = re.compile(r"3\.[0-9]{1,2}")
GLIBC = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){1,2}")
TIME, TIME_FORMAT = re.compile(r"[0-9-]{10}T[0-9:]{8}Z"), "%Y-%m-%dT%H:%M:%SZ"
MODES = {"0644", "0755"}
MAX_SIZE_BYTES = 1 << 45
MAX_NUMBER = 1 << 63
# Some things are looked up for each of them; no environment has so many.
MAX_WHEELS = 2000


@dataclass(frozen=True)
class File:
    """One member: path, size in bytes, SHA-256, mode as octal text, and the hub's digest where ours differs."""

    path: str
    size: int
    sha256: str
    mode: str
    upstream_sha256: str | None = None


@dataclass(frozen=True)
class Wheel:
    """One wheel: normalised name, version, path in the tarball, where it came from, licence expression."""

    name: str
    version: str
    file: str
    origin: str
    license: str


@dataclass(frozen=True)
class Target:
    """What the bundle was made for: "3.11", "x86_64", and the oldest glibc, "2.28"."""

    python: str
    platform: str
    glibc: str


@dataclass(frozen=True)
class Python:
    """Where the interpreter comes from: "host" (the server's), "standalone", "archive"; its version, else ""."""

    source: str
    version: str


@dataclass(frozen=True)
class Model:
    """The weights: where from, the hub's id, the revision asked for, the commit it meant, licence, dtype, size."""

    source: str
    id: str
    revision: str
    commit: str
    license: str
    dtype: str
    parameters: int


@dataclass(frozen=True)
class Requires:
    """What an installation takes: bytes on disk and of memory."""

    disk_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Base:
    """What a delta counts on: the release and the inventory it was made for, and the files that it leaves out."""

    release: str
    inventory_sha256: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that manifest.json says; it lists every file of the release, and `base` those not in a delta."""

    format: int
    name: str
    profile: str
    version: str
    sequence: int
    created: str
    target: Target
    python: Python
    model: Model
    wheels: tuple[Wheel, ...]
    files: tuple[File, ...]
    requires: Requires
    base: Base | None = None

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            HostError: its `format` is newer than this program knows.
            IntegrityError: it is not a manifest; the message names the field.
        """
        try:
            raw = json.loads(data, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise _bad(f"not JSON: {error}") from error
        number = raw.get("format") if isinstance(raw, dict) else None
        if isinstance(number, int) and not isinstance(number, bool) and number > FORMAT:
            raise HostError(
                f"{MANIFEST}: format {number} is newer than this installer knows ({FORMAT})",
                "install with the install.sh that came with the bundle",
            )
        manifest = _read(cls, raw, "")
        _check(manifest)
        return manifest

    def render(self) -> bytes:
        """Return the canonical bytes: sorted keys, one value a line, a final newline."""
        return (json.dumps(_plain(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @property
    def identity(self) -> str:
        """Return the SHA-256 that names the release: the same for a full bundle and for every delta that makes it."""
        return hashlib.sha256(replace(self, base=None).render()).hexdigest()

    def file(self, path: str) -> File | None:
        """Return the entry of one member."""
        return next((file for file in self.files if file.path == path), None)


def _check(manifest: Manifest) -> None:
    if manifest.format != FORMAT:
        raise _bad(f"format {manifest.format} is unknown")
    for field in ("name", "profile", "version"):
        if not NAME.fullmatch(getattr(manifest, field)):
            raise _bad(f"{field}: {getattr(manifest, field)[:80]!r} is not a name")
    if len(manifest.name) > MAX_TOP_BYTES:
        raise _bad(f"name: longer than {MAX_TOP_BYTES} characters")
    if not PYTHON.fullmatch(manifest.target.python) or not GLIBC.fullmatch(manifest.target.glibc):
        raise _bad("target: a version of Python or of glibc that cannot be")
    numbers = (manifest.sequence, *vars(manifest.requires).values(), manifest.model.parameters)
    if not all(0 <= number <= MAX_NUMBER for number in numbers):
        raise _bad("a number that cannot be")
    if len(manifest.wheels) > MAX_WHEELS:
        raise _bad(f"{len(manifest.wheels)} wheels")
    if not _is_time(manifest.created):
        raise _bad(f"created: {manifest.created[:80]!r} is no time")
    _check_files(manifest)
    if manifest.base is not None:
        _check_base(manifest.base, {file.path for file in manifest.files})


def _is_time(text: str) -> bool:
    try:
        return bool(TIME.fullmatch(text) and datetime.strptime(text, TIME_FORMAT))
    except ValueError:
        return False


def _check_files(manifest: Manifest) -> None:
    paths = [safe_path(file.path) for file in manifest.files]
    if len(set(paths)) != len(paths) or INSTALLER not in paths:
        raise _bad(f"files: a path occurs twice, or {INSTALLER} is missing")
    for file in manifest.files:
        digests = [file.sha256, file.upstream_sha256 or file.sha256]
        if not 0 <= file.size <= MAX_SIZE_BYTES or file.mode not in MODES or not all(map(SHA256.fullmatch, digests)):
            raise _bad(f"files: {file.path}: a size, mode or digest that cannot be")
    wheels = [(wheel.name, wheel.version, wheel.file) for wheel in manifest.wheels]
    carried = (manifest.python.source, manifest.python.version, manifest.target.python)
    faults = [*contents.path_faults(paths), *contents.wheel_faults(wheels, paths)]
    for fault in [*faults, *contents.interpreter_faults(*carried, paths)]:
        raise _bad(f"files: {fault}")


def _check_base(base: Base, paths: set[str]) -> None:
    if not NAME.fullmatch(base.release) or not SHA256.fullmatch(base.inventory_sha256):
        raise _bad("base: a release or a digest that cannot be")
    if list(base.files) != sorted(set(base.files), key=str.encode):
        raise _bad("base.files: a path occurs twice or out of order")
    # install.sh needs it before it knows what the server has.
    unknown = [path for path in base.files if path not in paths or path == INSTALLER]
    if unknown:
        raise _bad(f"base.files: {unknown[0][:80]!r} is not a file that a delta may leave out")


def _read(kind: type[T], raw: Any, where: str) -> T:
    if not isinstance(raw, dict):
        raise _bad(f"{where or 'the file'} is not an object")
    hints = _hints(kind)  # type: ignore[arg-type]
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]
        place = f"{where}.{field.name}" if where else field.name
        if field.name in raw:
            values[field.name] = _value(hints[field.name], raw[field.name], place)
        elif field.default is not None:
            raise _bad(f"{place} is missing")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, raw: Any, place: str) -> Any:
    allowed = get_args(hint)
    if type(None) in allowed:
        return None if raw is None else _value(allowed[0], raw, place)
    if Ellipsis in allowed:
        if not isinstance(raw, list):
            raise _bad(f"{place} is not a list")
        return tuple(_value(allowed[0], item, f"{place}[{number}]") for number, item in enumerate(raw))
    if hasattr(hint, "__dataclass_fields__"):
        return _read(hint, raw, place)
    plain = dict if allowed else hint
    if not isinstance(raw, plain) or isinstance(raw, bool):
        raise _bad(f"{place} is not {plain.__name__}")
    if isinstance(raw, str) and not raw.isprintable():
        raise _bad(f"{place} holds characters that cannot be shown")
    return raw


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        pairs = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None or name == "base"}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _bad(what: str) -> IntegrityError:
    return IntegrityError(f"{MANIFEST}: {what}", "this is no bundle of Ferry's, or it is damaged: copy it again")
