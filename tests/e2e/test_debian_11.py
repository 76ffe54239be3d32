"""The whole job on a Debian 11: older systemd, glibc and OpenSSH, and a Python that is too old."""

from collections.abc import Iterator

import old_python
import pytest
import relocatable
from demo_bundle import carrying_bundle, next_bundle
from lifecycle import Lifecycle
from roots import server_root
from servers import Server, booted


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    bundle = carrying_bundle(relocatable.of_oldest(), old_python.GLIBC)
    with booted(server_root(old_python.OLDEST), usb=bundle.folder, next=next_bundle(bundle).folder) as made:
        made.install()
        yield made


def test_the_server_is_older_in_all_that_matters(server: Server) -> None:
    said = server.container.run(["sh", "-c", "python3 --version; systemctl --version; ldd --version; ssh -V 2>&1"])
    for older in ("Python 3.9.", "systemd 247 ", f"GLIBC {old_python.GLIBC}", "OpenSSH_8.4"):
        assert older in said.stdout


def test_both_units_run_the_interpreter_that_was_brought(server: Server) -> None:
    (program,) = server.programs()
    assert program.startswith("/opt/ferry/pythons/") and program.endswith("/bin/python3.11")
    server.container.run([program, "-I", "-c", "import bz2, ctypes, hashlib, lzma, sqlite3, ssl, uuid, zlib"])


class TestLifecycle(Lifecycle):
    pass


def test_nothing_failed(server: Server) -> None:
    assert server.container.run(["systemctl", "list-units", "--failed", "--no-legend", "--plain"]).stdout == ""


def test_after_a_purge_the_disk_is_as_it_was(server: Server) -> None:
    server.ferry("uninstall", "--purge")
    assert server.changes() == {}
    assert server.container.run(["pgrep", "-f", "ferry"], check=False).stdout == ""
