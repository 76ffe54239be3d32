"""What the probe of the hardening is asked, and how its answers are told; that it finds things is for the container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_bundle

from installer import hardening, probe
from installer.hardening import Finding
from installer.places import places_of

UNIT = """
# ferry.service
[Unit]
Description=PrivateTmp=no
[Service]
Type=notify
User=ferry
ExecStart="/srv/50%% ferry/current/venv/bin/python" -m service.web
WorkingDirectory=/srv/50%% ferry/current/app
SystemCallFilter=@system-service
SystemCallFilter=~@privileged \\
    @resources
ProtectHome=yes
Restart=on-failure
WatchdogSec=60

# ferry.service.d/override.conf
[Service]
ProtectHome=no
"""


def test_the_sandbox_is_what_the_unit_and_its_drop_ins_say() -> None:
    found = hardening.sandbox(hardening.parse(UNIT))
    assert found[:3] == [
        ("User", "ferry"),
        ("WorkingDirectory", "/srv/50% ferry/current/app"),
        ("SystemCallFilter", "@system-service"),
    ]
    assert found[3][1].split() == ["~@privileged", "@resources"]
    assert found[4:] == [("ProtectHome", "yes"), ("ProtectHome", "no")]


def test_what_an_operator_has_switched_off_is_not_asked_for() -> None:
    assert "ProtectHome" not in hardening.wanted(hardening.parse(UNIT))
    assert hardening.wanted(hardening.parse(UNIT))["User"] == "ferry"


@pytest.mark.parametrize("unit", ["ferry.service", "ferry-engine.service"])
def test_most_of_each_unit_is_tried_out(unit: str) -> None:
    directives = set(hardening.wanted(hardening.parse((small_bundle.ROOT / "systemd" / unit).read_text())))
    assert len(directives & set(probe.PROBES)) >= 18
    own = {"ferry.service": {"MemoryDenyWriteExecute"}, "ferry-engine.service": {"PrivateNetwork", "IPAddressDeny"}}
    assert own[unit] <= directives & set(probe.PROBES)


def test_the_lines_for_the_operator_name_what_does_not_hold() -> None:
    found = [Finding("ferry: PrivateTmp", True, "PrivateTmp=yes holds"), Finding("ferry: MemoryMax", False, "no: …")]
    assert hardening.lines(found) == [
        "hardening: 1 of 2 measures hold on this kernel",
        "  ferry: MemoryMax: no: …",
    ]


def test_a_refusal_counts_only_for_the_reason_that_the_sandbox_has() -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied")

    assert probe.refused(refuse) == probe.refused(refuse, 13) == ""
    assert probe.refused(refuse, 30) == "only refused by: Permission denied"
    assert probe.refused(lambda: None) == probe.POSSIBLE


def test_the_probe_runs_alone_and_a_probe_that_cannot_run_has_proved_nothing() -> None:
    source = Path(probe.__file__).read_bytes()
    asked = {"LimitNOFILE": "1", "TasksMax": "many"}
    done = subprocess.run([sys.executable, "-I", "-", json.dumps(asked)], input=source, capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["LimitNOFILE"] == "" and found["TasksMax"].startswith(probe.UNTRIED)


def test_in_user_mode_it_is_said_what_isolation_there_is(tmp_path: Path) -> None:
    there = places_of(tmp_path, is_user=True)
    there.run.mkdir()
    (there.run / "engine.pid").write_text(f"{os.getpid()} 1\n")
    network, users = hardening.probe(there)
    assert (network.holds, users.holds) == (False, False)
    assert "could reach the network" in network.detail and "run as you" in users.detail
    if os.geteuid() == 0:
        held = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
        with held:
            assert held.stdout and held.stdout.readline() == b"\n"
            (there.run / "engine.pid").write_text(f"{held.pid} 1\n")
            assert hardening.probe(there)[0].holds is True
            held.kill()


def test_labels_are_left_alone_where_there_is_no_selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "restorecon"
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/labelled\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert hardening.relabel([tmp_path, tmp_path / "not there"], selinux=tmp_path / "none") is False
    assert not (tmp_path / "labelled").exists()
    assert hardening.relabel([tmp_path, tmp_path / "not there"], selinux=tmp_path) is True
    assert (tmp_path / "labelled").read_text() == f"-R {tmp_path}\n"
