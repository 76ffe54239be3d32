"""Every target is planned from any host: the right wheels for its markers and tags; all that are missing, by name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import stub_index
from click.testing import CliRunner, Result
from stub_index import Release

from bundle import build, lock, pins, profiles, targets
from bundle.build import Config
from bundle.cli import cli
from bundle.missing import MissingError
from bundle.sources import Sources
from checksums.errors import CollectError
from checksums.manifest import Target

TARGETS = [targets.make_target(python, machine, "2.28") for python in targets.PYTHONS for machine in targets.PLATFORMS]
OLD_ARM, MIDDLE, NEW_ARM = TARGETS[1], TARGETS[2], TARGETS[7]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    stub_index.write_files(folder, stub_index.released())
    return folder


@pytest.fixture(autouse=True)
def no_lock_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock is committed, and whoever asks for another host than this one is told at once that it is away."""
    monkeypatch.setattr(build, "LOCKS", tmp_path / "no-locks")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    # The host's own configuration of pip must not add a source.
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)


def config(target: Target, index: str) -> Config:
    raw = {
        "target": vars(target),
        "python": {"source": "host"},
        "model": {"source": "modelscope", "id": "Owner/Name", "license": "MIT", "commercial_use": True},
    }
    return Config(profiles.parse("test", raw), "1.0.0", 0, 0, Sources(index_url=index))


def plan(target: Target, folder: Path, files: Path, releases: Sequence[Release]) -> build.Plan:
    index = stub_index.write_pages(folder / "simple", files, releases)
    return build.make_plan(config(target, index), asks_hub=False)


@pytest.mark.parametrize("target", TARGETS, ids=targets.lock_name)
def test_every_target_gets_the_wheels_for_its_markers_and_tags(target: Target, files: Path, tmp_path: Path) -> None:
    found = plan(target, tmp_path, files, stub_index.released())
    assert {wheel.name: wheel.version for wheel in found.lock.wheels} == stub_index.expected(target)
    own = targets.abi(target)
    for wheel in found.lock.wheels:
        python, abi, places = wheel.file.removesuffix(".whl").split("-")[-3:]
        assert "py3" in python.split(".") or python == own or (abi == "abi3" and minor(python) < minor(own))
        assert abi in (own, "abi3", "none")
        assert places == "any" or f"_{target.platform}" in places
    assert found.lock_origin.startswith("resolved now")
    assert any(entry.startswith("tomli") for entry in found.requirements) is (target.python == "3.10")


def minor(tag: str) -> int:
    return int(tag.removeprefix("cp3"))


def test_the_targets_really_differ() -> None:
    """Else the test above would prove little."""
    old, old_arm, new = (stub_index.expected(target) for target in (TARGETS[0], OLD_ARM, NEW_ARM))
    assert {"tomli", "exceptiongroup"} <= set(old) - set(new)
    assert old["gevent"] != old_arm["gevent"]
    assert old["numpy"] != stub_index.expected(MIDDLE)["numpy"] != new["numpy"]


@pytest.mark.parametrize(
    ("target", "name", "way"),
    [
        (MIDDLE, "flask", "removed"),
        (MIDDLE, "markupsafe", "only for another Python"),
        (OLD_ARM, "exceptiongroup", "only as a source distribution"),
        (OLD_ARM, "gevent", "only for another architecture"),
        (NEW_ARM, "pydantic-core", "only for a newer glibc"),
        (NEW_ARM, "h11", "removed"),
        (NEW_ARM, "numpy", "only for another architecture"),
    ],
)
def test_a_wheel_that_is_unavailable_is_named_and_no_other(
    target: Target, name: str, way: str, files: Path, tmp_path: Path
) -> None:
    releases = stub_index.without(stub_index.released(), name, target, way, files)
    assert missing(target, tmp_path, files, releases) == {name}


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (MIDDLE, {"flask": "removed", "mdurl": "only for another Python", "uvicorn": "only for a newer glibc"}),
        (OLD_ARM, {"tomli": "removed", "cffi": "only for another architecture", "sympy": "removed"}),
    ],
)
def test_three_that_are_unavailable_are_all_named_at_once(
    target: Target, names: dict[str, str], files: Path, tmp_path: Path
) -> None:
    releases = stub_index.released()
    for name, way in names.items():
        releases = stub_index.without(releases, name, target, way, files)
    assert missing(target, tmp_path, files, releases) == set(names)


def test_torch_that_is_unavailable_is_named_beside_the_others_and_the_hint_says_what_to_set(
    files: Path, tmp_path: Path
) -> None:
    releases = [entry for entry in stub_index.released() if entry.name not in ("torch", "idna")]
    with pytest.raises(CollectError) as caught:
        plan(NEW_ARM, tmp_path, files, releases)
    assert named(caught.value) == {"torch", "idna"}
    assert "PyTorch's own CPU index gave no answer: error: Request failed" in caught.value.message
    assert "torch-…+cpu-cp313-…_aarch64.whl" in caught.value.hint


def test_a_dependency_of_which_only_another_version_has_a_wheel_is_named(files: Path, tmp_path: Path) -> None:
    """tokenizers of a range that transformers does not take: each package by itself has a wheel."""
    old = Release("tokenizers", "0.1", "", (), ("tokenizers-0.1-py3-none-any.whl",), ())
    stub_index.write_files(files, [old])
    releases = [old if entry.name == "tokenizers" else entry for entry in stub_index.released()]
    assert missing(MIDDLE, tmp_path, files, releases) == {"tokenizers"}


def missing(target: Target, folder: Path, files: Path, releases: Sequence[Release]) -> set[str]:
    with pytest.raises(CollectError) as caught:
        plan(target, folder, files, releases)
    assert caught.value.exit_code == 1
    assert f"there is no lock for {lock.describe(target)} yet" in caught.value.message
    return named(caught.value)


def named(error: CollectError) -> set[str]:
    """Return the packages that an error lists, from its text and from its cause, which must agree."""
    listed = error.message.partition("no wheel for")[2].partition("\nand ")[0]
    lines = re.findall(r"^  ([a-z0-9-]+)", listed, re.MULTILINE)
    assert isinstance(error.__cause__, MissingError)
    assert [entry.name for entry in error.__cause__.missing] == lines
    return set(lines)


def test_sources_that_cannot_be_reached_are_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(CollectError) as caught:
        build.make_plan(config(MIDDLE, f"{NOWHERE}/simple"), asks_hub=False)
    assert "there is no lock for CPython 3.11 on x86_64 with glibc 2.28 yet" in caught.value.message
    assert NOWHERE in caught.value.message
    assert len(caught.value.message.splitlines()) < 10
    assert not (tmp_path / "no-locks").exists()


PROFILE = """
[target]
python = "3.13"
platform = "aarch64"
glibc = "2.31"
[python]
source = "host"
[model]
source = "modelscope"
id = "Owner/Name"
license = "MIT"
commercial_use = true
"""


@pytest.fixture
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(pins, "FILE", shutil.copy(pins.FILE, tmp_path / "interpreters.txt"))
    (tmp_path / "locks").mkdir()
    (tmp_path / "arm.toml").write_text(PROFILE)
    return tmp_path / "locks"


def run(command: str, folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, [command, "--profile", str(folder / "arm.toml"), *options])


def test_one_command_makes_the_lock_and_shows_what_changed(own_locks: Path, files: Path, tmp_path: Path) -> None:
    releases = stub_index.released()
    first = run("lock", tmp_path, "--index-url", stub_index.write_pages(tmp_path / "first", files, releases))
    assert "+ flask " in first.output, first.output
    assert [path.name for path in own_locks.iterdir()] == ["cp313-aarch64-glibc2.31.txt"]
    newer = [Release("idna", "99.0", "", (), ("idna-99.0-py3-none-any.whl",), ())]
    stub_index.write_files(files, newer)
    index = stub_index.write_pages(tmp_path / "second", files, [*releases, *newer])
    second = run("lock", tmp_path, "--index-url", index)
    old = next(entry.version for entry in releases if entry.name == "idna")
    assert second.output.splitlines()[0] == f"~ idna {old} -> 99.0"
    assert f"{len(stub_index.expected(NEW_ARM))} wheels" in second.output.splitlines()[-1]
    third = run("lock", tmp_path, "--index-url", index, "--json")
    assert '"changes": []' in third.output


def test_a_plan_from_the_lock_asks_nobody(own_locks: Path, files: Path, tmp_path: Path) -> None:
    index = stub_index.write_pages(tmp_path / "simple", files, stub_index.released())
    assert run("lock", tmp_path, "--index-url", index).exit_code == 0
    planned = run("plan", tmp_path, "--index-url", f"{NOWHERE}/simple")
    assert planned.exit_code == 0, planned.output
    assert "requirements and all that they need: a wheel each that fits the target" in planned.output
    assert "the hub was not asked" in planned.output


def test_a_damaged_lock_is_replaced_and_a_failed_refresh_keeps_the_old_one(
    own_locks: Path, files: Path, tmp_path: Path
) -> None:
    path = own_locks / "cp313-aarch64-glibc2.31.txt"
    path.write_bytes(b"\xff")
    assert run("lock", tmp_path, "--index-url", f"{NOWHERE}/simple").exit_code == 1
    assert path.read_bytes() == b"\xff"
    index = stub_index.write_pages(tmp_path / "simple", files, stub_index.released())
    assert run("lock", tmp_path, "--index-url", index).exit_code == 0
    target = replace(NEW_ARM, glibc="2.31")
    assert lock.render(lock.read(path), target) == path.read_text()
