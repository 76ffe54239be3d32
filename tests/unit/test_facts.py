"""Where the checks' facts come from: what the kernel, programs and file names say, and what this server answers."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import fields
from pathlib import Path

import hosts
import pytest
import small_bundle

from checksums.errors import FerryError
from checksums.manifest import Manifest
from installer import (
    context_memory,
    directives,
    doctor,
    facts_disk,
    facts_host,
    facts_system,
    preflight,
    speed,
    state,
    wheel_tags,
)
from installer.checks import Subject
from installer.facts import Facts, Unknown, UnknownFact, Volume, attempt, unknown
from installer.gathering import gather
from installer.places import places_of
from installer.wheel_tags import Host

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:30 / /srv/with\\040blank rw,nosuid,noexec - xfs /dev/vdb rw
31 30 0:31 / /srv/with\\040blank/deep rw,relatime master:2 - nfs4 10.0.0.1:/x ro,vers=4.2
32 31 0:32 / /srv/with\\040blank/deep rw,relatime - tmpfs none rw
"""


def test_every_part_of_this_server_can_be_gathered(tmp_path: Path) -> None:
    there = places_of(tmp_path / "not" / "yet", is_user=True)
    facts = gather(Subject(hosts.manifest(), there, "127.0.0.1:0"))
    assert [part.name for part in fields(Facts) if isinstance(getattr(facts, part.name), Unknown)] == []
    assert all(isinstance(volume, Volume) for volume in vars(facts.volumes).values())
    assert facts.volumes.prefix.folder == tmp_path and facts.machine.euid == os.geteuid()
    assert facts.python and facts.python.version == ".".join(map(str, sys.version_info[:3]))
    assert not (tmp_path / "not").exists()


def test_a_gathering_without_any_manifest_still_tells_of_the_server(tmp_path: Path) -> None:
    subject = Subject(unknown(Manifest, "no manifest"), places_of(tmp_path, is_user=True), None)
    checks = preflight.examine(subject)
    assert {check.found for check in checks if check.name == "glibc"} == {"cannot be told: no manifest"}
    assert next(check for check in checks if check.name == "loopback").ok


def test_a_step_that_fails_stands_for_itself() -> None:
    made = attempt(lambda: Path("/no/such/file").read_text())
    with pytest.raises(UnknownFact, match="No such file"):
        made.anything  # noqa: B018


@pytest.mark.parametrize(
    ("path", "kind", "option"),
    [
        ("/opt", "ext4", "relatime"),
        ("/srv/with blank/x", "xfs", "noexec"),
        ("/srv/with blank/deep/x", "tmpfs", "rw"),
        ("/srv/with blankets", "ext4", "rw"),
    ],
)
def test_the_mount_of_a_path_is_the_innermost_and_the_last_there(path: str, kind: str, option: str) -> None:
    found = facts_disk.mount_of(Path(path), MOUNTS)
    assert found[0] == kind and option in found[1]


def test_a_read_only_file_system_is_seen_behind_a_writable_mount() -> None:
    assert "ro" in facts_disk.mount_of(Path("/srv/with blank/deep"), MOUNTS.rsplit("32 31", 1)[0])[1]


@pytest.mark.parametrize(
    ("said", "version"),
    [("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19", (9, 2)), ("OpenSSH_10.0p2", (10, 0)), ("dropbear", ())],
)
def test_the_version_of_openssh_is_read(said: str, version: tuple[int, ...]) -> None:
    assert facts_system.openssh_of(said) == version


def test_the_version_of_systemd_is_read() -> None:
    assert facts_system.systemd_of("systemd 252 (252.39-1~deb12u2)\n+PAM") == 252
    assert facts_system.systemd_of("sysvinit") is None


def test_an_interpreter_is_asked_for_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_system, "MODULES", ("zlib", "no_such_module"))
    found = facts_system.python(Path(sys.executable))
    assert (found.implementation, found.missing, found.problem) == ("cpython", ("no_such_module",), "")
    assert found.abi.startswith(f"cpython-{sys.version_info[0]}{sys.version_info[1]}")
    assert "command not found" in facts_system.python(Path("/no/such/python")).problem
    assert facts_system.python(Path("/bin/false")).problem
    assert facts_system.python(Path("/")).problem


@pytest.mark.parametrize("is_user", [True, False])
def test_the_tightest_control_group_above_the_service_counts(
    is_user: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    groups = tmp_path / "fs" / "cgroup"
    for folder, limit in (("user.slice/one", "max"), ("user.slice", "5000"), ("system.slice", "7000")):
        (groups / folder).mkdir(parents=True, exist_ok=True)
        (groups / folder / "memory.max").write_text(limit)
    (groups / "cgroup.controllers").write_text("memory pids")
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/user.slice/one\n")
    (tmp_path / "meminfo").write_text("MemTotal: 8 kB\nMemFree: 4 kB\nCommitLimit: 9 kB\nCommitted_AS: 2 kB\n")
    (tmp_path / "sys" / "vm").mkdir(parents=True)
    (tmp_path / "sys" / "vm" / "overcommit_memory").write_text("2\n")
    monkeypatch.setattr(facts_host, "PROC", tmp_path)
    monkeypatch.setattr(facts_host, "SYS", tmp_path)
    found = facts_host.memory(is_user)
    assert (found.cgroup, found.limit_bytes) == ("v2", 5000 if is_user else 7000)
    assert (found.total_bytes, found.committable_bytes) == (8192, 7 * 1024)


def test_a_control_group_of_the_first_version_without_a_limit_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    group = tmp_path / "fs" / "cgroup" / "memory" / "docker" / "x"
    group.mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("4:cpu,memory:/docker/x\n")
    monkeypatch.setattr(facts_host, "PROC", tmp_path)
    monkeypatch.setattr(facts_host, "SYS", tmp_path)
    (group / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert facts_host._group_limit("memory.max", "memory", "memory.limit_in_bytes", is_user=True) is None
    (group.parent / "memory.limit_in_bytes").write_text("1024\n")
    assert facts_host._group_limit("memory.max", "memory", "memory.limit_in_bytes", is_user=True) == 1024


def test_what_the_store_holds_and_an_environment_that_is_made_take_no_room(tmp_path: Path) -> None:
    there = places_of(tmp_path, is_user=True)
    files = {"install.pyz": b"12345", hosts.WHEEL: b"wheel"}
    manifest = small_bundle.manifest(small_bundle.Recipe(), files)
    before = facts_disk.room(manifest, there, Path("/usr/bin/python3"))
    assert (before.payload_bytes, before.has_environment) == (10, False)
    stored = there.stored(small_bundle.digest(b"wheel"))
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"wheel")
    name = facts_disk.environment.digest_of(manifest, Path("/usr/bin/python3"))
    (there.venvs / name).mkdir(parents=True)
    after = facts_disk.room(manifest, there, Path("/usr/bin/python3"))
    assert (after.payload_bytes, after.has_environment) == (5, True)


OLD = Host("3.11", "x86_64", (2, 17))


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-py2-none-any.whl", False),
        ("a-1-1build-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp311-cp311-manylinux1_x86_64.manylinux_2_28_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux_2_17_aarch64.whl", False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp38-abi3-manylinux_2_17_x86_64.whl", True),
        ("a-1-cp312-abi3-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp311-cp311t-linux_x86_64.whl", False),
        ("a-1-cp311-cp311-linux_x86_64.whl", True),
        ("nonsense.whl", False),
    ],
)
def test_a_wheel_fits_by_the_tags_in_its_name(file: str, fits: bool) -> None:
    assert wheel_tags.fits(file, OLD) is fits
    assert bool(wheel_tags.misfits([file], OLD)) is not fits


def test_the_glibc_that_all_wheels_take_is_the_newest_of_their_oldest() -> None:
    files = ["a-1-cp311-cp311-manylinux1_x86_64.manylinux_2_28_x86_64.whl", "b-1-cp311-cp311-manylinux_2_26_x86_64.whl"]
    assert wheel_tags.glibc_of([*files, "c-1-py3-none-any.whl"]) == "2.26"
    assert wheel_tags.glibc_of(["c-1-py3-none-any.whl"]) == ""


def test_the_table_of_directives_is_what_the_units_use() -> None:
    texts = [path.read_text() for path in (small_bundle.ROOT / "systemd").glob("*") if ".conf" not in path.name]
    used = {name for text in texts for name in re.findall(r"^([A-Za-z]+)=", text, re.MULTILINE)}
    assert used - directives.ALWAYS - set(directives.SINCE) == set(), "say in directives.py since which systemd"
    assert used & set(directives.SINCE) == directives.USED | directives.SPARED
    assert not directives.ALWAYS & set(directives.SINCE)
    assert directives.unknown_to(directives.newest()) == []
    assert "ProtectProc (247)" in directives.unknown_to(246)


def test_the_expected_speed_holds_what_was_measured() -> None:
    # Qwen1.5-0.5B in float32 at 24 GB/s: 6.8 to 8 tokens a second, the memory limit is near 14.
    found = speed.estimate(24e9, speed.weight_bytes(_of(464_000_000), "float32"))
    assert found.low < 6.8 and found.high > 8 and 12 < found.most < 14
    assert found.text == "speed to expect: about 6 to 8 tokens a second in one short chat (memory reads 24 GB/s)"
    assert speed.estimate(24e9, speed.weight_bytes(_of(464_000_000), "int8")).low > found.high
    assert "about 0.3 to 0.4 tokens" in speed.estimate(24e9, 40_000_000_000).text


def test_memory_is_really_read() -> None:
    assert speed.bandwidth(threads=2, free_bytes=0, duration_s=0.02) > 1e7
    reader = speed._Reader(1 << 20)
    turns = iter([True, True, False])
    assert reader.read(lambda: next(turns)) == 2 << 20
    assert reader.search(reader.address, 0, reader.size) is None and reader.search(reader.address, 1, reader.size)


def test_a_longer_context_in_the_settings_is_counted(tmp_path: Path) -> None:
    there = places_of(tmp_path, is_user=True)
    assert context_memory.extra_bytes(there) == 0
    there.etc.mkdir()
    there.config.write_text("[engine]\ncontext_tokens = 8192 # long\nslots = 2\n")
    (there.current / "model").mkdir(parents=True)
    (there.current / "model" / "config.json").write_text("[]")
    assert context_memory.extra_bytes(there) == 0
    # Qwen1.5-0.5B: 192 KiB a token.
    qwen = {"num_attention_heads": 16, "num_key_value_heads": 16, "hidden_size": 1024, "num_hidden_layers": 24}
    (there.current / "model" / "config.json").write_text(json.dumps(qwen))
    assert context_memory.extra_bytes(there) == (2 * 8192 - 2048) * 192 * 1024
    assert facts_disk.room(hosts.manifest(), there, Path("/usr/bin/python3")).context_bytes > 0


def test_the_precision_is_what_the_settings_say(tmp_path: Path) -> None:
    there = places_of(tmp_path, is_user=True)
    assert speed.precision_of(there) == "float32"
    there.etc.mkdir()
    there.config.write_text('[engine]\nprecision = "int8"\n')
    assert speed.precision_of(there) == "int8"


DAMAGED = {
    "empty": b"",
    "cut": b"{",
    "no object": b"[]",
    "incomplete": b'{"mode": "user"}',
    "no text": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "numbers": b'{"mode": "user", "release": 5, "version": "1", "sequence": 1, "python": "x"}',
    "no mode": b'{"mode": [], "release": "5", "version": "1", "sequence": 1, "python": "x"}',
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_state_is_found_damaged_whatever_is_in_it(data: bytes, tmp_path: Path) -> None:
    there = places_of(tmp_path, is_user=True)
    there.state.write_bytes(data)
    with pytest.raises(FerryError, match="damaged"):
        state.read(there)
    assert "damaged" in facts_system.earlier(there).problem
    assert doctor.find(tmp_path)[1] is None


def _of(parameters: int) -> Manifest:
    made = hosts.manifest()
    return hosts.changed(made, {"model.parameters": parameters})  # type: ignore[no-any-return]


@pytest.mark.parametrize(("mode", "is_open"), [(0o755, True), (0o751, True), (0o750, False), (0o700, False)])
def test_a_folder_that_the_services_users_cannot_pass_is_closed(tmp_path: Path, mode: int, is_open: bool) -> None:
    tmp_path.chmod(mode)
    assert facts_disk._is_open(tmp_path) is is_open
