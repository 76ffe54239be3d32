"""docs/nginx/engines.conf and engine_door.conf as they stand there, in a real nginx: only addresses are changed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fake_engine
import httpx
import pytest
from fake_engine import FakeEngine
from nginx_front import MAIN
from ports import free_port
from web_app import WebApp, web_app
from web_process import ROOT, stop

pytestmark = pytest.mark.nginx
FOLDER = ROOT / "docs" / "nginx"


@dataclass(frozen=True)
class Farm:
    """Two engines, each behind its own door, and the web tier before both."""

    engines: tuple[FakeEngine, FakeEngine]
    web: WebApp


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder, front = tmp_path_factory.mktemp("nginx"), free_port()
    with fake_engine.running(folder / "one.sock") as one, fake_engine.running(folder / "two.sock") as two:
        write_settings(folder, front, (one, two))
        with nginx(folder, f"http://127.0.0.1:{front}/health"):
            settings = f'[engine]\nurl = "http://127.0.0.1:{front}/v1"\nforward_user = true\n'
            with web_app(tmp_path_factory.mktemp("web"), settings) as web:
                web.add_user("alice")
                yield Farm((one, two), web)


def write_settings(folder: Path, front: int, engines: tuple[FakeEngine, FakeEngine]) -> None:
    doors = [free_port() for _ in engines]
    standing = {"10.0.0.8:8091": f"127.0.0.1:{doors[0]}", "10.0.0.9:8091": f"127.0.0.1:{doors[1]}"}
    write(folder / "engines.conf", FOLDER / "engines.conf", {"127.0.0.1:8090": f"127.0.0.1:{front}", **standing})
    for number, engine in enumerate(engines):
        changes = {"10.0.0.8:8091": f"127.0.0.1:{doors[number]}", "/run/ferry/engine.sock": str(engine.path)}
        changes |= {"ferry_engine": f"ferry_engine_{number}", "10.0.0.7": "127.0.0.1"}
        write(folder / f"door{number}.conf", FOLDER / "engine_door.conf", changes)
    includes = "\n".join(f"    include {path};" for path in sorted(folder.glob("*.conf")))
    (folder / "main").write_text(MAIN.format(folder=folder).replace(f"    include {folder}/ferry.conf;", includes))


def write(target: Path, source: Path, changes: dict[str, str]) -> None:
    text = source.read_text()
    for standing, here in changes.items():
        assert standing in text
        text = text.replace(standing, here)
    target.write_text(text)


@contextmanager
def nginx(folder: Path, url: str) -> Iterator[None]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    command = [str(program), "-p", str(folder), "-c", "main", "-g", "daemon off;"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(url, process)
            yield
        finally:
            stop(process)
            print((folder / "log").read_text())


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, f"nginx ended with {process.returncode}"
        try:
            assert httpx.get(url, trust_env=False).status_code == 200
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("nginx did not open its port")


def test_each_conversation_stays_with_one_engine_and_both_have_some(farm: Farm) -> None:
    alice = farm.web.login("alice")
    chats = [alice.new_conversation("hello") for _ in range(12)]
    for chat in chats * 2:
        assert alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "again"}).data
    served = [set(engine.conversations) for engine in farm.engines]
    assert served[0] | served[1] == set(chats) and not served[0] & served[1]
    assert all(served), "all twelve with one engine: once in two thousand times"
    for engine in farm.engines:
        assert all(engine.conversations.count(chat) == 3 for chat in set(engine.conversations))
        assert set(engine.users) == {"user-1"}


def test_questions_through_the_api_are_spread(farm: Farm) -> None:
    before = [len(engine.requests) for engine in farm.engines]
    headers = {"Authorization": f"Bearer {farm.web.add_key('script')}"}
    body = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}
    for _ in range(16):
        assert farm.web.app.test_client().post("/v1/chat/completions", json=body, headers=headers).status_code == 200
    assert all(len(engine.requests) > count for engine, count in zip(farm.engines, before, strict=True))


def test_a_full_engine_says_so_and_keeps_its_conversations(farm: Farm) -> None:
    alice = farm.web.login("alice")
    chat = alice.new_conversation("hello")
    before = sum(len(engine.requests) for engine in farm.engines)
    answer = alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "busy"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert sum(len(engine.requests) for engine in farm.engines) == before + 1


def test_the_conversations_of_an_engine_that_is_away_go_on_with_the_other(farm: Farm) -> None:
    alice = farm.web.login("alice")
    chats = [alice.new_conversation("hello") for _ in range(6)]
    farm.engines[0].stop()
    try:
        for chat in chats:
            answer = alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "still there"})
            assert '"complete"' in answer.text
        assert farm.web.app.test_client().get("/readyz").status_code == 200
        assert set(chats) <= set(farm.engines[1].conversations)
    finally:
        farm.engines[0].start()


def test_the_place_in_the_queue_comes_through(farm: Farm) -> None:
    alice = farm.web.login("alice")
    chat = alice.new_conversation("hello")
    answer = alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "wait 2"})
    assert answer.text.count('"waiting"') == 2
