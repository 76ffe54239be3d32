"""The database's copy for a backup, made by the real command while the web tier's tables are written to.

Of SQLite: a database server has its own.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import newer_tables
from web_process import ROOT, admin, make_environment, web_process

ROWS_BEFORE = 20_000


def ask(environment: dict[str, str], *words: str, status: int = 0) -> dict:
    done = admin(environment, *words, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextmanager
def writing(path: Path) -> Iterator[list[int]]:
    """Write two rows in each transaction until the block ends, in the mode of the web tier; give how many it has done.

    The block begins when the first is done. A writer that has to wait for longer than two seconds fails the test.
    """
    done, has_begun, stop, faults = [0], threading.Event(), threading.Event(), list[Exception]()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN IMMEDIATE")
                for half in (0, 1):
                    connection.execute("INSERT INTO written VALUES (?, ?, zeroblob(2000))", (done[0], half))
                connection.execute("COMMIT")
                done[0] += 1
                has_begun.set()

    def guarded() -> None:
        try:
            write()
        except sqlite3.Error as error:
            faults.append(error)
        finally:
            has_begun.set()

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE written (number INTEGER, half INTEGER, padding BLOB)")
        halves = ((number % 2,) for number in range(ROWS_BEFORE))
        connection.executemany("INSERT INTO written VALUES (-1, ?, zeroblob(2000))", halves)
        connection.commit()
    thread = threading.Thread(target=guarded)
    thread.start()
    has_begun.wait()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    assert faults == []


def test_a_copy_is_whole_while_others_write_and_they_are_not_kept_waiting(tmp_path: Path) -> None:
    with web_process(tmp_path, database="sqlite") as web:
        web.add_user("alice")
        with writing(web.data / "ferry.db") as done:
            made = web.admin("copy")
            after = done[0]
            copy = Path(made["folder"], "ferry.db")
            with closing(sqlite3.connect(copy)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                halves = connection.execute("SELECT half, count(*) FROM written GROUP BY half").fetchall()
                assert connection.execute("SELECT name FROM users").fetchall() == [("alice",)]
        assert after > 0 and halves[0][1] == halves[1][1] > ROWS_BEFORE / 2
        assert made["files"] == ["ferry.db"] and made["outside"] == "" and made["revision"]
        sides = {"ferry.db-wal", "ferry.db-shm", "ferry.db-journal"}
        assert set(made["leave"]) == {".migrate.lock", "answers/", "audit.anchor", "audit.verified"} | sides
        assert (copy.parent.stat().st_mode & 0o777, copy.stat().st_mode & 0o777) == (0o700, 0o600)
        assert [path.name for path in copy.parent.iterdir()] == ["ferry.db"], "a copy is one file"
        # What an earlier copy left, and nothing else, is gone at the next.
        again = web.admin("copy")
        assert list(web.data.glob(".backup-*")) == [Path(again["folder"])]
        assert web.client().get("/healthz").status_code == 200


def test_what_was_only_in_the_log_of_a_killed_web_is_in_the_copy(tmp_path: Path) -> None:
    with web_process(tmp_path, database="sqlite") as web:
        web.add_user("alice")
        with closing(sqlite3.connect(web.data / "ferry.db")) as held:
            held.execute("SELECT count(*) FROM users").fetchone()
            web.add_user("bob")
            web.kill()
            assert (web.data / "ferry.db-wal").stat().st_size > 0
            copy = Path(web.admin("copy")["folder"], "ferry.db")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT name FROM users ORDER BY id").fetchall() == [("alice",), ("bob",)]


def test_a_damaged_database_becomes_no_backup_and_leaves_no_copy(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, database="sqlite")
    ask(environment, "user", "add", "alice")
    file = tmp_path / "data" / "ferry.db"
    data = bytearray(file.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    file.write_bytes(data)
    said = ask(environment, "copy", status=1)
    assert "ferry.db: the database is damaged" in said["error"] and said["hint"]
    assert list((tmp_path / "data").glob(".backup-*")) == []


def test_where_there_is_no_database_yet_nothing_is_copied_or_made(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, database="sqlite")
    made = ask(environment, "copy")
    assert (made["folder"], made["files"], made["revision"]) == ("", [], None)
    assert ask(environment, "revision")["database"] is None
    assert list((tmp_path / "data").iterdir()) == []
    ask(environment, "user", "add", "alice")
    assert ask(environment, "copy", "--dry-run")["folder"] == ""
    assert list((tmp_path / "data").glob(".backup-*")) == []


def test_the_commands_go_to_an_older_revision_and_say_what_that_loses(tmp_path: Path) -> None:
    """A newer release is a copy of service/ with one migration more; both run as the installer runs them."""
    environment = make_environment(tmp_path, database="sqlite")
    old = ask(environment, "revision")["release"]
    newer = newer_release(tmp_path / "newer")
    assert admin_of(newer, environment, "user", "add", "alice")["user"] == "alice"
    assert admin_of(newer, environment, "revision") == {
        "database": "9999",
        "release": "9999",
        "known": [*ask(environment, "revision")["known"], "9999"],
    }
    with closing(sqlite3.connect(tmp_path / "data" / "ferry.db")) as connection:
        connection.execute("UPDATE users SET note = 'x'")
        connection.commit()
    assert "newer one wrote it" in ask(environment, "user", "list", status=4)["error"]
    wanted = {"from": "9999", "to": old, "losses": ["the notes of 1 accounts"]}
    assert admin_of(newer, environment, "migrate", "--to", old, "--dry-run") == wanted
    assert admin_of(newer, environment, "revision")["database"] == "9999"
    assert admin_of(newer, environment, "migrate", "--to", old) == wanted
    assert [user["user"] for user in ask(environment, "user", "list")["users"]] == ["alice"]


def test_a_web_does_not_start_on_the_tables_of_a_newer_release_and_says_so(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, database="sqlite")
    admin_of(newer_release(tmp_path / "newer"), environment, "migrate")
    done = subprocess.run(
        [sys.executable, "-m", "service.web"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "newer one wrote it" in done.stderr and "Traceback" not in done.stderr


def newer_release(folder: Path) -> Path:
    shutil.copytree(ROOT / "service", folder / "service", ignore=shutil.ignore_patterns("__pycache__", "static"))
    newer_tables.make(folder / "service" / "web")
    return folder


def admin_of(release: Path, environment: dict[str, str], *words: str) -> dict:
    command = [sys.executable, "-m", "service.web.admin", *words, "--json"]
    done = subprocess.run(command, cwd=release, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
