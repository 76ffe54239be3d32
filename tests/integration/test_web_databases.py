"""The service on each kind of database: what people do, as they do it, with the tables that its migrations made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import combination
import httpx
import psycopg
import pytest
import tomllib
from web_process import PASSWORD, ROOT, WebProcess, admin, make_environment, web_process

OUTPUT = {"capture_output": True, "text": True, "timeout": 60, "check": False}


@pytest.fixture(scope="module", params=combination.ways("sqlite directly", "postgresql nginx"))
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The web tier on each kind of database, reached directly and through docs/nginx/ferry.conf."""
    database, front = request.param.split()
    with web_process(tmp_path_factory.mktemp("web"), database=database, front=front) as running:
        running.add_user("alice")
        yield running


def new_chat(browser: httpx.Client) -> str:
    return f"/api/conversations/{browser.post('/api/conversations').json()['id']}"


def ask(browser: httpx.Client, chat: str, question: str) -> dict:
    answer = browser.post(f"{chat}/messages", content=json.dumps({"content": question}))
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text.splitlines()[-1])


def test_a_person_asks_reads_it_again_after_a_restart_and_deletes_it(web: WebProcess) -> None:
    browser = web.login("alice")
    chat = new_chat(browser)
    for text in ("echo 你好，世界 🚢", "echo a\0b \ud800"):
        assert ask(browser, chat, text)["state"] == "complete"
    web.restart()
    messages = [message["content"] for message in browser.get(chat).json()["messages"]]
    assert messages == ["echo 你好，世界 🚢", "你好，世界 🚢", "echo a\ufffdb ?", "a\ufffdb ?"]
    assert browser.delete(chat).status_code == 204
    assert browser.get(chat).status_code == 404 and web.login("alice").get("/api/conversations").json() == {
        "conversations": []
    }


def test_an_answer_is_kept_while_it_grows_and_when_its_worker_is_killed(web: WebProcess) -> None:
    browser = web.login("alice")
    chat = new_chat(browser)
    with browser.stream("POST", f"{chat}/messages", json={"content": "slow 200"}) as answer:
        next(line for line in answer.iter_lines() if '"piece 25 "' in line)
        web.kill()
    web.restart()
    message = browser.get(chat).json()["messages"][-1]
    assert message["content"].startswith("piece 0 piece 1 ")


def test_forty_people_at_once_are_each_kept_by_themselves(web: WebProcess) -> None:
    """More at once than there are connections to the database."""
    browser = web.login("alice")
    chats = [new_chat(browser) for _ in range(40)]
    with ThreadPoolExecutor(40) as pool:
        ends = list(pool.map(lambda number: ask(browser, chats[number], f"echo number {number}"), range(40)))
    assert {end["state"] for end in ends} == {"complete"}
    kept = [browser.get(chat).json()["messages"][-1]["content"] for chat in chats]
    assert kept == [f"number {number}" for number in range(40)]


def test_what_a_database_cannot_hold_is_refused_and_no_fault(web: WebProcess) -> None:
    browser = web.login("alice")
    for path in ("/api/conversations/%00", f"/api/conversations/{'x' * 4000}", "/api/conversations/%ED%A0%80"):
        assert browser.get(path).status_code in (400, 404), path
    with web.client() as stranger:
        page = stranger.get("/login").text.partition('name="csrf_token" value="')[2].partition('"')[0]
        form = {"username": "a\0b", "password": PASSWORD, "csrf_token": page}
        assert stranger.post("/login", data=form).status_code in (400, 401)


def test_the_commands_know_accounts_and_keys_there(web: WebProcess) -> None:
    web.add_user("bob")
    key = web.add_key("script")
    with web.client() as client:
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        web.admin("key", "revoke", "script")
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    assert {row["user"] for row in web.admin("user", "list")["users"]} >= {"alice", "bob"}
    assert web.admin("user", "add", "BOB", check=False)["exit_code"] == 1


@contextmanager
def holding(web: WebProcess, table: str) -> Iterator[None]:
    """Keep everybody from writing to a table while the block lasts."""
    url = tomllib.loads(Path(web.environment["FERRY_CONFIG"]).read_text())["data"]["url"]
    with psycopg.connect(url) as connection:
        connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")  # type: ignore[call-overload]
        yield
        connection.rollback()


@pytest.mark.postgresql
def test_a_waiting_database_holds_up_nobody_who_does_not_need_it(tmp_path: Path) -> None:
    """psycopg waits in the event loop: while one request waits for a lock, streams and health go on."""
    with web_process(tmp_path, database="postgresql") as web:
        web.add_user("alice")
        browser, headers = web.login("alice"), {"Authorization": f"Bearer {web.add_key('script')}"}
        with ThreadPoolExecutor(1) as pool, holding(web, "conversations"), web.client() as client:
            waiting = pool.submit(browser.post, "/api/conversations")
            body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "slow 20"}]}
            text = client.post("/v1/chat/completions", json=body, headers=headers, timeout=10).text
            assert text.count("piece ") == 20 and client.get("/healthz", timeout=5).status_code == 200
            assert not waiting.done()
        assert waiting.result(30).status_code == 201


@pytest.mark.postgresql
def test_a_database_that_is_away_is_said_and_comes_back_by_itself(tmp_path: Path) -> None:
    import postgres_server

    server = postgres_server.server()
    with web_process(tmp_path, database="postgresql") as web:
        web.add_user("alice")
        browser = web.login("alice")
        chat = new_chat(browser)
        server.stop()
        try:
            answer = browser.get(chat)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_away")
            assert answer.headers["Retry-After"] == "5"
            assert "database" in browser.get("/readyz").json()["reason"]
            assert browser.get("/healthz").status_code == 200 and browser.get("/").status_code == 503
            said = web.admin("user", "list", check=False)
            assert "the database at 127.0.0.1:" in said["error"] and "of a test" not in said["error"]
            assert "[data] url" in said["hint"]
            start = subprocess.run([sys.executable, "-m", "service.web"], cwd=ROOT, env=web.environment, **OUTPUT)
            assert start.returncode == 1 and start.stderr.startswith("error: the database at 127.0.0.1:"), start.stderr
            assert "Traceback" not in start.stderr
        finally:
            server.start()
        assert ask(browser, chat, "echo back again")["state"] == "complete"


@pytest.mark.postgresql
def test_a_password_file_goes_before_the_address_and_is_named_when_it_cannot_be_used(tmp_path: Path) -> None:
    import postgres_server

    name = postgres_server.new_tables().rpartition("/")[2]
    file = tmp_path / "password"
    lines = f'[data]\nurl = "{postgres_server.server().url(name, "")}"\npassword_file = "{file}"\n'
    environment = make_environment(tmp_path, lines, database="sqlite")
    said = admin(environment, "user", "list", "--json")
    assert said.returncode == 2 and f"password_file: {file}: No such file" in json.loads(said.stdout)["error"]
    file.write_text("wrong\n")
    said = admin(environment, "user", "list", "--json")
    assert said.returncode == 1 and "password authentication failed" in json.loads(said.stdout)["error"]
    file.write_text(postgres_server.PASSWORD + "\n")
    assert json.loads(admin(environment, "user", "list", "--json").stdout) == {"users": []}
