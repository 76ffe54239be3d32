"""verify and repair as root under a real systemd: units, owners, and the timer that watches over both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import small_bundle
import small_medium
from container import Container
from roots import server_root

pytestmark = pytest.mark.e2e
UNIT = "/etc/systemd/system/ferry.service"
LICENCE = "/opt/ferry/current/licenses/model/LICENSE"
PROGRAM = "/usr/bin/python3.11"


@dataclass(frozen=True)
class Server:
    """A container that Ferry is installed on."""

    container: Container

    def ferry(self, *words: str, status: int = 0) -> Any:
        done = self.container.run(["ferry", *words, "--json"], check=False)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def shell(self, text: str) -> str:
        return self.container.run(["sh", "-c", text], check=False).stdout.strip()

    def problems(self) -> dict[str, str]:
        return {one["path"]: one["problem"] for one in self.ferry("verify", status=3)["problems"]}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Container(server_root())
    medium = small_medium.insert(made, small_bundle.ROOT / "installer" / "install.sh")
    bundle = small_bundle.make(medium.folder, medium.recipe)
    with made:
        words = [f"/media/usb/{bundle.name}", "--allowed-signers", "/media/usb/list"]
        made.run(["sh", "/media/usb/install.sh", *words], timeout_s=200)
        yield Server(made)


def test_a_timer_that_the_operator_enables_finds_what_changed(server: Server) -> None:
    assert server.ferry("verify") == {"ok": True, "problems": []}
    assert server.shell("systemctl is-enabled ferry-verify.timer") == "disabled"
    assert (
        server.shell("systemctl enable --now --quiet ferry-verify.timer; systemctl is-active ferry-verify.timer")
        == "active"
    )
    assert server.shell("systemctl start ferry-verify && echo whole") == "whole", server.shell(
        "journalctl -u ferry-verify"
    )

    server.shell(f"echo '# mine' >> {UNIT}; chown ferry:ferry {LICENCE}; chmod 4755 /opt/ferry/current/sbom.cdx.json")
    found = server.problems()
    assert found == {
        UNIT: "is not what this release writes",
        "licenses/model/LICENSE": found["licenses/model/LICENSE"],
        "sbom.cdx.json": "mode 4755 instead of 0644",
    }
    assert found["licenses/model/LICENSE"].endswith(" instead of 0 and 0")
    assert server.shell("systemctl start ferry-verify && echo whole") == ""
    assert "ferry-verify.service" in server.shell("systemctl --failed --no-legend")
    assert f"{UNIT}: is not what this release writes" in server.shell("journalctl -u ferry-verify -o cat")


def test_repair_puts_units_and_owners_right_and_restarts_what_runs(server: Server) -> None:
    pid = server.shell("systemctl show -p MainPID ferry")
    answer = server.ferry("repair")
    assert sorted(one["path"] for one in answer["repaired"]) == [UNIT, "licenses/model/LICENSE", "sbom.cdx.json"]
    assert answer["url"] and server.shell("systemctl show -p MainPID ferry") != pid
    assert server.shell(f"grep -c mine {UNIT}") == "0" and server.shell(f"stat -c %U:%G {LICENCE}") == "root:root"
    assert server.shell("systemctl show -p NeedDaemonReload ferry") == "NeedDaemonReload=no"
    assert server.ferry("verify")["ok"] is True and server.ferry("status")["ready"] is True
    assert server.shell("systemctl start ferry-verify && echo whole") == "whole"


def test_a_python_of_the_servers_that_is_gone_is_told_with_what_to_do(server: Server) -> None:
    server.shell(f"mv {PROGRAM} {PROGRAM}.gone")
    done = server.container.run(["ferry", "verify", "--json"], check=False)
    assert done.returncode == 4 and "the Python that Ferry runs on is gone" in json.loads(done.stdout)["error"]
    server.shell(f"mv {PROGRAM}.gone {PROGRAM}")
    assert server.ferry("verify")["ok"] is True


def test_uninstall_takes_the_timer_along(server: Server) -> None:
    server.ferry("uninstall", "--yes")
    assert server.shell("systemctl list-unit-files --no-legend 'ferry*'; ls -d /etc/systemd/system/*/ferry*") == ""
    assert server.shell("systemctl list-timers --all --no-legend 'ferry*'") == ""
