"""`ferry doctor` as root under a real systemd: what an install refuses first, what is said and reported afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_bundle
from container import Container
from roots import server_root
from small_bundle import Recipe

pytestmark = pytest.mark.e2e
SECRET = "s3cret-of-a-drop-in"


@pytest.fixture(scope="module")
def server() -> Iterator[Container]:
    made = Container(server_root())
    medium = made.folder / "medium"
    key = small_bundle.make_key(made.folder / "key")
    # Debian 12's own Python.
    small_bundle.make(medium, Recipe(keys=(key,), python="3.11"))
    shutil.copy(small_bundle.ROOT / "installer" / "install.sh", medium)
    shutil.copy(key.with_suffix(".allowed"), medium / "list")
    made.show("/media/usb", medium)
    with made:
        yield made


def install(server: Container, *words: str, status: int = 0) -> Any:
    command = ["sh", "/media/usb/install.sh", "--allowed-signers", "/media/usb/list", "--json", *words]
    done = server.run(command, check=False, timeout_s=200)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def doctor(server: Container, *words: str, status: int = 0, before: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    command = [*before, "ferry", "doctor", "--quick", "--json", *words]
    done = server.run(command, check=False, timeout_s=100)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def bad(checks: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, check in checks.items() if not check["ok"] and check["severity"] == "must"}


def test_what_the_units_could_not_use_is_refused_before_anything_is_made(server: Container) -> None:
    before = server.listing("/opt", "/etc/systemd/system")
    server.run(["useradd", "--create-home", "--shell", "/bin/bash", "ferry"])
    said = install(server, "--listen", "0.0.0.0:443", "--prefix", "/home/ferry/opt", status=4)["error"]
    server.run(["userdel", "--remove", "ferry"], check=False)
    assert "privileged port: found port 443, needed 1024 or higher" in said
    assert "users: found ferry with home /home/ferry, shell /bin/bash" in said
    assert "prefix place: found /home/ferry/opt" in said
    assert server.listing("/opt", "/etc/systemd/system") == before


def test_what_was_installed_is_found_fit(server: Container) -> None:
    install(server)
    checks = doctor(server)
    assert bad(checks) == set() and len(checks) >= 55
    assert checks["root"]["ok"] and checks["ready"]["ok"] and checks["users"]["ok"]
    assert checks["systemd directives"]["ok"] and checks["systemd version"]["found"] == "252"
    assert checks["python place"]["found"] == "/usr/bin/python3.11"
    # A cgroup-v1 machine accepts limits and does not enforce them: that is told.
    is_v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert checks["control groups"]["ok"] is is_v2


def test_anybody_may_ask_and_learns_that_only_root_sees_all(server: Container) -> None:
    checks = doctor(server, status=4, before=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    assert "root" in bad(checks) and checks["glibc"]["ok"]


def test_the_report_has_the_units_and_the_journal_and_no_secret_of_a_drop_in(server: Container) -> None:
    folder = "/etc/systemd/system/ferry.service.d"
    text = f"[Service]\\nEnvironment=PROXY=http://u:{SECRET}@10.0.0.1\\n"
    server.run(["sh", "-c", f"mkdir -p {folder}; printf '{text}' > {folder}/site.conf; systemctl daemon-reload"])
    server.run(["ferry", "stop"])
    checks = doctor(server, "--report", "/root/report.txt")
    assert checks["running"]["found"] == "stopped"
    report = server.run(["cat", "/root/report.txt"]).stdout
    assert SECRET not in report
    for needle in ("ActiveState=inactive", "PrivateNetwork=yes", f"DropInPaths={folder}/site.conf", "0 problems"):
        assert needle in report, needle
    assert "systemd[1]: Started ferry.service" in report
    assert server.run(["stat", "-c", "%a %U", "/root/report.txt"]).stdout.split() == ["600", "root"]
