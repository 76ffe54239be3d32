"""The wheels gate: real wheels and unusual good ones pass, and each of a hundred broken ones is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_wheels import CODE, INFO, NAME, draft, with_file, with_programs
from hypothesis import given, settings
from hypothesis import strategies as st
from wheel_faults import DATA, GOOD, HOSTILE, RECORDS

from bundle import cache, demo_model, lock, profiles, targets, wheel_gate, wheel_info
from bundle.lock import Lock, Locked
from bundle.profiles import PackageModel
from bundle.progress import Progress
from bundle.sources import Sources
from checksums.errors import IntegrityError

ROOT = Path(__file__).resolve().parents[2]
QUIET = Progress(quiet=True)


def locked(path: Path) -> tuple[Locked, Path]:
    name, version = path.name.split("-")[:2]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Locked(name, version, path.name, digest, path.stat().st_size, "index"), path


def check(*paths: Path) -> None:
    wheel_gate.check([locked(path) for path in paths], QUIET)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_wheel_with_one_fault_is_refused_and_named(case: str, tmp_path: Path) -> None:
    made, words = HOSTILE[case]
    path = made.write(tmp_path / "wheel" / NAME)
    with pytest.raises(IntegrityError) as caught:
        check(path)
    assert caught.value.exit_code == 3
    assert caught.value.message.startswith(f"{NAME}: ")
    assert words in caught.value.message
    assert [one.name for one in path.parent.iterdir()] == [NAME], "nothing says that it passed"


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_hostile_wheel_says_of_itself_is_read_or_refused(case: str, tmp_path: Path) -> None:
    try:
        wheel_info.read(HOSTILE[case][0].write(tmp_path / NAME))
    except IntegrityError as error:
        assert NAME in error.message


@pytest.mark.parametrize("case", GOOD)
def test_an_unusual_wheel_that_does_no_harm_passes(case: str, tmp_path: Path) -> None:
    check(GOOD[case].write(tmp_path / NAME))


def test_a_wheel_that_the_lock_calls_otherwise_is_refused(tmp_path: Path) -> None:
    wheel, path = locked(draft().write(tmp_path / NAME))
    with pytest.raises(IntegrityError, match=r"METADATA: Name is 'small', and the lock says big 1.0"):
        wheel_gate.check([(replace(wheel, name="big"), path)], QUIET)


SHARED = {
    "a module": (with_file("other/both.py"), "other/both.py", "lib/other/both.py: "),
    "a module by another scheme": (with_file(f"{DATA}/platlib/other/both.py"), "other/both.py", "lib/other/both.py: "),
    "by case alone": (with_file("Other/BOTH.py"), "other/both.py", "lib/other/both.py: "),
    "a file here and a folder there": (with_file("other/both"), "other/both/x.py", "lib/other/both: a f"),
    "a program": (with_programs("other = small:main"), "other/both.py", "bin/other: "),
    "a program and a script": (with_file(f"{DATA}/scripts/OTHER"), "other/both.py", "bin/other: "),
}


@pytest.mark.parametrize("case", SHARED)
def test_two_wheels_that_install_the_same_place_are_refused(case: str, tmp_path: Path) -> None:
    small, path, words = SHARED[case]
    other = draft("other")
    other.files[path] = b"x = 1\n"
    paths = [small.write(tmp_path / NAME), other.write(tmp_path / NAME.replace("small", "other"))]
    for path in paths:
        check(path)
    for order in (paths, paths[::-1]):
        with pytest.raises(IntegrityError) as caught:
            check(*order)
        assert words in caught.value.message
        assert all(path.name in caught.value.message for path in paths)


def test_folders_may_be_shared_by_any_number_of_wheels(tmp_path: Path) -> None:
    other = draft("other")
    other.files["small/third.py"] = b"x = 1\n"
    check(draft().write(tmp_path / NAME), other.write(tmp_path / NAME.replace("small", "other")))


def test_content_that_passed_is_not_unpacked_again_and_only_for_that_digest(tmp_path: Path) -> None:
    path = draft().write(tmp_path / NAME)
    check(path)
    marker = next(one for one in tmp_path.iterdir() if one != path)
    assert marker.read_bytes() == b""
    bad = RECORDS["another digest"][0].write(tmp_path / "elsewhere" / NAME)
    with pytest.raises(IntegrityError):
        check(bad)
    wheel, _ = locked(path)
    other = draft()
    other.files[CODE] = b"x = 2\n"
    swapped = other.write(tmp_path / "swapped" / NAME)
    wheel_gate.check([(wheel, swapped)], QUIET)
    assert [one.name for one in swapped.parent.iterdir()] == [NAME], "not the wheel that the lock names"


def test_all_faults_of_all_wheels_are_named_at_once(tmp_path: Path) -> None:
    first = with_file("evil.pth").write(tmp_path / NAME)
    other = draft("other")
    other.files |= {f"other/{number}.pyc": b"" for number in range(30)}
    second = other.write(tmp_path / NAME.replace("small", "other"))
    with pytest.raises(IntegrityError) as caught:
        check(first, second)
    lines = caught.value.message.splitlines()
    assert (len(lines), lines[-1]) == (21, "and 11 more")


def contents(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_wheel_with_any_few_bytes_changed_is_refused_or_holds_what_it_held(
    tmp_path_factory: pytest.TempPathFactory, choose: st.DataObject
) -> None:
    good = draft().archive(io.BytesIO())
    data = bytearray(good)
    for place in choose.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=3)):
        data[place] = choose.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / NAME
    path.write_bytes(data)
    try:
        check(path)
    except IntegrityError as error:
        assert NAME in error.message
    else:
        assert contents(bytes(data)) == contents(good)


def test_a_hostile_wheel_ends_a_build_with_exit_3_before_anything_is_packed(tmp_path: Path) -> None:
    """The whole way: a lock that names it, pip that fetches it, the gate that refuses it."""
    target = targets.make_target("this", "this", "2.28")
    shutil.copytree(ROOT / "bundle", tmp_path / "checkout" / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("checksums", "installer"):
        (tmp_path / "checkout" / name).symlink_to(ROOT / name)
    (tmp_path / "checkout" / "requirements.in").write_text("small==1.0\n")
    wheel, _ = locked(with_programs("../../bin/sh = small:main").write(tmp_path / "wheels" / NAME))
    text = lock.render(Lock(lock.requirements_digest("small==1.0\n"), (wheel,)), target)
    (tmp_path / "checkout" / "bundle" / "locks" / targets.lock_name(target)).write_text(text)
    words = ["build", "--profile", "demo", "--python", "host", "--out", str(tmp_path / "out"), "--json"]
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SOURCE_DATE_EPOCH": "1735689600",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
    }
    (tmp_path / "cache" / "ferry").mkdir(parents=True)
    (tmp_path / "cache" / "ferry" / "models").symlink_to(cache.folder("models"))
    done = subprocess.run(
        [sys.executable, "-m", "bundle", *words],
        cwd=tmp_path / "checkout",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    fault = f"{NAME}: entry_points.txt: '../../bin/sh' is no name of a program"
    assert json.loads(done.stdout)["error"] == fault
    assert not (tmp_path / "out").exists()


def test_licence_texts_whose_names_would_fall_together_are_all_kept(tmp_path: Path) -> None:
    made = draft()
    made.files |= {f"{INFO}/licenses/a\u00e9 b": b"1", f"{INFO}/licenses/a_b": b"2", f"{INFO}/licenses/A_B": b"3"}
    texts = wheel_info.read(made.write(tmp_path / NAME)).license_texts
    assert sorted(texts.values()) == [b"1", b"2", b"3", b"Do as you like.\n"]
    assert len({name.lower() for name in texts}) == 4


def test_a_models_wheel_passes_the_same_gate_before_it_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheel, path = locked(with_file("evil.pth").write(tmp_path / "wheels" / NAME))
    facts = {"sha256": wheel.sha256, "size_bytes": wheel.size_bytes}
    model = replace(profiles.load("demo").model, package="small", version="1.0", **facts)
    assert isinstance(model, PackageModel)
    target = targets.make_target("this", "this", "2.28")
    with pytest.raises(IntegrityError, match=r"evil\.pth: would run"):
        demo_model.collect(model, target, Sources(find_links=(str(path.parent),), no_index=True), QUIET)
