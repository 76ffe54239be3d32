"""Where a wheel's files come to lie: path in the wheel -> path in the environment, and what may not lie there. Pure.

An environment has `lib/` (site-packages, whichever of purelib and platlib a wheel says), `bin/`, `include/`, `share/`.
Format: packaging.python.org, "Binary distribution format"; the schemes are sysconfig's.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

LIBRARY, PROGRAMS = "lib/", "bin/"
SCHEMES = {"purelib": LIBRARY, "platlib": LIBRARY, "scripts": PROGRAMS, "headers": "include/", "data": ""}
# What `data` may hold is laid over the whole environment: manual pages and examples, never programs or modules.
DATA_FOLDERS = ("share/", "etc/")
# A release's own path comes before it on the server, and every file system takes it.
MAX_PATH_BYTES = 240
# Python runs or believes them at every start; what `_virtualenv` holds is uv's own.
STARTUP = re.compile(r"(site|user)customize(\.py|\.[^/]*so|/.*)|_virtualenv\..*|[^/]*\.(start|egg-link|egg)")
PTH = re.compile(r"lib/[^/]*\.pth", re.IGNORECASE)
OTHER_PACKAGE = re.compile(r"([^/]+)\.(dist-info|egg-info)(/.*)?")
PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")
RESERVED = re.compile(
    r"(python|pypy)[0-9.]*w?(-config|\.exe)?|pydoc[0-9.]*|(de)?activate.*|ferry.*|uvx?", re.IGNORECASE
)
# The only packages that may bring a program of a reserved name.
OWNERS = {"uv": "uv", "uvx": "uv"}


def fault(path: str) -> str:
    """Return what is wrong with a path in a wheel, or nothing."""
    parts = path.split("/")
    if not path.isprintable():
        return "a name with characters that cannot be shown"
    if "\\" in path or re.match(r"[A-Za-z]:", path):
        return "a path of Windows"
    if path.startswith("/") or ".." in parts:
        return "leads out of its folder"
    if "" in parts or "." in parts or unicodedata.normalize("NFC", path) != path:
        return "a path that is not in its plain form"
    if any(part != part.strip() for part in parts):
        return "a name that begins or ends with a blank"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"a path of more than {MAX_PATH_BYTES} bytes"
    return ""


def path_faults(paths: Iterable[str]) -> Iterator[str]:
    """Say which of these (folders end with a slash) are there twice, differ by case alone, or are file and folder."""
    seen: dict[str, str] = {}
    above: dict[str, str] = {}
    for path in paths:
        plain = path.removesuffix("/")
        key = plain.casefold()
        if key in seen:
            yield f"{path}: there twice" if seen[key] == path else f"{path}: differs from {seen[key]} by case alone"
        seen[key] = path
        above |= dict.fromkeys(parents(key), path)
    for key, path in seen.items():
        if key in above and not path.endswith("/"):
            yield f"{path}: a file, and the folder of {above[key]}"


def parents(path: str) -> list[str]:
    """Return the folders above a path."""
    return [path[:place] for place, letter in enumerate(path) if letter == "/"]


def installed(path: str, own: str) -> str:
    """Return where a file of the wheel whose folders are called `own` (NAME-VERSION) comes to lie.

    Raises:
        ValueError: a scheme that no wheel has, or data outside the folders for it.
    """
    head, _, rest = path.partition("/")
    if not head.endswith(".data") or not rest:
        return LIBRARY + path
    scheme, _, inside = rest.partition("/")
    if head != f"{own}.data" or scheme not in SCHEMES or not inside:
        raise ValueError(f"a place that is not one of {own}.data/{{{','.join(SCHEMES)}}}/")
    if scheme == "data" and not inside.startswith(DATA_FOLDERS):
        raise ValueError(f"data outside {' and '.join(DATA_FOLDERS)}")
    return SCHEMES[scheme] + (f"{own.partition('-')[0]}/" if scheme == "headers" else "") + inside


def place_fault(path: str, own: str, project: str) -> str:
    """Return why nothing may lie at this path of the environment (from `installed`), or nothing."""
    if path.startswith(PROGRAMS):
        return program_fault(path.removeprefix(PROGRAMS), project)
    inside = path.removeprefix(LIBRARY)
    if not path.startswith(LIBRARY):
        return ""
    other = OTHER_PACKAGE.fullmatch(inside)
    if other and inside.partition("/")[0] != f"{own}.dist-info":
        return "describes another package"
    if STARTUP.fullmatch(inside):
        return "would run, or be believed, at every start of Python"
    if "__pycache__" in inside.split("/") or inside.endswith((".pyc", ".pyo")):
        return "compiled code, which nobody can read: the installer compiles by itself"
    return ""


def program_fault(name: str, project: str) -> str:
    """Return why no program of this name may be installed by this project, or nothing."""
    if not PROGRAM.fullmatch(name):
        return f"{name[:80]!r} is no name of a program"
    if RESERVED.fullmatch(name) and OWNERS.get(name) != project:
        return f"would replace {name}"
    return ""
