"""The installer's small parts: paths, settings, units, licence, checks, changes and their way back."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import small_bundle
from small_bundle import Recipe

from checksums.errors import FerryError, HostError, IntegrityError, UsageError
from installer import (
    environment,
    health,
    isolation,
    licence,
    lock,
    network,
    places,
    preflight,
    processes,
    settings,
    state,
    transaction,
    units,
    wrapper,
)
from installer.progress import Lines

ROOT = places.places_of(None, is_user=False)
USER = places.places_of(Path("/home/a b/ferry"), is_user=True)
TEMPLATES = small_bundle.ROOT / "systemd"


def test_a_root_installation_is_where_the_contract_says() -> None:
    assert (ROOT.prefix, ROOT.config) == (Path("/opt/ferry"), Path("/etc/ferry/ferry.toml"))
    assert (ROOT.data, ROOT.log, ROOT.cache) == (
        Path("/var/lib/ferry"),
        Path("/var/log/ferry"),
        Path("/var/cache/ferry"),
    )
    assert (ROOT.run, ROOT.wrapper) == (Path("/run/ferry"), Path("/usr/local/bin/ferry"))
    assert ROOT.environment()["FERRY_SOCKET"] == "/run/ferry/engine.sock"


def test_a_user_installation_is_below_its_prefix() -> None:
    named = (USER.config, USER.data, USER.log, USER.cache, USER.run, USER.wrapper, USER.allowed_signers)
    assert all(path.is_relative_to(USER.prefix) for path in named)


def test_the_command_quotes_its_paths() -> None:
    text = wrapper.render(USER)
    assert "for release in \"$(readlink -f '/home/a b/ferry/current')\" '/home/a b/ferry/releases'/*; do" in text
    assert '"$release/install.pyz" --prefix \'/home/a b/ferry\' "$@"' in text


def test_the_default_settings_get_the_address_and_nothing_else() -> None:
    default = (small_bundle.ROOT / "service" / "ferry.toml").read_text()
    changed = settings.render(default, "127.0.0.1:9999")
    differing = [new for old, new in zip(default.splitlines(), changed.splitlines(), strict=True) if old != new]
    assert differing == ['listen = "127.0.0.1:9999"']
    with pytest.raises(FerryError, match="listen"):
        settings.render("[web]\n", "127.0.0.1:9999")


def test_kept_settings_decide_where_ferry_listens(tmp_path: Path) -> None:
    there = places.places_of(tmp_path, is_user=True)
    assert settings.listen_of(there, None) == "127.0.0.1:8080"
    assert settings.listen_of(there, "10.0.0.1:80") == "10.0.0.1:80"
    there.config.parent.mkdir()
    there.config.write_text('[web]\nlisten = "[::1]:9000"\n')
    assert settings.listen_of(there, "10.0.0.1:80") == "[::1]:9000"


@pytest.mark.parametrize("unit", units.UNITS)
def test_units_carry_the_prefix_and_escape_percent(unit: str) -> None:
    text = units.render((TEMPLATES / unit).read_text(), places.places_of(Path("/srv/50% ferry"), is_user=False), {})
    assert "@PREFIX@" not in text
    assert 'ExecStart="/srv/50%% ferry/current/venv/bin/python" -m service.' in text
    assert units.prefix_of(text) == "/srv/50% ferry"


@pytest.mark.parametrize("unit", units.UNITS)
def test_units_are_hardened(unit: str) -> None:
    lines = (TEMPLATES / unit).read_text().splitlines()
    assert {"NoNewPrivileges=yes", "CapabilityBoundingSet=", "SystemCallFilter=@system-service"} <= set(lines)
    assert {"ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "PrivateDevices=yes"} <= set(lines)
    assert ("MemoryDenyWriteExecute=yes" in lines) == (unit == "ferry.service")
    assert ("PrivateNetwork=yes" in lines) == (unit == "ferry-engine.service")


@pytest.mark.parametrize(
    ("active", "word"),
    [
        (["active", "active"], "running"),
        (["active", "activating"], "running"),
        (["active", "inactive"], "running"),
        (["activating", "inactive"], "running"),
        (["inactive", "inactive"], "stopped"),
        (["inactive", "deactivating"], "stopped"),
        (["failed", "inactive"], "failed"),
        (["active", "failed"], "failed"),
    ],
)
def test_one_word_says_what_two_units_do(active: list[str], word: str) -> None:
    assert units.state_of(active) == word


@pytest.mark.parametrize(
    ("name", "restricted"),
    [
        ("Apache-2.0", False),
        ("apache-2.0", False),
        ("MIT", False),
        ("Tongyi Qianwen RESEARCH LICENSE", True),
        ("", True),
    ],
)
def test_a_licence_nobody_knows_counts_as_restricted(name: str, restricted: bool) -> None:
    assert licence.is_restricted(name) is restricted


def test_a_restricted_licence_needs_a_yes() -> None:
    bundle = Path("ferry.tar")
    files = {"licenses/model/LICENSE": b"", "install.pyz": b""}
    manifest = small_bundle.manifest(Recipe(license="research only"), files)
    assert "tar -xOf ferry.tar ferry-small" in licence.describe(manifest, bundle, {})
    assert "cat ferry.tar.[0-9]* | tar -xO ferry-small" in licence.describe(manifest, Path("ferry.tar.002"), {})
    text = next(file.sha256 for file in manifest.files if file.path.startswith("licenses/"))
    assert "cat /here/LICENSE" in licence.describe(manifest, bundle, {text: Path("/here/LICENSE")})
    with pytest.raises(UsageError, match="not accepted: research only"):
        licence.accept(manifest, bundle, {}, is_accepted=False, ask=None)
    with pytest.raises(UsageError):
        licence.accept(manifest, bundle, {}, is_accepted=False, ask=lambda question: False)
    licence.accept(manifest, bundle, {}, is_accepted=False, ask=lambda question: "Accept it?" in question)
    licence.accept(manifest, bundle, {}, is_accepted=True, ask=None)


@pytest.mark.parametrize(
    ("recipe", "listen", "name"),
    [
        (Recipe(architecture="s390x"), None, "architecture"),
        (Recipe(glibc="9.1"), None, "glibc"),
        (Recipe(python="3.99"), None, "python"),
        (Recipe(disk_bytes=1 << 60), None, "disk"),
        (Recipe(ram_bytes=1 << 60), None, "memory"),
        (Recipe(), "127.0.0.1:70000", "listen"),
        (Recipe(), "nonsense", "listen"),
    ],
)
def test_each_check_fails_alone_on_a_host_that_lacks_it(
    recipe: Recipe, listen: str | None, name: str, tmp_path: Path
) -> None:
    manifest = small_bundle.manifest(recipe, {"install.pyz": b""})
    there = places.places_of(tmp_path / "not" / "yet", is_user=True)
    checks = preflight.examine(preflight.Subject(manifest, there, listen, recipe.disk_bytes))
    assert [check.name for check in checks if check.forbids] == [name]
    with pytest.raises(HostError, match=f"{name}: found ") as raised:
        preflight.demand(checks)
    assert raised.value.hint and raised.value.exit_code == 4


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    manifest = small_bundle.manifest(Recipe(), {"install.pyz": b""})
    odd = places.places_of(tmp_path / 'with"quote', is_user=False)
    checks = preflight.examine(preflight.Subject(manifest, odd, None, 0))
    assert {"root", "prefix", "architecture", "ssh-keygen"} <= {check.name for check in checks if not check.ok}


def test_a_second_installation_on_one_server_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unit = units.render((TEMPLATES / "ferry.service").read_text(), ROOT, {})
    (tmp_path / "ferry.service").write_text(unit)
    monkeypatch.setattr(units, "SYSTEM", tmp_path)
    manifest = small_bundle.manifest(Recipe(), {"install.pyz": b""})
    for prefix, fits in (("/opt/ferry", True), ("/srv/ferry", False)):
        there = places.places_of(Path(prefix), is_user=False)
        found = {check.name: check for check in preflight.examine(preflight.Subject(manifest, there, None, 0))}
        assert found["other installation"].ok is fits and found["other installation"].found == "/opt/ferry"


def test_a_port_that_somebody_holds_is_busy() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        assert "in use" in network.why_busy(address)
    assert network.why_busy(address) == ""


def test_two_changes_at_once_are_not_possible(tmp_path: Path) -> None:
    said = pytest.raises(FerryError, match=f"process {os.getpid()} is changing it")
    with lock.exclusive(tmp_path), said, lock.exclusive(tmp_path):
        pass
    with lock.exclusive(tmp_path):
        pass


def test_a_folder_that_was_removed_while_one_waited_is_not_worked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prefix"
    folder.mkdir()
    taken = lock._take

    def late(descriptor: int, prefix: Path, waits: bool) -> None:
        shutil.rmtree(prefix)
        prefix.mkdir()
        taken(descriptor, prefix, waits)

    monkeypatch.setattr(lock, "_take", late)
    with pytest.raises(lock.Busy, match="removed meanwhile"), lock.exclusive(folder):
        pass


def test_a_prefix_that_another_install_took_over_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found none, this one made it, the other one was quicker with the lock."""
    there = places.places_of(tmp_path / "above" / "prefix", is_user=True)

    @contextmanager
    def quicker(prefix: Path) -> Iterator[None]:
        (prefix / "theirs").write_text("kept")
        raise lock.Busy(f"{prefix}: process 1 is changing it")
        yield

    monkeypatch.setattr(lock, "exclusive", quicker)
    with pytest.raises(lock.Busy), transaction.begin(there, "install", Lines()):
        pass
    assert (there.prefix / "theirs").read_text() == "kept"


def test_a_wheel_without_uv_in_it_is_named(tmp_path: Path) -> None:
    wheel = "payload/wheels/uv-1-py3-none-any.whl"
    manifest = small_bundle.manifest(Recipe(), {"install.pyz": b"", wheel: b""})
    place = tmp_path / "wheels" / "uv-1-py3-none-any.whl"
    place.parent.mkdir()
    for content in (b"no zip", b"PK\x05\x06" + bytes(18)):
        place.write_bytes(content)
        with pytest.raises(IntegrityError, match="holds no uv"):
            environment._uv(manifest, tmp_path, tmp_path)


@pytest.mark.parametrize("config", [b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"model_type": "../x"}'])
def test_a_config_that_says_nothing_usable_names_no_model(tmp_path: Path, config: bytes) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(config)
    assert environment.model_type(tmp_path) == ""


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    there = places.places_of(tmp_path, is_user=True)
    assert state.read(there) is None
    with pytest.raises(FerryError, match="nothing is installed"):
        state.need(there)
    there.state.write_text("{")
    with pytest.raises(FerryError, match=r"state\.json: damaged"):
        state.read(there)


def test_environments_are_shared_by_equal_wheels_and_interpreter_only(tmp_path: Path) -> None:
    wheel = {"install.pyz": b"", "payload/wheels/a-1-py3-none-any.whl": b"a"}
    one = small_bundle.manifest(Recipe(version="1.0.0"), wheel)
    two = small_bundle.manifest(Recipe(version="2.0.0"), wheel | {"payload/model/x": b"other"})
    other = small_bundle.manifest(Recipe(), wheel | {"payload/wheels/b-1-py3-none-any.whl": b"b"})
    python = Path("/usr/bin/python3")
    assert environment.digest_of(one, python) == environment.digest_of(two, python)
    assert environment.digest_of(one, python) != environment.digest_of(other, python)
    assert environment.digest_of(one, python) != environment.digest_of(one, Path("/opt/python3"))


def test_larger_weights_get_more_time() -> None:
    assert health.deadline_s(0) < health.deadline_s(1 << 30) < health.deadline_s(30 << 30)


def test_an_address_where_nobody_listens_gives_the_reason() -> None:
    assert health.get("http://127.0.0.1:1/readyz")[0] == 0
    assert health.is_ready("http://127.0.0.1:1") is False


def test_a_reused_process_number_is_not_ours() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as leader:
        try:
            stat = processes._stat(leader.pid)
            assert stat is not None
            ours = processes.Record(leader.pid, stat.started)
            reused = processes.Record(leader.pid, stat.started - 1)
            assert (processes._is_alive(ours), processes._members(ours)) == (True, [leader.pid])
            assert (processes._is_alive(reused), processes._members(reused)) == (False, [])
        finally:
            leader.kill()


@pytest.mark.parametrize("text", ["0 1", "1 1", "-5 1", "", "12", "a b"])
def test_a_record_that_names_no_process_of_ours_is_none(tmp_path: Path, text: str) -> None:
    user = processes.Processes(places.places_of(tmp_path, is_user=True))
    user.places.run.mkdir(parents=True)
    (user.places.run / "web.pid").write_text(text)
    assert user._record("web") is None


def test_without_unshare_there_is_no_isolation_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert isolation.command() == []
