"""Backup and restore in user mode, on the small bundle: a real installer, real processes, a service with accounts."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import small_bundle
from install_bench import OUTPUT, Bench, benching, tree


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Share one installation; each test leaves it running."""
    with benching(tmp_path_factory.mktemp("bench")) as made:
        made.install(made.recipe)
        yield made


@pytest.fixture
def file(bench: Bench, tmp_path: Path) -> Path:
    """A backup of an installation with an account alice and one line in its audit log."""
    log = bench.prefix / "log" / "audit.jsonl"
    log.write_text('{"event": "first"}\n')
    (bench.prefix / "data" / "accounts").write_text("admin\nalice")
    made = tmp_path / "backup.tar"
    bench.ferry("backup", str(made))
    return made


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().split()[1]


def users(bench: Bench) -> list[str]:
    return [row["user"] for row in bench.ferry("user", "list")["users"]]


def test_a_backup_is_private_whole_and_proved_by_hand(bench: Bench, tmp_path: Path) -> None:
    (bench.prefix / "etc" / "odd").symlink_to("/etc/passwd")
    half = bench.prefix / "data" / "answers" / "half"
    half.parent.mkdir()
    half.write_text("what is being written")
    made = bench.ferry("backup", str(tmp_path / "b.tar"))
    shutil.rmtree(half.parent)
    (bench.prefix / "etc" / "odd").unlink()
    assert {"data/accounts", "etc/ferry.toml", "etc/allowed_signers"} <= set(made["files"])
    assert not any(path.startswith("log/web") or "schema-wal" in path or "half" in path for path in made["files"])
    assert made["left_out"] == ["etc/odd"] and made["outside"] == "" and made["signer"] is None
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600 and (tmp_path / "b.tar").stat().st_size == made["bytes"]
    subprocess.run(["tar", "xf", "b.tar"], cwd=tmp_path, check=True)
    command = ["sha256sum", "--quiet", "-c", "SHA256SUMS"]
    subprocess.run(command, cwd=tmp_path / "ferry-backup", check=True)
    assert list((bench.prefix / "data").glob(".backup-*")) == [], "the database's copy is gone"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "ferry-backup"]


def test_without_a_name_a_backup_is_called_by_time_and_version_in_this_folder(bench: Bench, tmp_path: Path) -> None:
    command = [str(bench.prefix / "bin" / "ferry"), "backup"]
    done = subprocess.run(command, cwd=tmp_path, **OUTPUT, check=True)
    (made,) = tmp_path.iterdir()
    assert made.match("ferry-backup-2*T*Z-1.0.0.tar") and "password hashes" in done.stdout


def test_a_dry_run_of_a_backup_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    before = tree(bench.prefix)
    assert "etc/ferry.toml" in bench.ferry("backup", str(tmp_path / "b.tar"), "--dry-run")["files"]
    assert list(tmp_path.iterdir()) == [] and tree(bench.prefix) == before


def test_a_backup_that_cannot_be_written_says_why(bench: Bench, tmp_path: Path) -> None:
    wrong = {tmp_path / "absent" / "b.tar": "no such folder", tmp_path: "is no file"}
    wrong[bench.prefix / "data" / "b.tar"] = "which the backup holds"
    for place, words in wrong.items():
        assert words in bench.ferry("backup", str(place), status=2)["error"]
    assert "no such signing key" in bench.ferry("backup", str(tmp_path / "b"), "--sign-key", "nokey", status=2)["error"]


def test_restore_brings_back_accounts_and_settings_and_keeps_what_is_this_servers(bench: Bench, file: Path) -> None:
    config = bench.prefix / "etc" / "ferry.toml"
    text = config.read_text()
    data = bench.prefix / "data"
    (data / "accounts").write_text("mallory")
    (data / "accounts-wal").write_text("a log that would destroy another database")
    (data / "colours").write_text("red")
    config.write_text(text.replace("session_hours = 12", "session_hours = 1"))
    with (bench.prefix / "log" / "audit.jsonl").open("a") as log:
        log.write('{"event": "second"}\n')
    before = bench.ferry("status")
    done = bench.ferry("restore", str(file), "--yes")
    assert done["changed"] and done["notes"] == [] and done["url"] == before["url"]
    assert users(bench) == ["admin", "alice"]
    assert config.read_text() == text
    assert sorted(path.name for path in data.iterdir()) == ["accounts", "schema"]
    log_lines = (bench.prefix / "log" / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in log_lines] == ["first", "second"], "the log only grows"
    assert bench.ferry("status") == before
    hidden = [path for path in bench.prefix.rglob(".*") if not {"venvs", "app", "releases"} & set(path.parts)]
    assert hidden == [] and not (bench.prefix / "journal").exists()


def test_nothing_is_changed_by_a_dry_run_or_without_a_yes(bench: Bench, file: Path) -> None:
    (bench.prefix / "data" / "accounts").write_text("admin")
    before, running = tree(bench.prefix), bench.processes()
    assert bench.ferry("restore", str(file), "--dry-run")["changed"] is False
    command = [str(bench.prefix / "bin" / "ferry"), "restore", str(file)]
    done = subprocess.run(command, **OUTPUT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1 and "what was made since is gone" in done.stderr and "--yes" in done.stderr
    assert tree(bench.prefix) == before and bench.processes() == running


def test_a_damaged_backup_changes_nothing(bench: Bench, file: Path) -> None:
    (bench.prefix / "data" / "accounts").write_text("admin")
    before, running = tree(bench.prefix), bench.processes()
    data = file.read_bytes()
    file.write_bytes(data.replace(b"alice", b"alicf"))
    assert "data/accounts: sha256 differs" in bench.ferry("restore", str(file), "--yes", status=3)["error"]
    file.write_bytes(data[:-2000])
    assert "cut short" in bench.ferry("restore", str(file), "--yes", status=3)["error"]
    assert tree(bench.prefix) == before and bench.processes() == running


def test_a_restore_after_which_the_service_does_not_answer_is_taken_back(bench: Bench, file: Path) -> None:
    config = bench.prefix / "etc" / "ferry.toml"
    text = config.read_text()
    bad = file.with_name("bad.tar")
    config.write_text("listen = nonsense\n")
    bench.ferry("backup", str(bad))
    config.write_text(text)
    (bench.prefix / "data" / "accounts").write_text("admin")
    before = tree(bench.prefix)
    said = bench.ferry("restore", str(bad), "--yes", status=5)
    assert "the restore was taken back, everything is as before" in said["error"]
    assert tree(bench.prefix) == before and users(bench) == ["admin"]
    assert bench.ferry("status")["ready"] is True


@pytest.mark.parametrize("pause_s", [0.8, 1.6])
def test_a_restore_that_is_killed_is_taken_back_and_can_be_run_again(bench: Bench, file: Path, pause_s: float) -> None:
    (bench.prefix / "data" / "accounts").write_text("admin")
    command = [str(bench.prefix / "bin" / "ferry"), "restore", str(file), "--yes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        time.sleep(pause_s)
        child.send_signal(signal.SIGKILL)
    bench.ferry("recover")
    assert bench.ferry("status")["ready"] is True and users(bench) in (["admin"], ["admin", "alice"])
    assert list((bench.prefix / "data").glob(".*")) == [] and list(bench.prefix.glob(".*")) == []
    bench.ferry("restore", str(file), "--yes")
    assert users(bench) == ["admin", "alice"]


def test_restore_on_another_server_keeps_where_it_listens_and_whom_it_trusts(bench: Bench, file: Path) -> None:
    folder = file.parent / "other"
    folder.mkdir()
    with benching(folder) as other:
        other.install(replace(other.recipe, version="1.5.0", sequence=5))
        (other.prefix / "log" / "audit.jsonl").write_text('{"event": "of the other"}\n')
        signers = other.prefix / "etc" / "allowed_signers"
        own = signers.read_bytes()
        done = other.ferry("restore", str(file), "--yes")
        assert users(other) == ["admin", "alice"] and done["version"] == "1.0.0"
        assert done["url"] == f"http://127.0.0.1:{other.port}"
        notes = "\n".join(done["notes"])
        assert f"goes on listening on 127.0.0.1:{other.port}" in notes and "ferry trust add --replace" in notes
        assert signers.read_bytes() == own
        beside = signers.with_name("allowed_signers.restored")
        assert beside.read_bytes() == (bench.prefix / "etc" / "allowed_signers").read_bytes()
        log = other.prefix / "log"
        assert (log / "audit.jsonl").read_text() == '{"event": "first"}\n'
        (kept,) = log.glob("audit.jsonl.before-restore-*")
        assert kept.read_text() == '{"event": "of the other"}\n' and str(kept) in notes


def test_a_signature_is_demanded_with_a_list_and_told_without(bench: Bench, tmp_path: Path) -> None:
    ours, stranger = (small_bundle.make_key(tmp_path / name) for name in ("ours", "stranger"))
    signed, unsigned = tmp_path / "signed.tar", tmp_path / "unsigned.tar"
    made = bench.ferry("backup", str(signed), "--sign-key", str(ours))
    bench.ferry("backup", str(unsigned))
    trusted, others = tmp_path / "list", tmp_path / "others"
    trusted.write_text(made["signer"])
    words = ("--dry-run", "--allowed-signers")
    others.write_text(made["signer"].replace(public(ours), public(stranger)))
    found = bench.ferry("restore", str(signed), *words, str(trusted))
    assert found["trusted"] is True and found["signer"].startswith("SHA256:")
    assert bench.ferry("restore", str(signed), "--dry-run")["trusted"] is False
    assert "is not signed" in bench.ferry("restore", str(unsigned), *words, str(trusted), status=3)["error"]
    assert "does not allow" in bench.ferry("restore", str(signed), *words, str(others), status=3)["error"]
    # A key that is trusted for bundles alone is not trusted for backups.
    bundles = ours.with_suffix(".allowed")
    assert "does not allow" in bench.ferry("restore", str(signed), *words, str(bundles), status=3)["error"]


def test_a_backup_of_a_newer_release_wants_an_upgrade_first(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    folder.mkdir()
    file = tmp_path / "newer.tar"
    with benching(folder) as newer:
        newer.install(replace(newer.recipe, version="2.0.0", sequence=2, schema="2"))
        newer.ferry("backup", str(file))
    before = tree(bench.prefix)
    said = bench.ferry("restore", str(file), "--yes", status=4)
    assert "newer than the installed release knows" in said["error"] and "ferry upgrade" in said["hint"]
    assert tree(bench.prefix) == before


def test_two_changes_at_once_do_not_mix(bench: Bench, file: Path) -> None:
    descriptor = os.open(bench.prefix, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        for words in (("backup", str(file.with_name("x.tar"))), ("restore", str(file), "--yes")):
            assert "is changing it" in bench.ferry(*words, status=1)["error"]
    finally:
        os.close(descriptor)
    assert not file.with_name("x.tar").exists()
