"""The audit log's chain: what is appended stays in order, whoever is killed and whatever disk is full."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from audit_logs import event, lines, make_folders, problems, verified

from service import config
from service.web import audit_anchor
from service.web.audit import Audit, AuditUnavailable
from service.web.audit_chain import CURRENT
from service.web.audit_log import Log

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(*make_folders(tmp_path))


def test_each_line_holds_the_hash_of_the_one_before_and_the_log_verifies(log: Log) -> None:
    for number in range(3):
        log.append([event(number), event(number + 10)])
    assert [line["seq"] for line in lines(log)] == [1, 2, 3, 4, 5, 6]
    assert [line["number"] for line in lines(log)] == [0, 10, 1, 11, 2, 12]
    assert (problems(log), verified(log).lines) == ([], 6)
    assert (log.log / CURRENT).stat().st_mode & 0o777 == 0o600


def test_a_line_holds_any_text_in_one_line_and_what_utf_8_cannot_hold_is_escaped(log: Log) -> None:
    log.append([{**event(1), "question": 'a\n"b"\r\u2028\0你好\ud800'}])
    assert lines(log)[0]["question"] == 'a\n"b"\r\u2028\0你好\ud800'
    assert problems(log) == []


def test_a_full_file_gets_a_name_of_its_own_and_the_chain_goes_on(tmp_path: Path) -> None:
    log = Log(*make_folders(tmp_path), rotate_bytes=600)
    for number in range(12):
        log.append([event(number)])
    names = sorted(path.name for path in log.log.iterdir())
    assert len(names) > 3
    first = json.loads((log.log / names[1]).read_text().splitlines()[0])
    assert (first["event"], first["previous"]) == ("audit_file", names[0])
    assert names[1] == f"audit-{time.strftime('%Y%m%d', time.gmtime())}-{first['seq']:012d}.jsonl"
    assert problems(log) == []


def test_a_new_file_begins_on_another_day(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append([event(1)])
    monkeypatch.setattr("service.web.audit_log.today", lambda: "29990101")
    log.append([event(2)])
    assert len(list(log.log.iterdir())) == 2
    assert problems(log) == []


def test_writers_in_several_processes_make_one_chain(log: Log) -> None:
    script = (
        "import sys; from pathlib import Path; from service.web.audit_log import Log\n"
        "log = Log(Path(sys.argv[1]), Path(sys.argv[2]), rotate_bytes=4000)\n"
        "for n in range(25): log.append([{'at': '2026', 'event': 'test', 'user': sys.argv[3], 'number': n}])\n"
    )
    command = [sys.executable, "-c", script, str(log.log), str(log.data)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = lines(log)
    for name in "ab":
        assert [line["number"] for line in found if line["user"] == name] == list(range(25))
    assert problems(log) == []


def test_threads_that_write_at_once_share_a_write_and_each_learns_its_line(tmp_path: Path) -> None:
    audit = Audit(*make_folders(tmp_path), config.Audit())
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda n: audit.write("test", user="alice", number=n), range(64)))
    log = Log(tmp_path / "log", tmp_path / "data")
    assert sorted(numbers) == list(range(1, 65))
    assert {line["seq"]: line["number"] for line in lines(log)} == dict(zip(numbers, range(64), strict=True))
    assert problems(log) == []


def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(log: Log) -> None:
    script = (
        "import sys; from pathlib import Path; from service.web.audit_log import Log\n"
        "log = Log(Path(sys.argv[1]), Path(sys.argv[2]), rotate_bytes=3000)\n"
        "n = 0\n"
        "while True:\n"
        "    log.append([{'at': '2026', 'event': sys.argv[3], 'n': n}]); print(n, flush=True); n += 1\n"
    )
    command = [sys.executable, "-c", script, str(log.log), str(log.data)]
    for turn in "abc":
        with subprocess.Popen([*command, turn], cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            told = [int(writer.stdout.readline()) for _ in range(10)]
            writer.send_signal(signal.SIGKILL)
            told += [int(line) for line in writer.stdout if line.endswith("\n")]
        found = [line["n"] for line in lines(log) if line["event"] == turn]
        assert found[: len(told)] == told == list(range(len(told)))
        assert problems(log) == []


def test_half_a_line_of_a_killed_writer_is_put_aside_and_named(log: Log) -> None:
    log.append([event(1)])
    with audit_anchor.locked(log.data) as descriptor:
        before = audit_anchor.read(descriptor)
    log.append([event(2)])
    whole = (log.log / CURRENT).read_bytes()
    with audit_anchor.locked(log.data) as descriptor:  # as it is between the two writes
        after = audit_anchor.read(descriptor)
        assert before and after
        audit_anchor.write(descriptor, before.moved(after.end))
    (log.log / CURRENT).write_bytes(whole[:-30])
    assert verified(log).notes or problems(log)
    log.append([event(3)])
    report = verified(log)
    assert report.is_ok, report
    assert "half a line" in report.notes[0]
    (stray,) = log.log.glob("audit-stray-*")
    assert stray.read_bytes() == whole[before.end.size : -30]
    assert [line["event"] for line in lines(log)] == ["test", "audit_repaired", "test"]


def test_a_line_that_a_killed_writer_finished_is_kept(log: Log) -> None:
    log.append([event(1)])
    with audit_anchor.locked(log.data) as descriptor:
        before = audit_anchor.read(descriptor)
    log.append([event(2)])
    with audit_anchor.locked(log.data) as descriptor:
        after = audit_anchor.read(descriptor)
        assert before and after
        audit_anchor.write(descriptor, before.moved(after.end))
    assert verified(log).is_ok
    log.append([event(3)])
    assert [line["number"] for line in lines(log)] == [1, 2, 3]
    assert problems(log) == []


def test_a_kill_between_two_files_leaves_a_whole_chain(tmp_path: Path) -> None:
    log = Log(*make_folders(tmp_path))
    log.append([event(1)])
    (log.log / CURRENT).rename(log.log / "audit-20260102-000000000001.jsonl")
    assert problems(log) == []
    log.append([event(2)])
    assert [line["seq"] for line in lines(log)] == [1, 2]
    assert problems(log) == []


def test_the_power_fails_and_the_anchor_is_older_than_the_log(log: Log) -> None:
    log.append([event(1)])
    kept = (log.data / audit_anchor.NAME).read_bytes()
    log.append([event(2)])
    (log.data / audit_anchor.NAME).write_bytes(kept)
    assert "the power failed" in verified(log).notes[0]
    log.append([event(3)])
    assert [line["number"] for line in lines(log)] == [1, 2, 3]
    assert problems(log) == []


def test_an_anchor_that_somebody_put_back_from_long_ago_breaks_nothing(tmp_path: Path) -> None:
    log = Log(*make_folders(tmp_path), rotate_bytes=600)
    for number in range(4):
        log.append([event(number)])
    kept = (log.data / audit_anchor.NAME).read_bytes()
    for number in range(8):
        log.append([event(number)])
    (log.data / audit_anchor.NAME).write_bytes(kept)
    log.append([event(9)])
    report = verified(log)
    assert report.is_ok and "put back an old one" in report.notes[0], report


def test_a_restored_log_is_adopted_and_one_that_fits_goes_on(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = (Log(*make_folders(tmp_path / name)) for name in ("here", "there"))
    here.append([event(1), event(2), event(3)])
    there.append([event(4)])
    assert (here.adopt(event(5)), problems(here)) == (False, [])
    shutil.copy(there.log / CURRENT, here.log / CURRENT)
    assert (here.adopt(event(6)), problems(here)) == (True, [])
    assert [line["number"] for line in lines(here)] == [4, 6]
    (here.log / CURRENT).write_bytes(b'{"event": "of a release without a chain"}\n')
    assert (here.adopt(event(7)), problems(here)) == (True, [])
    assert [line["event"] for line in lines(here)] == ["audit_begun", "test"]


def test_a_log_without_a_chain_is_put_aside_under_its_digest(log: Log) -> None:
    old = b'{"at": "2025", "event": "login", "user": "alice"}\n' * 3
    (log.log / CURRENT).write_bytes(old)
    log.append([event(1)])
    begun, _ = lines(log)
    assert begun["event"] == "audit_begun"
    assert (log.log / "audit-before-chain.jsonl").read_bytes() == old
    assert begun["before"]["bytes"] == len(old)  # type: ignore[index]
    assert problems(log) == []


def test_lines_of_an_older_release_are_put_aside_and_named(log: Log) -> None:
    log.append([event(1)])
    with (log.log / CURRENT).open("a") as file:
        file.write('{"at": "2026", "event": "login", "user": "bob"}\n')
    assert problems(log) != []
    log.append([event(2)])
    report = verified(log)
    assert (report.is_ok, len(report.notes)) == (True, 1), report
    assert "no chain" in report.notes[0]


def test_foreign_lines_stay_a_problem_after_the_next_event(log: Log) -> None:
    log.append([event(1)])
    line = (log.log / CURRENT).read_bytes()
    with (log.log / CURRENT).open("ab") as file:
        file.write(line)
    log.append([event(2)])
    assert len(problems(log)) == 1
    assert "Ferry had not written" in problems(log)[0]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_cut_tail_stays_a_problem_after_the_next_event(log: Log, keep: int) -> None:
    for number in range(4):
        log.append([event(number)])
    data = (log.log / CURRENT).read_bytes().splitlines(keepends=True)
    (log.log / CURRENT).write_bytes(b"".join(data[:keep]))
    assert "more were written" in problems(log)[0]
    log.append([event(9)])
    assert len(problems(log)) == 1
    assert f"{4 - keep} are missing" in problems(log)[0]


def test_a_log_that_is_gone_is_a_problem_before_and_after_the_next_event(log: Log) -> None:
    log.append([event(1), event(2)])
    (log.log / CURRENT).unlink()
    assert "2 more were written" in problems(log)[0]
    log.append([event(3)])
    assert "no line says" in problems(log)[0]


def test_an_anchor_that_is_gone_is_a_problem_before_and_after_the_next_event(log: Log) -> None:
    log.append([event(1), event(2)])
    (log.data / audit_anchor.NAME).unlink()
    assert "is missing or unreadable" in problems(log)[0]
    log.append([event(3)])
    assert "the anchor was missing" in problems(log)[0]


def test_the_journal_knows_a_line_that_was_cut_with_the_anchor(tmp_path: Path) -> None:
    told: list[str] = []
    log = Log(*make_folders(tmp_path), tell=told.append)
    head = log.append([event(1)])
    log.append([event(2)])
    assert told == [f"audit head 1 sha256:{head.hash}"]
    assert verified(log, heads=[head]).is_ok
    shutil.rmtree(log.log)
    (log.data / audit_anchor.NAME).unlink()
    log.log.mkdir()
    assert "the journal knows it" in verified(log, heads=[head]).problems[0].problem
    log.append([event(7)])
    assert "is not the one that the journal knows" in verified(log, heads=[head]).problems[0].problem


def test_old_files_go_and_the_chain_says_so(tmp_path: Path) -> None:
    log = Log(*make_folders(tmp_path), rotate_bytes=300, retain_days=30)
    (log.log / CURRENT).write_bytes(b'{"event": "before"}\n')
    for number in range(6):
        log.append([event(number, at="2026-01-02T03:04:05.678+00:00")])
    assert {line["event"] for line in lines(log)} >= {"audit_removed", "audit_file"}
    assert lines(log)[0]["seq"] != 1
    assert problems(log) == []
    for number in range(6):
        log.append([event(number)])
    min(log.log.glob("audit-2*")).unlink()
    assert "no line says that those before it were removed" in problems(log)[0]


def test_a_disk_that_is_full_in_mid_line_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    make_folders(tmp_path)
    script = (
        "import resource, signal, sys; from pathlib import Path; from service.web.audit_log import Log\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = Log(Path('log'), Path('data'))\n"
        "log.append([{'event': 'test', 'number': 1}])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))\n"
        "try: log.append([{'event': 'test', 'number': 2, 'text': 'x' * 5000}])\n"
        "except OSError as error: print(error.strerror)\n"
        "log.append([{'event': 'test', 'number': 3}])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "File too large\n"), done.stderr
    log = Log(tmp_path / "log", tmp_path / "data")
    assert [line["number"] for line in lines(log)] == [1, 3]
    assert problems(log) == []


def test_a_log_that_cannot_be_written_is_an_error_of_its_own(tmp_path: Path) -> None:
    audit = Audit(*make_folders(tmp_path), config.Audit())
    (tmp_path / "log").rmdir()
    with pytest.raises(AuditUnavailable, match="cannot be written"):
        audit.write("login", user="alice")
    (tmp_path / "log").mkdir()
    assert audit.write("login", user="alice") == 1


def test_a_log_that_is_switched_off_writes_nothing(tmp_path: Path) -> None:
    audit = Audit(*make_folders(tmp_path), config.Audit(enabled=False, content="full"))
    assert audit.write("login", user="alice") == 0
    assert (list((tmp_path / "log").iterdir()), audit.content) == ([], "none")


def test_a_disk_that_makes_a_writer_wait_does_not_hold_up_the_loop_that_serves(tmp_path: Path) -> None:
    make_folders(tmp_path)
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import gevent, os; from pathlib import Path\n"
        "from service import config; from service.web.audit import Audit\n"
        "held = monkey.get_original('_thread', 'allocate_lock')(); held.acquire()\n"
        "def fdatasync(_): held.acquire(timeout=5) or os._exit(9); held.release()\n"
        "os.fdatasync = fdatasync\n"
        "audit = Audit(Path('log'), Path('data'), config.Audit())\n"
        "writers = [gevent.spawn(audit.write, 'test', user=str(n)) for n in range(50)]\n"
        "gevent.spawn_later(0.05, held.release)\n"
        "gevent.joinall(writers, raise_error=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    log = Log(tmp_path / "log", tmp_path / "data")
    assert (len(lines(log)), problems(log)) == (50, [])
