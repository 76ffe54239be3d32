"""The harness itself: what the other tests here call an isolated server really is one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cgroups
from container import MACHINES, Container
from roots import server_root


def test_a_container_sees_no_network_but_lo() -> None:
    with Container(server_root()) as server:
        links = server.run(["ip", "-brief", "link"]).stdout.split("\n")
        assert [line.split()[0] for line in links if line] == ["lo"]
        assert server.run(["ip", "route"]).stdout == ""
        with server.network():
            inside = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
        assert inside.split()[0] == "lo" and inside.count("\n") == 1


def test_two_containers_are_two_servers_and_a_reboot_keeps_the_disk() -> None:
    with Container(server_root()) as one, Container(server_root()) as other:
        one.put("/etc/only-here", b"kept\n")
        one.run(["sh", "-c", "echo gone >/run/only-now"])
        one.reboot()
        assert one.run(["cat", "/etc/only-here"]).stdout == "kept\n"
        assert one.run(["cat", "/run/only-now"], check=False).returncode != 0
        assert other.run(["cat", "/etc/only-here"], check=False).returncode != 0
        assert other.run(["systemctl", "is-system-running"]).stdout == "running\n"


def test_nothing_is_left_of_a_container() -> None:
    with Container(server_root()) as server:
        pass
    assert traces(server.name) == []


def test_nothing_is_left_of_a_container_whose_test_run_was_killed() -> None:
    code = "import time; from container import Container; from roots import server_root\n"
    code += "server = Container(server_root()); server.start(); print(server.name, flush=True); time.sleep(600)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        name = killed.stdout.readline().strip()
        killed.send_signal(signal.SIGKILL)
    with Container(server_root()):  # any later start sweeps the folder
        assert traces(name) == []


def traces(name: str) -> list[str]:
    """Return what still knows a container: processes, mounts, cgroups, folders."""
    deadline = time.monotonic() + 5
    while (found := list(processes(name))) and time.monotonic() < deadline:
        time.sleep(0.1)
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    folders = [MACHINES / name, *(hierarchy / name for hierarchy in cgroups.hierarchies())]
    return found + [str(folder) for folder in folders if folder.exists()]


def processes(name: str) -> list[str]:
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if name in command:
            found.append(f"{proc.name}: {command}")
    return found
