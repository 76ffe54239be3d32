"""Every check of `ferry doctor` and of an install: on a good server it is good, and there is a server that fails it."""

from __future__ import annotations

import types
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import hosts
import pytest
from hosts import VOLUMES, changed, good_facts, good_subject

from checksums.errors import HostError
from installer import checks_disk, checks_machine, checks_service, checks_system, present_checks
from installer.checks import GIB, MIB, Check, Question, judge
from installer.checks_service import SERVICE
from installer.facts import Account, Facts, Python, Unknown, Volumes
from installer.places import places_of
from installer.preflight import QUESTIONS, demand, warnings

ALL = (*SERVICE, *QUESTIONS)
PERSON = Account("ferry", "/home/ferry", "/bin/bash")
HOME = places_of(Path("/home/me/ferry"), is_user=False)


@dataclass(frozen=True)
class Broken:
    """What differs from the good server and the good subject; `also` are checks that fail for the same reason."""

    facts: dict[str, Any] = field(default_factory=dict)
    subject: dict[str, Any] = field(default_factory=dict)
    is_user: bool = False
    also: frozenset[str] = frozenset()


def without_tool(name: str) -> Broken:
    return Broken({"system.tools": {tool: path for tool, path in good_facts().system.tools.items() if tool != name}})


def python(**changes: Any) -> Python:
    return replace(good_facts().python, **changes)  # type: ignore[type-var]


TOOLS = (
    "systemctl", "systemd-sysusers", "systemd-tmpfiles", "journalctl", "getent", "userdel", "ssh-keygen", "sha256sum",
    "tar", "gzip",
)  # fmt: skip
FAILING: dict[str, Broken] = {
    # what is installed
    "release": Broken({"service.release_problem": "/opt/ferry/current: no such link"}),
    "settings": Broken({"service.settings_problem": "ferry.toml: [engine] threds: no such key"}),
    "settings private": Broken({"service.settings_mode": 0o644}),
    "service": Broken({"service.state": "failed"}),
    "encryption": Broken({"service.warning": "passwords cross the network in clear"}),
    "running": Broken({"service.state": "stopped"}),
    "ready": Broken({"service.is_ready": False}),
    # rights, programs and what an administrator set up
    "root": Broken({"machine.euid": 1000}),
    "systemd": Broken({"system.is_systemd_running": False}),
    "systemd version": Broken({"system.systemd": 219}, also=frozenset({"systemd directives"})),
    "systemd directives": Broken({"system.systemd": 241}),
    **{name: without_tool(name) for name in TOOLS},
    "user isolation": Broken({"system.isolates_users": False}, is_user=True),
    "apparmor": Broken({"system.restricts_namespaces": True}, is_user=True),
    "selinux": Broken({"system.selinux": "enforcing", "system.tools": {n: n for n in TOOLS}}),
    "openssh": Broken({"system.openssh": (8, 0)}, also=frozenset({"openssh dates"})),
    "openssh dates": Broken({"system.openssh": (8, 4)}),
    "clock": Broken({"machine.now": 0.0}, also=frozenset({"clock after build"})),
    "clock after build": Broken(subject={"manifest.created": "2035-01-01T00:00:00Z"}),
    "umask": Broken({"machine.umask": 0}),
    "python place": Broken({"python.program": Path("/root/conda/bin/python3.11")}),
    "other installation": Broken({"earlier.other_prefix": "/srv/ferry"}),
    "earlier mode": Broken({"earlier.mode": "user"}),
    "state": Broken({"earlier.problem": "/opt/ferry/state.json: damaged"}),
    "leftovers": Broken({"earlier.leftovers": (".staging-x", "journal")}),
    "users": Broken({"system.accounts": (PERSON,)}),
    "listen": Broken({"network.busy": "Address already in use"}),
    "privileged port": Broken({"network.listen": "0.0.0.0:443"}),
    "loopback": Broken({"network.has_loopback": False}),
    # the machine
    "architecture": Broken(subject={"manifest.target": replace(hosts.manifest().target, platform="aarch64")}),
    "cpu": Broken({"machine.cpu_flags": frozenset({"avx2", "fma", "ssse3"})}),
    "cpu vectors": Broken({"machine.cpu_flags": good_facts().machine.cpu_flags - {"avx2"}}),
    "cores": Broken({"machine.cores": 1}),
    "kernel": Broken({"machine.kernel": "3.10.0-1160.el7.x86_64"}),
    "namespaces": Broken({"machine.namespaces": frozenset({"mnt", "net", "uts", "ipc"})}),
    "seccomp": Broken({"machine.has_seccomp": False}),
    "glibc": Broken({"machine.glibc": "2.27"}, also=frozenset({"wheels"})),
    "wheels": Broken({"machine.glibc": "2.27"}, {"manifest.target.glibc": "2.17"}),
    "python": Broken({"python": python(version="3.9.2", abi="cpython-39-x86_64-linux-gnu")}),
    "python build": Broken({"python": python(abi="cpython-311d-x86_64-linux-gnu")}),
    "python modules": Broken({"python.missing": ("sqlite3",)}),
    "memory": Broken({"memory.total_bytes": GIB, "memory.available_bytes": 2 * GIB}),
    "memory available": Broken({"memory.available_bytes": GIB}),
    "memory limit": Broken({"memory.limit_bytes": GIB}),
    "memory overcommit": Broken({"memory.committable_bytes": GIB}),
    "swap": Broken({"memory.swap_bytes": 0, "memory.total_bytes": 2 * GIB}),
    "control groups": Broken({"memory.cgroup": "v1"}),
    "file size limit": Broken({"limits.file_bytes": GIB - 1}),
    "open files": Broken({"limits.open_files": 256}, is_user=True),
    "address space": Broken({"limits.address_space_bytes": 2 * GIB}, is_user=True),
    "processes": Broken({"limits.processes": 100}, is_user=True),
    "tasks": Broken({"limits.tasks_left": 20}),
    # disks
    "disk": Broken({"volumes.prefix.free_bytes": 2 * GIB}, also=frozenset({"disk next"})),
    "disk next": Broken({"volumes.prefix.free_bytes": 5 * GIB}),
    "disk inodes": Broken({"volumes.prefix.free_inodes": 1000}),
    "disk data": Broken({"volumes.data.free_bytes": MIB}),
    "disk log": Broken({"volumes.log.free_bytes": MIB}),
    "disk cache": Broken({"volumes.cache.free_bytes": MIB}),
    "disk settings": Broken({"volumes.etc.free_bytes": 0}),
    "disk run": Broken({"volumes.run.free_bytes": 0}),
    "disk temporary": Broken({"volumes.temporary.is_writable": False}),
    "prefix": Broken(subject={"places": places_of(Path('/opt/with"quote'), is_user=False)}),
    "prefix place": Broken({"volumes.prefix.real": Path("/home/disk")}),
    "prefix writable": Broken({"volumes.prefix.options": frozenset({"ro"})}),
    "prefix exec": Broken({"volumes.prefix.options": frozenset({"rw", "noexec"})}),
    "prefix nosuid": Broken({"system.selinux": "enforcing", "volumes.prefix.options": frozenset({"rw", "nosuid"})}),
    "prefix links": Broken({"volumes.prefix.kind": "exfat"}),
    "prefix case": Broken({"volumes.prefix.is_case_blind": True}),
    "prefix kind": Broken({"volumes.prefix.kind": "tmpfs"}),
    "data kind": Broken({"volumes.data.kind": "nfs4"}),
    "system folders": Broken({"volumes.command.options": frozenset({"ro"})}),
    "open folders": Broken({"volumes.etc.is_open": False}),
    "socket path": Broken(subject={"places": places_of(Path("/opt" + "/folder" * 20), is_user=True)}, is_user=True),
}


def failed(facts: Facts, subject: Any) -> dict[str, Check]:
    return {check.name: check for check in judge(ALL, facts, subject) if not check.ok}


@pytest.mark.parametrize("is_user", [False, True], ids=["root", "user"])
def test_on_a_good_server_every_check_is_good(is_user: bool) -> None:
    checks = judge(ALL, good_facts(is_user), good_subject(is_user))
    assert [check for check in checks if not check.ok] == []
    assert len(checks) > 50
    demand(checks)


@pytest.mark.parametrize("name", FAILING)
def test_the_check_fails_on_a_server_that_lacks_it_and_says_how_to_mend_it(name: str) -> None:
    broken = FAILING[name]
    facts, subject = good_facts(broken.is_user), good_subject(broken.is_user)
    found = failed(changed(facts, broken.facts), changed(subject, broken.subject))
    assert set(found) == {name, *broken.also}
    assert found[name].found and found[name].needed and found[name].hint


def test_no_check_is_without_such_a_server() -> None:
    assert sorted(question.name for question in ALL) == sorted(FAILING)
    assert len(ALL) >= 30


@pytest.mark.parametrize("module", [checks_disk, checks_machine, checks_service, checks_system])
def test_no_check_is_written_and_never_asked(module: types.ModuleType) -> None:
    assert [name for name, made in vars(module).items() if isinstance(made, Question) and made not in ALL] == []


@pytest.mark.parametrize("part", [part.name for part in fields(Facts)])
def test_what_cannot_be_found_out_is_a_finding_that_forbids_nothing(part: str) -> None:
    facts = changed(good_facts(), {part: Unknown("Permission denied: /proc")})
    found = failed(facts, good_subject())
    assert found and not any(check.forbids for check in found.values())
    assert {check.found for check in found.values()} == {"cannot be told: Permission denied: /proc"}


@pytest.mark.parametrize("place", [place.name for place in fields(Volumes)])
def test_a_disk_that_cannot_be_looked_at_hides_no_other(place: str) -> None:
    found = failed(changed(good_facts(), {f"volumes.{place}": Unknown("Input/output error")}), good_subject())
    assert found and all("Input/output error" in check.found for check in found.values())
    assert len(found) < len(ALL) // 4


def test_all_that_forbids_is_said_at_once_and_advice_is_not_among_it() -> None:
    facts = changed(good_facts(), {"memory.total_bytes": GIB, "machine.cores": 1, "machine.euid": 1})
    checks = judge(ALL, facts, good_subject())
    with pytest.raises(HostError) as raised:
        demand(checks)
    assert "root: found user id 1, needed root" in raised.value.message
    assert "memory: found 1.0 GiB, needed 2.0 GiB" in raised.value.message and "larger server" in raised.value.hint
    assert "cores" not in raised.value.message
    assert [line for line in warnings(checks) if line.startswith("cores: found 1")]


def test_a_disk_that_holds_the_bundle_but_not_its_environment_is_refused_with_both_figures() -> None:
    found = failed(changed(good_facts(), {"volumes.prefix.free_bytes": 3 * GIB // 2}), good_subject())["disk"]
    assert found.forbids
    assert (found.found, found.needed) == (
        "1.5 GiB free in /opt",
        "3.0 GiB: 1.0 GiB for the bundle's files, 2.0 GiB for its Python environment",
    )


def test_memory_for_a_longer_context_is_asked_for() -> None:
    found = failed(changed(good_facts(), {"room.context_bytes": 15 * GIB}), good_subject())
    assert found["memory"].forbids and found["memory"].needed == "17.0 GiB for weights and context"


def test_what_lands_on_one_disk_is_added_up() -> None:
    everything = replace(VOLUMES.prefix, free_bytes=3 * GIB)
    facts = replace(good_facts(), volumes=Volumes(*[everything] * len(fields(Volumes))))
    found = failed(changed(facts, {"room.data_bytes": GIB}), good_subject())
    assert "1.0 GiB for a copy of the data while it is upgraded" in found["disk"].needed
    assert "data, logs and settings" in found["disk"].needed and "disk data" not in found


def test_an_environment_that_is_here_already_takes_no_room() -> None:
    facts = changed(
        good_facts(), {"room.has_environment": True, "room.payload_bytes": MIB, "volumes.prefix.free_bytes": GIB}
    )
    assert "disk" not in failed(facts, good_subject())


def test_what_is_installed_needs_only_room_to_grow() -> None:
    facts = changed(good_facts(), {"volumes.prefix.free_bytes": GIB, "memory.available_bytes": MIB})
    found = failed(facts, changed(good_subject(), {"is_installed": True}))
    assert set(found) == {"disk next"}


def test_a_carried_interpreter_is_not_asked_for_on_the_server() -> None:
    carried = replace(hosts.manifest(), python=replace(hosts.manifest().python, source="archive", version="3.11.9"))
    subject = replace(good_subject(), manifest=carried, is_carried=True)
    checks = {check.name: check for check in judge(ALL, replace(good_facts(), python=None), subject)}
    assert checks["python"].found == "3.11.9, carried" and "python modules" not in checks


def test_an_interpreter_that_does_not_run_is_named() -> None:
    gone = Python(Path("/usr/bin/python3.11"), problem="command not found")
    found = failed(replace(good_facts(), python=gone), good_subject())
    assert found["python"].found == "/usr/bin/python3.11: command not found" and set(found) == {"python"}


def test_an_interpreter_that_others_cannot_reach_does_not_serve_units() -> None:
    found = failed(changed(good_facts(), {"python.is_reachable": False}), good_subject())
    assert set(found) == {"python place"}


def test_the_table_fits_a_hundred_columns_and_good_checks_one_line() -> None:
    facts = changed(
        good_facts(), {"machine.cores": 1, "memory.total_bytes": GIB, "volumes.prefix.folder": Path("/x" * 90)}
    )
    checks = judge(ALL, facts, good_subject())
    lines = list(present_checks.lines(checks))
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("ok ") for line in lines) == sum(check.ok for check in checks)
    assert lines[-2].startswith("FAIL  memory") and "larger server" in lines[-1]
    assert present_checks.summary(checks) == f"{len(checks)} checks: 1 failed, 1 to know about, {len(checks) - 2} good"
