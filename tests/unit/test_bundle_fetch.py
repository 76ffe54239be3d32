"""Fetching the pinned interpreter from a mirror on loopback, which misbehaves in every way that real ones do."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import archives
import pytest
from archives import STUB, TARGET, Member
from local_mirror import LocalMirror, serving

from bundle import fetch, interpreter, pins
from bundle.pins import Pin
from bundle.profiles import PythonChoice
from bundle.progress import Progress
from checksums.errors import CollectError, IntegrityError

ROOT = Path(__file__).parents[2]
QUIET = Progress(quiet=True)
# Random bytes do not pack: the file is as large as they are.
DATA = archives.archive(*STUB, Member("python/lib/random", os.urandom(1 << 20)))
PIN = Pin("3.11", "x86_64", "3.11.9", "20250101", hashlib.sha256(DATA).hexdigest())
CHOICE = PythonChoice("standalone")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMirror]:
    """A mirror with the layout of the real releases, and a table that pins what it has."""
    place = tmp_path / "mirror" / PIN.build / PIN.name
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    (tmp_path / "interpreters.txt").write_text(pins.render([PIN]))
    monkeypatch.setattr(pins, "FILE", tmp_path / "interpreters.txt")
    monkeypatch.setattr(fetch, "PAUSES_S", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving(LocalMirror(tmp_path / "mirror")) as made:
        monkeypatch.setenv(pins.MIRROR, made.address)
        yield made


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_the_pinned_archive_is_fetched_once(mirror: LocalMirror, tmp_path: Path) -> None:
    for _ in range(2):
        found = interpreter.collect(CHOICE, TARGET, QUIET)
        assert found is not None and found.file.read_bytes() == DATA and found.version == "3.11.9"
    assert mirror.asked == [(f"/20250101/{PIN.name.replace('+', '%2B')}", "")]
    assert kept(tmp_path) == [PIN.name]
    planned = interpreter.plan(CHOICE, TARGET)
    assert planned is not None and planned.size_bytes == len(DATA)


@pytest.mark.parametrize(
    "faults",
    [["503"], ["503", "429", "502"], ["reset"], ["cut"], ["cut", "reset", "503", "cut"], ["cut", "no range"]],
    ids=" ".join,
)
def test_a_mirror_that_stumbles_is_asked_again(mirror: LocalMirror, faults: list[str]) -> None:
    mirror.faults = list(faults)
    found = interpreter.collect(CHOICE, TARGET, QUIET)
    assert found is not None and found.file.read_bytes() == DATA
    assert len(mirror.asked) == len(faults) + ("no range" not in faults)


def test_no_byte_that_came_is_asked_for_again(mirror: LocalMirror) -> None:
    mirror.faults = ["cut", "503", "cut"]
    interpreter.collect(CHOICE, TARGET, QUIET)
    assert [bool(span) for _, span in mirror.asked] == [False, True, True, True]
    spans = sorted(mirror.sent)
    assert [stop for _, stop in spans[:-1]] == [start for start, _ in spans[1:]], "a gap, or bytes sent twice"


@pytest.mark.parametrize(("faults", "asked", "named"), [(["404"], 1, "HTTP 404"), (["503"] * 9, 5, "HTTP 503")])
def test_a_mirror_that_does_not_have_it_is_given_up(
    mirror: LocalMirror, faults: list[str], asked: int, named: str, tmp_path: Path
) -> None:
    mirror.faults = list(faults)
    with pytest.raises(CollectError, match=named) as caught:
        interpreter.collect(CHOICE, TARGET, QUIET)
    assert mirror.address in caught.value.message and pins.MIRROR in caught.value.hint
    assert len(mirror.asked) == asked and kept(tmp_path) == []


def test_a_password_in_the_address_is_not_shown(mirror: LocalMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pins.MIRROR, mirror.address.replace("//", "//me:secret@"))
    mirror.faults = ["404"]
    with pytest.raises(CollectError) as caught:
        interpreter.collect(CHOICE, TARGET, QUIET)
    assert "secret" not in caught.value.message


def test_other_bytes_are_refused_and_not_kept(mirror: LocalMirror, tmp_path: Path) -> None:
    place = mirror.folder / PIN.build / PIN.name
    place.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(IntegrityError, match=PIN.sha256):
        interpreter.collect(CHOICE, TARGET, QUIET)
    assert kept(tmp_path) == []
    place.write_bytes(DATA)
    assert interpreter.collect(CHOICE, TARGET, QUIET) is not None


@pytest.mark.parametrize("left", [b"", DATA[:1000], DATA, DATA + b"more"], ids=["empty", "some", "all", "too much"])
def test_what_an_earlier_run_left_is_gone_on_with(mirror: LocalMirror, tmp_path: Path, left: bytes) -> None:
    part = tmp_path / "cache" / "ferry" / "interpreters" / PIN.sha256 / f"{PIN.name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    found = interpreter.collect(CHOICE, TARGET, QUIET)
    assert found is not None and found.file.read_bytes() == DATA
    assert kept(tmp_path) == [PIN.name]


def test_a_kill_at_any_moment_leaves_no_final_name_and_the_next_run_goes_on(
    mirror: LocalMirror, tmp_path: Path
) -> None:
    script = (
        "import sys; from bundle import fetch; from bundle.progress import Progress; from pathlib import Path;"
        "fetch.fetch(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Progress(quiet=True), '')"
    )
    place = tmp_path / "out" / PIN.name
    command = [sys.executable, "-c", script, PIN.url, PIN.sha256, str(place)]
    mirror.faults = ["slow"] * 9
    for share in (0.2, 0.4, 0.6, 0.8):
        with subprocess.Popen(command, cwd=ROOT) as child:
            part = place.with_name(f"{PIN.name}.part")
            deadline = time.monotonic() + 30
            while not (part.exists() and part.stat().st_size > share * len(DATA)) and time.monotonic() < deadline:
                time.sleep(0.002)
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL and not place.exists()
    subprocess.run(command, cwd=ROOT, check=True)
    assert place.read_bytes() == DATA
    began = [int(span.removeprefix("bytes=").rstrip("-")) for _, span in mirror.asked if span]
    assert len(began) == 4 and began == sorted(began) and began[0] > 0


def test_a_mirror_may_be_a_folder(mirror: LocalMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pins.MIRROR, f"file://{mirror.folder}")
    found = interpreter.collect(CHOICE, TARGET, QUIET)
    assert found is not None and mirror.asked == []
    monkeypatch.setenv(pins.MIRROR, "file:///nowhere")
    found.file.unlink()
    with pytest.raises(CollectError, match="file:///nowhere/"):
        interpreter.collect(CHOICE, TARGET, QUIET)


def test_an_archive_that_is_not_what_its_pin_says_is_refused(mirror: LocalMirror) -> None:
    pins.FILE.write_text(pins.render([Pin("3.11", "x86_64", "3.11.8", PIN.build, PIN.sha256)]))
    (mirror.folder / PIN.build / PIN.name).rename(mirror.folder / PIN.build / PIN.name.replace("3.11.9", "3.11.8"))
    with pytest.raises(IntegrityError, match=r"holds Python 3\.11\.9"):
        interpreter.collect(CHOICE, TARGET, QUIET)
