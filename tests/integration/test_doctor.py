"""`ferry doctor` on what is really installed, in user mode: whole, stopped, broken in every way; and its report."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_bundle
from install_bench import OUTPUT, Bench, benching, tree

MIB = 1 << 20
PROMPT = "How do I tell my boss that I am ill?"
ANSWER = "Say it in one friendly sentence."
KEY = "ferry-Zr8q1Xw_0aLkTnY3dV5bC7eF9gH2iJ4kM6nP8qR0sTu"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with benching(tmp_path_factory.mktemp("doctor")) as made:
        made.install(made.recipe)
        yield made


def doctor(bench: Bench, *words: str, status: int = 0) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    found = bench.ferry("doctor", "--quick", *words, status=status)
    assert found["ok"] is (status == 0)
    return found, {check["name"]: check for check in found["checks"]}


def bad(checks: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, check in checks.items() if not check["ok"] and check["severity"] == "must"}


def test_what_was_installed_is_found_fit_and_the_speed_is_told(bench: Bench) -> None:
    before = tree(bench.prefix)
    found = bench.ferry("doctor")
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True and len(checks) >= 45
    assert set(checks["disk"]) == {"name", "ok", "found", "needed", "hint", "severity"}
    assert checks["ready"]["ok"] and checks["release"]["found"].startswith("1.0.0-1-")
    low, high = found["speed"]["tokens_per_s"]
    assert 0 < low < high and found["speed"]["bytes_per_s"] > 1e8
    assert tree(bench.prefix) == before


def test_people_get_a_table_that_ends_with_the_counts(bench: Bench) -> None:
    done = subprocess.run([str(bench.prefix / "bin" / "ferry"), "doctor", "--quick"], **OUTPUT, check=False)
    assert done.returncode == 0 and done.stderr == "ferry: examining this server\n"
    *table, last = done.stdout.splitlines()
    assert max(map(len, table)) <= 100 and "ok    glibc" in done.stdout
    assert last.startswith(f"{len([line for line in table if not line.startswith(' ')])} checks: 0 failed")


def test_a_stopped_service_is_told_and_is_no_fault_of_the_server(bench: Bench) -> None:
    bench.ferry("stop")
    _, checks = doctor(bench)
    assert (checks["running"]["ok"], checks["running"]["found"], checks["running"]["hint"]) == (
        False, "stopped", "ferry start"
    )  # fmt: skip
    assert checks["listen"]["ok"] is True
    bench.ferry("start")


def test_a_service_that_died_is_a_fault(bench: Bench) -> None:
    os.kill(int((bench.prefix / "run" / "web.pid").read_text().split()[0]), signal.SIGKILL)
    time.sleep(0.5)
    _, checks = doctor(bench, status=4)
    assert bad(checks) == {"service"}
    bench.ferry("start")


@pytest.mark.parametrize("data", [b"{", b'{"mode": "user"}'])
def test_a_damaged_state_is_named_and_everything_else_is_still_told(bench: Bench, data: bytes) -> None:
    state = bench.prefix / "state.json"
    whole = state.read_bytes()
    try:
        state.write_bytes(data)
        _, checks = doctor(bench, status=4)
        assert bad(checks) == {"state"} and "damaged" in checks["state"]["found"]
        assert checks["ready"]["ok"] and checks["wheels"]["ok"]
    finally:
        state.write_bytes(whole)


def test_a_current_release_that_is_gone_is_named_by_another_ones_program(bench: Bench) -> None:
    link = bench.prefix / "current"
    target = link.readlink()
    try:
        for broken in (Path("releases/gone"), None):
            link.unlink()
            if broken:
                link.symlink_to(broken)
            _, checks = doctor(bench, status=4)
            assert bad(checks) == {"release"} and str(link) in checks["release"]["found"]
            assert checks["wheels"]["ok"]
    finally:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def test_a_manifest_and_settings_that_cannot_be_read_are_named(bench: Bench) -> None:
    manifest = bench.prefix / "current" / "manifest.json"
    whole = manifest.read_bytes(), (bench.prefix / "etc" / "ferry.toml").read_bytes()
    try:
        manifest.write_bytes(b"{")
        (bench.prefix / "etc" / "ferry.toml").unlink()
        _, checks = doctor(bench, status=4)
        assert "settings" in bad(checks) and "manifest" in checks["wheels"]["found"]
        assert checks["loopback"]["ok"]
    finally:
        manifest.write_bytes(whole[0])
        (bench.prefix / "etc" / "ferry.toml").write_bytes(whole[1])


def test_where_no_release_is_whole_the_command_says_what_to_do(bench: Bench) -> None:
    releases = bench.prefix / "releases"
    try:
        releases.rename(bench.prefix / "elsewhere")
        done = subprocess.run([str(bench.prefix / "bin" / "ferry"), "doctor"], **OUTPUT, check=False)
        assert done.returncode == 1 and "no release is whole" in done.stderr and "install.sh" in done.stderr
    finally:
        (bench.prefix / "elsewhere").rename(releases)


def test_where_nothing_is_installed_the_server_is_examined_all_the_same(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "installer", "--prefix", str(tmp_path / "none"), "doctor", "--quick", "--json"]
    done = subprocess.run(words, **OUTPUT, cwd=small_bundle.ROOT, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 4 and "Traceback" not in done.stderr
    assert "nothing is installed" in checks["release"]["found"] and checks["loopback"]["ok"]
    assert not (tmp_path / "none").exists()


SECRETS = [
    PROMPT, ANSWER, KEY, "hunter2-db", "ldap-S3cret!", "tok3n-of-engine", "You serve the ministry of secrets", "alice",
    "commented-password", "session-cookie-value", "correct horse",
]  # fmt: skip
SETTINGS = f"""
[data]
# commented-password
url = "postgresql://ferry:hunter2-db@db/ferry"
[ldap]
bind_password = "ldap-S3cret!"
[engine.more]
url = "http://me:tok3n-of-engine@10.0.0.7/v1"
system_prompt = '''
You serve the ministry of secrets
{PROMPT}
'''
"""
LOG = f"""\
[2026-11-24 17:09:09 +0000] [6441] [INFO] Starting gunicorn 27.0.1
[2026-11-24 17:09:09 +0000] [6441] [ERROR] POST /api/conversations/{PROMPT.replace(" ", "%20")} failed
Traceback (most recent call last):
  File "/x/service/web/chat.py", line 61, in stream
    raise ValueError("{PROMPT}")
ValueError: {PROMPT}
ferry-engine: DEBUG: {{"messages": [{{"role": "user", "content": "{PROMPT}"}}], "answer": "{ANSWER}"}}
Authorization: Bearer {KEY}
Set-Cookie: session=session-cookie-value
error: ferry.toml: [data] url = "postgresql://ferry:hunter2-db@db/ferry": not available in this release; allowed: ""
user: alice password: correct horse
{ANSWER}
"""


def test_a_report_helps_and_holds_no_secret_prompt_or_answer(bench: Bench) -> None:
    config = bench.prefix / "etc" / "ferry.toml"
    whole = config.read_text()
    try:
        config.write_text(whole + SETTINGS)
        (bench.prefix / "log" / "web.log").open("a").write(LOG)
        (bench.prefix / "log" / "audit.jsonl").write_text(json.dumps({"user": "alice", "text": PROMPT}))
        (bench.prefix / "data" / "accounts").write_text("alice")
        (bench.prefix / "data" / f"{ANSWER}.txt").write_text(PROMPT)
        file = bench.folder / "report.txt"
        file.write_text("older and readable by all")
        found, _ = doctor(bench, "--report", str(file))
    finally:
        config.write_text(whole)
    data = file.read_bytes()
    assert found["report"] == str(file) and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [secret for secret in SECRETS if secret.encode() in data] == []
    text = data.decode()
    for needle in (
        "release 1.0.0-1-", "ok    glibc", "kernel: ", "state: running", "Starting gunicorn",
        '  File "/x/service/web/chat.py", line 61, in stream', "ValueError (the rest is not shown)",
        "session_hours = 12",
        "[data]\nurl = (set, not shown)", "0 problems", "manifest.json", "free in ", "files  data/…",
    ):  # fmt: skip
        assert needle in text, needle


def test_a_complaint_about_a_secret_setting_does_not_repeat_it(bench: Bench) -> None:
    """A password that the settings' own error message names, on a release whose tool says so."""
    admin = bench.prefix / "current" / "app" / "service" / "web" / "admin.py"
    whole = admin.read_bytes()
    said = 'ferry.toml: [data] url = "postgresql://ferry:hunter2-db@db": not available in this release'
    file = bench.folder / "complaint.txt"
    try:
        admin.write_text(f"import sys\nprint({json.dumps(json.dumps({'error': said, 'hint': ''}))})\nsys.exit(2)\n")
        _, checks = doctor(bench, "--report", str(file), status=4)
    finally:
        admin.write_bytes(whole)
    assert bad(checks) == {"settings"}
    assert b"hunter2" not in file.read_bytes() and b"[data] url" in file.read_bytes()
    assert "service/web/admin.py: sha256 differs" in file.read_text()


def test_a_dry_run_lists_what_would_be_in_a_report_and_writes_none(bench: Bench) -> None:
    file = bench.folder / "dry.txt"
    listed = bench.ferry("doctor", "--report", str(file), "--dry-run")
    assert len(listed["sections"]) >= 8 and listed["report"] == str(file)
    assert not file.exists()


@pytest.mark.parametrize("name", [".", "no/such/folder/report.txt"])
def test_a_report_that_can_be_no_file_is_wrong_usage(bench: Bench, name: str) -> None:
    assert bench.ferry("doctor", "--report", str(bench.folder / name), status=2)["exit_code"] == 2


@pytest.mark.e2e
def test_a_disk_for_the_bundle_but_not_for_its_environment_is_refused_up_front(tmp_path: Path) -> None:
    key = small_bundle.make_key(tmp_path / "key")
    small = Bench(tmp_path, key, tmp_path / "disk" / "ferry")
    bundle = small_bundle.make(tmp_path / "medium", replace(small.recipe, disk_bytes=700 * MIB))
    assert bundle.stat().st_size < 500 * MIB
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=500m none "$0" && "$@"; status=$?; ls -A "$0" >&2; exit $status'
    words = ["unshare", "--mount", "sh", "-c", script, str(tmp_path / "disk"), *small.command(bundle, "--json")]
    done = subprocess.run(words, **OUTPUT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 4, done.stderr
    said = json.loads(done.stdout)["error"]
    assert "disk: found 0.5 GiB free" in said
    assert " for the bundle's files, " in said and " for its Python environment" in said
    assert done.stderr.splitlines()[-1].startswith("ferry: examining this server"), "nothing was left there"
