"""The proof that a set of wheels is complete: whatever is required, and what that needs in turn, has a fitting wheel.

Pure, but for reading METADATA out of wheels. Markers are evaluated for the target and never for the host that builds.
Formats: packaging.python.org, "Dependency specifiers" and "Core metadata specifications".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundle import wheel_zip
from bundle.wheel_info import MAX_TEXT_BYTES, METADATA
from bundle.wheel_zip import NotPlainError
from checksums.errors import CollectError, IntegrityError
from checksums.manifest import Target

ROOT = "requirements.in"


@dataclass(frozen=True)
class Package:
    """A version, what it requires (with markers, or bare names), and the Pythons that it runs on."""

    version: str
    requires: tuple[str, ...] = ()
    requires_python: str = ""


def environment(target: Target) -> dict[str, str]:
    """Return the values of all environment markers on the target, as uv sees them: the oldest patch release."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{target.python}.0",
        "os_name": "posix",
        "platform_machine": target.platform,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{target.python}.0",
        "python_version": target.python,
        "sys_platform": "linux",
    }


def requirements(text: str) -> list[str]:
    """Return the requirements in a file of pip's syntax, without comments and blank lines."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def applying(lines: Sequence[str], target: Target) -> list[Requirement]:
    """Return the requirements that count on the target.

    Raises:
        CollectError: a line is no requirement.
    """
    return list(_applying(lines, ROOT, target, frozenset()))


def check(lines: Sequence[str], packages: Mapping[str, Package], target: Target) -> None:
    """Refuse a set of packages that is not complete, or that holds more than is needed; all faults at once.

    Raises:
        CollectError: every gap is named with who asks for it.
    """
    found = faults(lines, packages, target)
    if found:
        raise CollectError("; ".join(found), "resolve again: python -m bundle lock --profile PROFILE")


def faults(lines: Sequence[str], packages: Mapping[str, Package], target: Target) -> list[str]:
    """Return what is missing, unfit or superfluous among `packages`, which are keyed by normalised name."""
    found: list[str] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(requirement, ROOT) for requirement in applying(lines, target)]
    while waiting:
        requirement, asked_by = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        package = packages.get(name)
        if package is None:
            found.append(f"{name}: no wheel, and {asked_by} needs it")
        elif not _satisfies(package.version, requirement.specifier):
            found.append(f"{name} {package.version}: {asked_by} needs {name}{requirement.specifier}")
        elif (name, extras) not in seen:
            waiting += [(needed, name) for needed in _applying(package.requires, name, target, extras)]
        seen.add((name, extras))
    found += [f"{name}: nothing needs it" for name in packages if name not in {name for name, _ in seen}]
    found += [
        f"{name} {package.version}: needs Python {package.requires_python}"
        for name, package in packages.items()
        if not _runs_on(name, package.requires_python, target)
    ]
    return sorted(set(found))


def _applying(lines: Sequence[str], owner: str, target: Target, extras: frozenset[str]) -> Iterator[Requirement]:
    values = environment(target)
    for line in lines:
        try:
            requirement = Requirement(line)
            places = [{**values, "extra": extra} for extra in ("", *sorted(extras))]
            if requirement.marker is None or any(requirement.marker.evaluate(place) for place in places):
                yield requirement
        except (InvalidRequirement, InvalidVersion, ValueError) as error:
            raise CollectError(f"{owner}: {line!r} is no requirement", "see PEP 508") from error


def _satisfies(version: str, specifier: SpecifierSet) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _runs_on(name: str, requires_python: str, target: Target) -> bool:
    """Tell whether some patch release of the target's Python will do: `>=3.11.4` is no reason to refuse 3.11."""
    try:
        allowed = SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise CollectError(f"{name}: Requires-Python {requires_python!r} means nothing", "choose another") from error
    return any(allowed.contains(f"{target.python}.{patch}") for patch in (0, 99))


def of_wheels(files: Mapping[str, Path]) -> dict[str, Package]:
    """Return normalised name -> what the wheel's own METADATA says.

    Raises:
        IntegrityError: a file is no wheel, or is the wheel of another package.
    """
    return {name: _of_wheel(name, path) for name, path in files.items()}


def _of_wheel(name: str, path: Path) -> Package:
    try:
        with path.open("rb") as file:
            member = next(member for member in wheel_zip.read_members(file) if METADATA.fullmatch(member.name))
            data = wheel_zip.read(file, member, MAX_TEXT_BYTES)
            fields = HeaderParser().parsestr(data.decode("utf-8", "replace"))
    except (NotPlainError, StopIteration) as error:
        raise IntegrityError(f"{path.name}: not a wheel", "remove it from the cache and build again") from error
    said = str(fields.get("Name", ""))
    if canonicalize_name(said) != name:
        raise IntegrityError(f"{path.name}: calls itself {said[:80]!r}", "ask the index's owner")
    requires = tuple(" ".join(str(value).split()) for value in fields.get_all("Requires-Dist", []))
    return Package(str(fields.get("Version", "")), requires, str(fields.get("Requires-Python", "")))
