"""Which interpreter is carried: the pins, the gate that an archive has to pass, and an archive of one's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import archives
import pytest
from archives import STUB, TARGET, Member, elf, with_, without

from bundle import interpreter, interpreter_gate, pins
from bundle.pins import Pin
from bundle.profiles import PythonChoice
from bundle.progress import Progress
from bundle.targets import PLATFORMS, PYTHONS
from checksums.errors import CollectError, FerryError, IntegrityError, UsageError
from checksums.manifest import Target

QUIET = Progress(quiet=True)
PROGRAM = "python/bin/python3.11"
HEADER = "python/include/python3.11/patchlevel.h"


@pytest.mark.parametrize("machine", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_target_has_a_pin_that_pbs_installer_confirms(python: str, machine: str) -> None:
    from pbs_installer import get_download_link

    pin = pins.find(Target(python, machine, "2.28"))
    assert pin.version.startswith(f"{python}.")
    _, (url, sha256) = get_download_link(pin.version, arch=machine, platform="linux")
    assert (url, sha256) == (pin.url, pin.sha256)
    assert pins.newest(python, machine) == pin
    assert interpreter.NAME.fullmatch(pin.name)


def test_the_pins_are_a_text_that_is_written_as_it_is_read() -> None:
    text = pins.FILE.read_text()
    assert pins.render(list(reversed(pins.parse(text)))) == text
    with pytest.raises(IntegrityError, match="line 2 is no pin"):
        pins.parse("# a comment\n3.11 x86_64 3.12.1 20250101 " + "0" * 64)
    with pytest.raises(CollectError, match=r"no Python 3\.11 for riscv64"):
        pins.find(Target("3.11", "riscv64", "2.28"))


def test_refresh_pins_what_is_new_and_says_what_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target, real = Target("3.11", "x86_64", "2.28"), pins.find(Target("3.11", "x86_64", "2.28"))
    monkeypatch.setattr(pins, "FILE", tmp_path / "interpreters.txt")
    old = Pin("3.11", "x86_64", "3.11.1", "20230116", "0" * 64)
    other = Pin("3.11", "aarch64", "3.11.1", "20230116", "1" * 64)
    pins.FILE.write_text(pins.render([old, other]))
    (said,) = pins.refresh(target)
    assert said == f"~ the interpreter, cpython 3.11.1+20230116 -> {real.version}+{real.build}"
    assert (pins.find(target), pins.find(Target("3.11", "aarch64", "2.28"))) == (real, other)
    assert pins.refresh(target) == []
    with pytest.raises(CollectError, match=r"knows no Python 3\.99"):
        pins.newest("3.99", "x86_64")


def test_a_mirror_takes_the_place_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    pin = pins.find(TARGET)
    monkeypatch.setenv(pins.MIRROR, "http://mirror.example/pbs/")
    assert pin.url == f"http://mirror.example/pbs/{pin.build}/{pin.name.replace('+', '%2B')}"


def write(folder: Path, data: bytes, name: str = "cpython-3.11.9.tar.gz") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def choose(path: Path) -> PythonChoice:
    return PythonChoice("archive", str(path), hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_good_archive_is_carried_with_its_version_and_licences(tmp_path: Path) -> None:
    path = write(tmp_path, archives.archive(*STUB, Member("python/licenses/LICENSE.zlib.txt", b"zlib\n")))
    found = interpreter.collect(choose(path), TARGET, QUIET)
    assert found is not None
    assert (found.version, found.name, found.license) == ("3.11.9", path.name, "PSF-2.0")
    assert found.license_texts == {
        "lib/python3.11/LICENSE.txt": archives.LICENCE,
        "licenses/LICENSE.zlib.txt": b"zlib\n",
    }
    assert found.unpacked_bytes == sum(len(member.body) for member in STUB) + 5
    carried = {artifact.path: artifact for artifact in interpreter.artifacts(found)}
    assert carried[f"payload/python/{path.name}"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "licenses/python/lib/python3.11/LICENSE.txt" in carried
    assert interpreter.collect(PythonChoice("host"), TARGET, QUIET) is None


def test_the_program_may_be_a_link_and_its_version_in_a_library(tmp_path: Path) -> None:
    members = with_(
        Member(PROGRAM, kind=b"2", target="../lib/python"),
        Member("python/lib/python", elf(version="none"), mode=0o755),
        Member("python/lib/libpython3.11.so.1.0", elf()),
    )
    assert interpreter_gate.examine(write(tmp_path, archives.archive(*members)), TARGET).version == "3.11.9"


REFUSED: dict[str, tuple[tuple[Member, ...], str]] = {
    "no program": (without("bin/python3.11"), "bin/python3.11 is missing"),
    "no standard library": (without("os.py"), "lib/python3.11/os.py is missing"),
    "no licence": (without("LICENSE.txt"), "licence is missing"),
    "a licence that is none": (with_(Member("python/lib/python3.11/LICENSE.txt", b"mine\n")), "licence is missing"),
    "no version in the headers": (without("patchlevel.h"), "version none, needed 3.11"),
    "another version in the headers": (with_(Member(HEADER, b'#define PY_VERSION "3.12.1"\n')), "version 3.12.1"),
    "a beta": (with_(Member(HEADER, b'#define PY_VERSION "3.11.0b1"\n')), "version none"),
    "a program of another version": (
        with_(Member(PROGRAM, elf(version="3.11.8"), mode=0o755)),
        "headers state, 3.11.9",
    ),
    "a program that is a script": (with_(Member(PROGRAM, b"#!/bin/sh\nexit 1\n", mode=0o755)), "not an ELF file"),
    "an empty program": (with_(Member(PROGRAM, b"", mode=0o755)), "not an ELF file"),
    "a program cut short": (with_(Member(PROGRAM, b"\x7fELF\2\1", mode=0o755)), "for another machine"),
    "a program nobody may run": (with_(Member(PROGRAM, elf())), "cannot be executed"),
    "a program of another machine": (with_(Member(PROGRAM, elf(183), mode=0o755)), "is for aarch64"),
    "a program of an unknown machine": (with_(Member(PROGRAM, elf(8), mode=0o755)), "is for another machine"),
    "a 32-bit program": (with_(Member(PROGRAM, elf(bits=1), mode=0o755)), "is for another machine"),
    "a library of another machine": (with_(Member("python/lib/a.so", elf(183))), "lib/a.so is for aarch64"),
    "a program for a newer glibc": (with_(Member(PROGRAM, elf(glibc="2.34"), mode=0o755)), "needs glibc 2.34"),
    "a library for a newer glibc": (with_(Member("python/lib/a.so", elf(glibc="2.29"))), "lib/a.so needs glibc 2.29"),
    "packed relocations": (
        with_(Member("python/lib/a.so", elf() + b"\0GLIBC_ABI_DT_RELR\0")),
        "lib/a.so needs glibc 2.36",
    ),
    "a program for musl": (
        with_(Member(PROGRAM, elf().replace(b"GLIBC_2.17", b"musl"), mode=0o755)),
        "not linked against glibc",
    ),
    "a free-threaded one": (
        tuple(
            Member(m.name.replace("lib/python3.11", "lib/python3.11t"), m.body, m.kind, m.target, m.mode) for m in STUB
        ),
        "lib/python3.11/os.py is missing",
    ),
    "a program that is a dangling link": (with_(Member(PROGRAM, kind=b"2", target="gone")), "python3.11 is missing"),
    "a program that is a folder": (with_(Member(PROGRAM, kind=b"5")), "python3.11 is missing"),
    "a link that leads outside": (with_(Member("python/x", kind=b"2", target="../../etc")), "leads outside"),
    "a device": (with_(Member("python/null", kind=b"3")), "is a device"),
    "the layout of a full build": (
        tuple(Member(m.name.replace("python/", "python/install/", 1), m.body, m.kind, m.target, m.mode) for m in STUB),
        "bin/python3.11 is missing",
    ),
}


@pytest.mark.parametrize(("members", "named"), REFUSED.values(), ids=REFUSED)
def test_an_archive_that_no_server_should_get_is_refused_by_name(
    tmp_path: Path, members: tuple[Member, ...], named: str
) -> None:
    path = write(tmp_path, archives.archive(*members))
    with pytest.raises(IntegrityError, match=r"^cpython-3\.11\.9\.tar\.gz: ") as caught:
        interpreter.collect(choose(path), TARGET, QUIET)
    assert named in caught.value.message and caught.value.hint


def test_an_archive_that_is_packed_otherwise_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IntegrityError, match="packed with zstd"):
        interpreter.collect(choose(write(tmp_path, b"\x28\xb5\x2f\xfd" + bytes(99))), TARGET, QUIET)
    monkeypatch.setattr(interpreter_gate.archive, "MAX_ARCHIVE_BYTES", 100)
    with pytest.raises(IntegrityError, match="larger than 100 bytes"):
        interpreter.collect(choose(write(tmp_path, archives.archive(*STUB))), TARGET, QUIET)


def test_install_sh_takes_an_archive_as_large_as_the_gate_lets_through() -> None:
    script = Path(__file__).parents[2] / "installer" / "install.sh"
    assert f"take {interpreter_gate.archive.MAX_ARCHIVE_BYTES}\n" in script.read_text()


@pytest.mark.parametrize(
    ("name", "kind"), [("python 3.tar.gz", UsageError), ("a..b.tar.gz", UsageError), ("x.zip", UsageError)]
)
def test_a_name_that_cannot_stand_in_a_bundle_is_refused(tmp_path: Path, name: str, kind: type[FerryError]) -> None:
    with pytest.raises(kind, match="not a name for an interpreter archive"):
        interpreter.collect(choose(write(tmp_path, archives.archive(*STUB), name)), TARGET, QUIET)


def test_an_archive_that_is_not_there_or_not_the_profiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        interpreter.collect(PythonChoice("archive", str(tmp_path / "a.tar.gz"), "0" * 64), TARGET, QUIET)
    path = write(tmp_path, archives.archive(*STUB))
    with pytest.raises(IntegrityError, match=f"{path.name}: sha256 is "):
        interpreter.collect(PythonChoice("archive", str(path), "0" * 64), TARGET, QUIET)


def test_the_plan_names_the_archive_without_fetching_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    planned = interpreter.plan(PythonChoice("standalone"), TARGET)
    pin = pins.find(TARGET)
    assert planned is not None
    assert (planned.name, planned.version, planned.sha256, planned.size_bytes) == (pin.name, pin.version, pin.sha256, 0)
    own = interpreter.plan(choose(write(tmp_path, archives.archive(*STUB))), TARGET)
    assert own is not None and (own.source, own.version) == ("archive", "3.11.9")
    assert str(tmp_path) not in json.dumps(vars(own))
    assert interpreter.plan(PythonChoice("host"), TARGET) is None
