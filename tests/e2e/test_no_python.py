"""A Debian 12 from which every Python was removed: the bundle brings its own, as root and as a plain user.

One server for the file. The interpreter was compiled on Debian 11 and is laid out as those that are fetched.
"""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import old_python
import pytest
import relocatable
import small_bundle
import syscalls
from demo_bundle import CHECKOUT, carrying_bundle, next_bundle
from lifecycle import Lifecycle
from roots import server_root
from servers import REMOVE_PYTHON, Server, booted
from small_bundle import Recipe

FIND = "find / -xdev -path '*/bin/python*' -o -xdev -name 'libpython3*.so*' -o -xdev -name os.py"
AS_ALICE = ["runuser", "-u", "alice", "--", "env", "HOME=/home/alice", "PATH=/usr/bin:/bin"]
TRUST = ["--allowed-signers", "/media/small/list", "--yes"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a medium with two versions of the small bundle."""
    medium = tmp_path_factory.mktemp("small")
    key = small_bundle.make_key(tmp_path_factory.mktemp("key") / "key")
    recipe = Recipe(keys=(key,), python=old_python.PYTHON, glibc=old_python.GLIBC, interpreter=relocatable.of_oldest())
    small_bundle.make(medium / "1", recipe)
    small_bundle.make(medium / "2", replace(recipe, version="2.0.0", sequence=2))
    shutil.copy(CHECKOUT / "installer" / "install.sh", medium)
    shutil.copy(key.with_suffix(".allowed"), medium / "list")
    medium.chmod(0o755)
    return medium


@pytest.fixture(scope="module")
def media(small: Path) -> dict[str, Path]:
    bundle = carrying_bundle(relocatable.of_oldest(), old_python.GLIBC)
    return {"usb": bundle.folder, "next": next_bundle(bundle).folder, "small": small}


@pytest.fixture(scope="module")
def server(media: dict[str, Path]) -> Iterator[Server]:
    prepare = f"{REMOVE_PYTHON}; useradd --create-home alice"
    with booted(server_root(), prepare=prepare, **media) as made:
        yield made


def test_there_is_no_python(server: Server) -> None:
    assert server.container.run(["sh", "-c", "command -v python3 python"], check=False).returncode != 0
    assert server.container.run(["sh", "-c", FIND]).stdout == ""


def test_a_plain_user_installs_upgrades_and_removes_it(server: Server) -> None:
    for number in ("1", "2"):
        bundle = f"/media/small/{number}/{Recipe(version=f'{number}.0.0').name}.tar"
        server.container.run([*AS_ALICE, "sh", "/media/small/install.sh", bundle, "--user-mode", *TRUST], timeout_s=300)
    ferry = [*AS_ALICE, "/home/alice/ferry/bin/ferry"]
    status = json.loads(server.container.run([*ferry, "status", "--json"]).stdout)
    assert (status["state"], status["ready"], status["version"]) == ("running", True, "2.0.0")
    folders = server.container.run(["ls", "/home/alice/ferry/pythons"]).stdout.split()
    assert len(folders) == 1, "both releases share it"
    server.container.run([*ferry, "stop"])
    server.container.run([*ferry, "uninstall", "--purge"])
    assert server.container.run(["pgrep", "-u", "alice"], check=False).stdout == ""
    assert server.changes() == {}


@pytest.fixture(scope="module")
def install_log(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install as root under strace, start and all, ask ten questions, and return what was seen."""
    folder = tmp_path_factory.mktemp("strace")
    install, services = folder / "install", folder / "services"
    with syscalls.following(server.container.leader, services):
        said = server.install(partial(syscalls.tracing, install, f"{syscalls.NETWORK},{syscalls.READING}"))
        assert "unpacking Python 3.11." in said
        key = str(server.ferry("key", "add", "traced")["key"])
        for number in range(10):
            assert "".join(server.chat(key, f"What is {number} and one?", max_tokens=8))
    return install


def test_root_installs_it_and_both_units_run_what_it_brought(server: Server, install_log: Path) -> None:
    (program,) = server.programs()
    assert program.startswith("/opt/ferry/pythons/") and program.endswith("/bin/python3.11")


def test_nobody_speaks_to_another_machine(install_log: Path) -> None:
    """Not even tries to: a call to another machine would fail here, and be in the log all the same."""
    installing = syscalls.spoken_to(install_log)
    running = syscalls.spoken_to(install_log.with_name("services"))
    print(f"while it installs: {installing}; while it starts and answers ten questions: {running}")
    assert [name for name in installing | running if name.startswith("outside")] == []
    assert running["AF_UNIX"] > 10


def test_no_payload_byte_is_read_before_the_signature_holds_and_hardly_one_twice(
    media: dict[str, Path], install_log: Path
) -> None:
    (tarball,) = media["usb"].glob("*.tar")
    with tarfile.open(tarball) as tar:
        python = next(member for member in tar if "/payload/" in member.name)
    seen = syscalls.reads_of(install_log, tarball.name, gate='"verify"')
    size_bytes = tarball.stat().st_size
    print(f"read {seen.total_bytes:,} of {size_bytes:,} bytes; {seen.farthest_before:,} before the signature held")
    assert seen.is_open and 0 < seen.farthest_before <= python.offset
    assert size_bytes <= seen.total_bytes <= size_bytes * 1.02 + python.size


def test_looking_at_it_writes_nothing(server: Server) -> None:
    before = server.container.listing("/opt/ferry")
    assert server.ferry("status")["ready"] is True and server.ferry("verify")["ok"] is True
    assert server.container.listing("/opt/ferry") == before


class TestLifecycle(Lifecycle):
    pass


def test_after_a_purge_the_disk_is_as_it_was(server: Server) -> None:
    server.container.run(["ferry", "uninstall", "--purge"])
    assert server.changes() == {}
