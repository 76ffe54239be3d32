"""Whether a wheel is what its file name says: name, version and tags in all the places that state them. Pure.

Installers believe one of them, which differs by installer. Also its entry points, which become programs.
Formats: packaging.python.org, "Core metadata", "Binary distribution format" and "Entry points".
"""

import configparser
import re
from collections.abc import Collection, Iterator
from email.message import Message
from email.parser import HeaderParser

from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundle import wheel_paths

DIST_INFO = ".dist-info"
PROGRAM_GROUPS = ("console_scripts", "gui_scripts")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\s*\[[\w\s,.-]*\])?", re.ASCII)
KNOWN_METADATA = ("1", "2")
LONE_CR = re.compile(r"\r(?!\n)")


def own_folder(paths: Collection[str], file_name: str) -> tuple[str, str]:
    """Return the wheel's NAME-VERSION as its folders write it, and the fault that it has none, or another's, or two."""
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    found = sorted(top for top in tops if top.endswith(DIST_INFO))
    if len(found) != 1:
        return "", f"{len(found)} folders describe it ({', '.join(found)[:200]}); a wheel has one"
    own = found[0].removesuffix(DIST_INFO)
    name, _, version = own.partition("-")
    try:
        stated = parse_wheel_filename(file_name)
        same = (canonicalize_name(name), Version(version)) == stated[:2]
    except (InvalidVersion, InvalidWheelFilename) as error:
        return own, f"{found[0]}: {error}"
    return own, "" if same else f"{found[0]}: not the name and version of the file"


def metadata_faults(text: str, name: str, version: str) -> Iterator[str]:
    """Say where METADATA is not of this project (normalised name) in this version."""
    fields = _headers(text)
    stated = {field: _values(fields, field) for field in ("Metadata-Version", "Name", "Version")}
    one = {field: values[0] if len(values) == 1 else "" for field, values in stated.items()}
    is_good = {
        "Metadata-Version": one["Metadata-Version"].partition(".")[0] in KNOWN_METADATA,
        "Name": canonicalize_name(one["Name"]) == name,
        "Version": _same_version(one["Version"], version),
    }
    for field in (field for field in stated if not is_good[field]):
        yield f"METADATA: {field} is {', '.join(stated[field])[:80]!r}, and the lock says {name} {version}"


def tag_faults(text: str, file_name: str) -> Iterator[str]:
    """Say where WHEEL does not go with the file's name."""
    fields = _headers(text)
    tags: set[Tag] = set()
    for value in _values(fields, "Tag"):
        tags |= parse_tag(value) if value.count("-") == 2 else set()
    named = parse_wheel_filename(file_name)[3]
    pure = [value.lower() for value in _values(fields, "Root-Is-Purelib")]
    if _values(fields, "Wheel-Version") != ["1.0"]:
        yield "WHEEL: Wheel-Version is not 1.0"
    if tags != named:
        yield f"WHEEL: its tags ({', '.join(sorted(map(str, tags)))[:200]}) are not those of the file's name"
    if pure not in (["true"], ["false"]):
        yield "WHEEL: Root-Is-Purelib is neither true nor false"
    elif pure == ["true"] and any(tag.platform != "any" for tag in named):
        yield "WHEEL: Root-Is-Purelib is true for a wheel of one platform"


def programs(text: str, project: str) -> tuple[list[str], list[str]]:
    """Return the names of the programs that entry points make, and the faults of these."""
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    try:
        parser.read_string(text)
    except (configparser.Error, UnicodeError) as error:
        return [], [f"entry_points.txt: {str(error).splitlines()[0]}"]
    # uv ends a line there, configparser does not: each would make other programs of the rest.
    names, faults = [], ["entry_points.txt: holds a carriage return within a line"] if LONE_CR.search(text) else []
    for group in PROGRAM_GROUPS:
        for name, target in parser.items(group) if parser.has_section(group) else ():
            names.append(name)
            if fault := wheel_paths.program_fault(name, project):
                faults.append(f"entry_points.txt: {fault}")
            elif not TARGET.fullmatch(target.strip()):
                faults.append(f"entry_points.txt: {name} = {target[:80]!r} names no function of a module")
    return names, faults


def _headers(text: str) -> Message:
    return HeaderParser().parsestr(text)


def _values(fields: Message, name: str) -> list[str]:
    return [str(value).strip() for value in fields.get_all(name, [])]


def _same_version(value: str, version: str) -> bool:
    try:
        return Version(value) == Version(version)
    except InvalidVersion:
        return False
