"""The audit log of a real service with two workers: commands, the page, a kill in mid-answer, a stop."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from web_process import PASSWORD, ROOT, WebProcess, admin, csrf_of, log_in_form, web_process


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), "workers = 2\n[queue]\nper_user = 50\ntotal = 50") as web:
        web.add_user("alice")
        web.add_user("olga", "auditor")
        yield web


def events(web: WebProcess) -> list[dict[str, object]]:
    return [json.loads(line) for line in (web.log / "audit.jsonl").read_text().splitlines()]


def kinds(web: WebProcess) -> list[object]:
    return [found["event"] for found in events(web)]


def workers(web: WebProcess) -> list[int]:
    return [*map(int, Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split())]


def logged_in(web: WebProcess, name: str) -> httpx.Client:
    """Log in who may not see the chat, where `WebProcess.login` looks for the token."""
    client = web.client()
    assert log_in_form(client, name, PASSWORD).status_code == 302
    client.headers["X-CSRF-Token"] = csrf_of(client.get("/account").text)
    return client


def ask(web: WebProcess, key: str, question: str) -> bytes:
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": question}]}
    with web.client() as client:
        return client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}).content


def test_the_start_stands_in_the_log_and_its_head_in_the_journal(web: WebProcess) -> None:
    # The accounts that the fixture makes come after it.
    assert kinds(web)[:1] == ["service_started"]
    assert "audit head 1 sha256:" in web.output.read_text()


def test_two_workers_and_commands_append_at_once_to_one_chain(web: WebProcess) -> None:
    key = web.add_key("reports")
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(ask, web, key, f"echo {number}") for number in range(40)]
        web.add_key("meanwhile")
        assert all(b"[DONE]" in answer.result() for answer in answers)
    found = web.admin("audit", "verify")
    assert found["ok"], found
    for kind in ("question", "completion"):
        assert kinds(web).count(kind) == 40


def test_a_killed_worker_loses_no_line_and_the_chain_verifies(web: WebProcess) -> None:
    before = len(events(web))
    alice = web.login("alice")
    conversation = alice.post("/api/conversations").json()["id"]
    path = f"/api/conversations/{conversation}/messages"
    with alice.stream("POST", path, json={"content": "slow 100"}) as stream:
        next(stream.iter_lines())
        for worker in workers(web):
            os.kill(worker, signal.SIGKILL)
    assert web.admin("audit", "verify")["ok"]
    assert [found["event"] for found in events(web)[before:]] == ["login", "question"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            web.login("alice").close()
            break
        except Exception:
            time.sleep(0.2)
    found = web.admin("audit", "verify")
    assert (found["ok"], kinds(web)[-1]) == (True, "login"), found


def test_the_page_checks_the_log_and_hands_it_on(web: WebProcess) -> None:
    olga = logged_in(web, "olga")
    assert olga.post("/audit/check").headers["Location"] == "/audit?done=checked"
    text = olga.get("/audit").text
    assert "Whole: at the last check" in text and "olga" in text
    found = olga.get("/audit/export", params={"format": "json", "user": "olga"}).json()
    assert {each["event"] for each in found} >= {"user_added", "login"}


def test_an_export_is_a_private_file_that_a_spreadsheet_can_open(web: WebProcess, tmp_path: Path) -> None:
    web.add_user("=1+1")
    out = tmp_path / "audit.csv"
    web.admin("audit", "export", "--event", "user_added", "--out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    rows = list(csv.DictReader(out.open(newline="")))
    assert [row["subject"] for row in rows] == ["alice", "olga", "'=1+1"]
    again = web.admin("audit", "export", "--out", str(out), check=False)
    assert again["exit_code"] == 2
    done = admin(web.environment, "audit", "export", "--format", "json", "--user", "olga")
    assert {found["event"] for found in json.loads(done.stdout)} >= {"user_added", "login"}


def test_a_changed_line_is_named_and_ends_with_its_own_status(web: WebProcess) -> None:
    log = web.log / "audit.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"alice"', b'"mally"', 1))
    try:
        done = admin(web.environment, "audit", "verify")
        assert done.returncode == 3
        assert "audit.jsonl:3: does not fit line 2" in done.stdout
    finally:
        log.write_bytes(whole)


def test_the_journal_s_heads_prove_that_the_end_is_there(web: WebProcess) -> None:
    heads = [line for line in web.output.read_text().splitlines() if line.startswith("audit head")]
    command = [sys.executable, "-m", "service.web.admin", "audit", "verify", "--heads", "-"]
    run = {"cwd": ROOT, "env": web.environment, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(command, input="\n".join(heads), **run)
    assert (done.returncode, f"{len(heads)} heads of the journal fit" in done.stdout) == (0, True), done.stdout
    forged = "audit head 9999999 sha256:" + "0" * 64
    done = subprocess.run(command, input=forged, **run)
    assert done.returncode == 3 and "line 9999999 is missing" in done.stdout


def test_a_stop_is_the_last_line(web: WebProcess) -> None:
    web.restart()
    assert kinds(web)[-2:] == ["service_stopped", "service_started"]
    assert web.admin("audit", "verify")["ok"]
