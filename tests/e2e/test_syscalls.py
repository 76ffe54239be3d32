"""The watching itself: who speaks to another machine, or reads too early, is seen."""

from functools import partial
from pathlib import Path

import pytest
import syscalls
from container import Container
from roots import server_root

OUT = "echo hello 2>/dev/null >/dev/tcp/192.0.2.1/9 || :"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    made = Container(server_root())
    medium = tmp_path_factory.mktemp("medium")
    (medium / "file").write_bytes(bytes(10_000))
    made.show("/media/usb", medium)
    with made:
        yield made


def outside(log: Path) -> list[str]:
    return [name for name in syscalls.spoken_to(log) if name.startswith("outside")]


def test_a_command_that_speaks_to_another_machine_is_seen(server: Container, tmp_path: Path) -> None:
    server.run(["bash", "-c", OUT], under=partial(syscalls.tracing, tmp_path / "log", syscalls.NETWORK))
    (name,) = outside(tmp_path / "log")
    assert "AF_INET" in name and "192.0.2.1" in name


def test_a_command_that_speaks_to_loopback_is_not_held_against_it(server: Container, tmp_path: Path) -> None:
    here = OUT.replace("192.0.2.1", "127.0.0.1")
    server.run(["bash", "-c", here], under=partial(syscalls.tracing, tmp_path / "log", syscalls.NETWORK))
    assert outside(tmp_path / "log") == [] and syscalls.spoken_to(tmp_path / "log")["AF_INET"] == 1


def test_a_service_that_speaks_to_another_machine_is_seen(server: Container, tmp_path: Path) -> None:
    with syscalls.following(server.leader, tmp_path / "log"):
        server.run(["systemd-run", "--wait", "--quiet", "bash", "-c", OUT])
    assert [name for name in outside(tmp_path / "log") if "192.0.2.1" in name]


@pytest.mark.parametrize(
    ("script", "before", "total"),
    [
        ("dd if=$file bs=500 skip=2 count=1; /bin/true verify; dd if=$file bs=1000", 1500, 10_500),
        ("dd if=$file bs=1000 skip=4 count=2 | cat; cat $file; /bin/false verify", 10_000, 12_000),
        ("/bin/true verify; dd if=$file bs=100 count=1", 0, 100),
    ],
)
def test_what_is_read_of_a_file_is_counted(
    server: Container, tmp_path: Path, script: str, before: int, total: int
) -> None:
    script = f"({script.replace('$file', '/media/usb/file')}) >/dev/null 2>&1; :"
    server.run(["sh", "-c", script], under=partial(syscalls.tracing, tmp_path / "log", syscalls.READING))
    seen = syscalls.reads_of(tmp_path / "log", "file", gate='"verify"')
    assert (seen.farthest_before, seen.total_bytes) == (before, total)
    assert seen.is_open == ("/bin/true" in script)
