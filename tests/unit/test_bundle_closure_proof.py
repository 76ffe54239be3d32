"""The proof that wheels are complete: markers and extras of the target, ranges, Pythons, METADATA as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import stub_wheels

from bundle import closure, targets
from bundle.closure import Package
from checksums.errors import CollectError, IntegrityError

NEW = targets.make_target("3.13", "aarch64", "2.28")
OLD = targets.make_target("3.10", "x86_64", "2.28")
LINES = ["app[fast]>=1", 'only-old; python_version < "3.11"', 'only-arm; platform_machine == "aarch64"']
APP = Package("1.5", ("inner>=2", 'speedup; extra == "fast"', 'docs; extra == "docs"', 'win; sys_platform == "win32"'))
COMMON = {"app": APP, "inner": Package("2.1"), "speedup": Package("1.0")}


def test_what_belongs_on_a_target_depends_on_its_markers_and_never_on_the_hosts() -> None:
    assert closure.faults(LINES, {**COMMON, "only-arm": Package("1")}, NEW) == []
    assert closure.faults(LINES, {**COMMON, "only-old": Package("1")}, OLD) == []
    assert closure.faults(LINES, COMMON, NEW) == ["only-arm: no wheel, and requirements.in needs it"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inner": None}, "inner: no wheel, and app needs it"),
        ({"speedup": None}, "speedup: no wheel, and app needs it"),
        ({"inner": Package("1.9")}, "inner 1.9: app needs inner>=2"),
        ({"inner": Package("no version")}, "inner no version: app needs inner>=2"),
        ({"docs": Package("1")}, "docs: nothing needs it"),
        ({"win": Package("1")}, "win: nothing needs it"),
        ({"inner": Package("2.1", (), ">=3.14")}, "inner 2.1: needs Python >=3.14"),
        ({"inner": Package("2.1", ("app>=2",))}, "app 1.5: inner needs app>=2"),
    ],
)
def test_a_gap_is_named_with_who_asks_for_it(changes: dict[str, Package | None], said: str) -> None:
    packages = {name: found for name, found in {**COMMON, **changes}.items() if found is not None}
    assert said in closure.faults(["app[fast]"], packages, NEW)


def test_packages_that_need_each_other_come_to_an_end() -> None:
    round_trip = {"a": Package("1", ("b",)), "b": Package("1", ("a", "A", "b"))}
    assert closure.faults(["a"], round_trip, NEW) == []


@pytest.mark.parametrize("python", [">=3.13.4", ">=3.9,<4", "", "!=3.13.0"])
def test_a_python_that_some_patch_release_is_will_do(python: str) -> None:
    assert closure.faults(["a"], {"a": Package("1", (), python)}, NEW) == []


@pytest.mark.parametrize(
    "package",
    [
        Package("1", ("!!",)),
        Package("1", ("b; python_version ~~ '3'",)),
        Package("1", ("b; no_such_marker == 'x'",)),
        Package("1", (), "three"),
    ],
)
def test_what_nobody_can_read_is_an_error_that_names_the_package(package: Package) -> None:
    with pytest.raises(CollectError, match=r"^a: "):
        closure.faults(["a"], {"a": package}, NEW)


def test_a_wheel_tells_what_it_needs(tmp_path: Path) -> None:
    file = stub_wheels.make(tmp_path, "a", "2.0", requires=['b>=1; python_version < "3"'], requires_python=">=3.10")
    assert closure.of_wheels({"a": file}) == {"a": Package("2.0", ('b>=1; python_version < "3"',), ">=3.10")}


def test_a_wheel_that_is_none_or_another_packages_is_refused(tmp_path: Path) -> None:
    file = stub_wheels.make(tmp_path, "a")
    with pytest.raises(IntegrityError, match=r"a-1\.0-py3-none-any\.whl: calls itself 'a'"):
        closure.of_wheels({"b": file})
    file.write_bytes(b"PK")
    with pytest.raises(IntegrityError, match="not a wheel"):
        closure.of_wheels({"a": file})
