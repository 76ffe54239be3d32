"""The engine's life as a process: loading, leaving clients, a full queue, signals, and what is left behind."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny_model
from engine_process import EngineProcess, chat, events, running

from service.config import Engine, Queue
from service.engine.scheduler import Scheduler
from service.engine.worker import Worker

CHAT = "/v1/chat/completions"
CONTEXT = 16384
# A random model rarely stops by itself: without a limit an answer outlasts its test.
ENDLESS = f"""
[engine]
threads = 1
context_tokens = {CONTEXT}
max_new_tokens = 1000000
[queue]
per_user = 2
total = 3
"""
QUESTION = "the capital of France"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[EngineProcess]:
    """One engine for the tests that leave it running."""
    with running(EngineProcess(tmp_path_factory.mktemp("engine"), model, "tiny", ENDLESS)) as process:
        yield process


@pytest.fixture
def mortal(tmp_path: Path, model: Path) -> Iterator[EngineProcess]:
    """An engine of the test's own, to be ended."""
    with running(EngineProcess(tmp_path, model, "tiny", ENDLESS)) as process:
        yield process


@contextmanager
def answering(engine: EngineProcess, user: str = "", **options: Any) -> Iterator[Iterator[Any]]:
    """Have an answer on its way: give the events that follow the first few. Leaving the block leaves the engine."""
    body, headers = chat(QUESTION, stream=True, **options), {"X-Ferry-User": user}
    with engine.client() as client, client.stream("POST", CHAT, json=body, headers=headers) as response:
        found = events(response.iter_lines())
        for _ in range(5):
            assert "choices" in next(found)
        yield found


class Waiting:
    """A request whose answer nobody reads yet."""

    def __init__(self, engine: EngineProcess, user: str = "", path: str = CHAT, **body: Any) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(engine.socket))
        content = json.dumps(body or chat(QUESTION, max_tokens=1)).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nX-Ferry-User: {user}\r\nContent-Length: {len(content)}\r\n\r\n"
        self._socket.sendall(head.encode() + content)

    def leave(self) -> None:
        self._socket.close()


def is_left_alone(engine: EngineProcess, cancelled: int, finished: int) -> None:
    """Wait until nothing is decoded; then so many more answers were cancelled, and none was finished."""
    engine.wait_for_load(running=0, waiting=0)
    assert engine.counter("request_cancelled_total") == cancelled
    assert engine.counter("request_success_total") == finished


@pytest.fixture
def counts(engine: EngineProcess) -> tuple[int, int]:
    return engine.counter("request_cancelled_total"), engine.counter("request_success_total")


def test_a_client_that_leaves_in_mid_answer_frees_the_engine(engine: EngineProcess, counts: tuple[int, int]) -> None:
    with answering(engine):
        assert engine.health()[1]["running"] == 1
    is_left_alone(engine, counts[0] + 1, counts[1])


def test_a_client_that_does_not_stream_frees_the_engine_too(engine: EngineProcess, counts: tuple[int, int]) -> None:
    client = Waiting(engine, **chat(QUESTION))
    engine.wait_for_load(running=1, waiting=0)
    client.leave()
    is_left_alone(engine, counts[0] + 1, counts[1])


def test_a_client_that_leaves_while_its_prompt_is_read_frees_the_engine(
    engine: EngineProcess, counts: tuple[int, int]
) -> None:
    client = Waiting(engine, path="/v1/completions", prompt="x" * (CONTEXT - 100), max_tokens=1)
    engine.wait_for_load(running=1, waiting=0)
    client.leave()
    is_left_alone(engine, counts[0] + 1, counts[1])


def test_a_client_that_leaves_the_queue_is_never_decoded(engine: EngineProcess, counts: tuple[int, int]) -> None:
    with answering(engine) as answer:
        waiting = Waiting(engine)
        engine.wait_for_load(running=1, waiting=1)
        waiting.leave()
        engine.wait_for_load(running=1, waiting=0)
        assert "choices" in next(answer)
    is_left_alone(engine, counts[0] + 1, counts[1])


def test_a_full_queue_answers_429_and_takes_requests_again_afterwards(engine: EngineProcess) -> None:
    with answering(engine), engine.client() as client:
        waiting = [Waiting(engine) for _ in range(2)]
        engine.wait_for_load(running=1, waiting=2)
        refused = client.post(CHAT, json=chat(QUESTION))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert int(refused.headers["retry-after"]) >= 1
        for one in waiting:
            one.leave()
    engine.wait_for_load(running=0, waiting=0)
    with engine.client() as client:
        assert client.post(CHAT, json=chat(QUESTION, max_tokens=1)).status_code == 200


def test_one_user_cannot_fill_the_queue(engine: EngineProcess) -> None:
    with answering(engine, user="a"), engine.client() as client:
        waiting = [Waiting(engine, "a")]
        engine.wait_for_load(running=1, waiting=1)
        refused = client.post(CHAT, json=chat(QUESTION), headers={"X-Ferry-User": "a"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "user_queue_full")
        waiting.append(Waiting(engine, "b"))
        engine.wait_for_load(running=1, waiting=2)
        for one in waiting:
            one.leave()
    engine.wait_for_load(running=0, waiting=0)


def test_a_request_that_waits_too_long_is_told_so(tmp_path: Path, model: Path) -> None:
    impatient = EngineProcess(tmp_path, model, "tiny", ENDLESS + "timeout_s = 1\n")
    with running(impatient) as engine, answering(engine), engine.client() as client:
        late = client.post(CHAT, json=chat(QUESTION))
        assert (late.status_code, late.json()["error"]["code"]) == (503, "queue_timeout")
        # A stream has begun by then: it told the place.
        streamed = client.post(CHAT, json=chat(QUESTION, stream=True))
        *_, last = events(streamed.text.splitlines())
        assert (streamed.status_code, last["error"]["code"]) == (200, "queue_timeout")
        engine.wait_for_load(running=1, waiting=0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_stream_ends_the_engine_within_5_s_with_status_0(
    mortal: EngineProcess, number: signal.Signals
) -> None:
    assert mortal.process
    with answering(mortal) as answer:
        started = time.monotonic()
        mortal.process.send_signal(number)
        *_, last = answer
        assert mortal.process.wait(5) == 0
        assert time.monotonic() - started < 5
    assert last["error"]["code"] == "stopping"
    assert not mortal.socket.exists()


def test_a_client_that_does_not_read_cannot_hold_up_a_stop(mortal: EngineProcess) -> None:
    assert mortal.process
    with answering(mortal):
        mortal.process.send_signal(signal.SIGTERM)
        assert mortal.process.wait(5) == 0


def test_a_stop_sends_away_who_waits(mortal: EngineProcess) -> None:
    assert mortal.process
    with answering(mortal), ThreadPoolExecutor(1) as pool, mortal.client() as client:
        waiting = pool.submit(client.post, CHAT, json=chat(QUESTION))
        mortal.wait_for_load(running=1, waiting=1)
        mortal.process.send_signal(signal.SIGTERM)
        assert waiting.result(10).json()["error"]["code"] == "stopping"


def test_a_signal_while_the_model_loads_ends_the_engine_too(tmp_path: Path, model: Path) -> None:
    engine = EngineProcess(tmp_path, model, "tiny")
    engine.start()
    engine.wait_for(lambda: engine.socket.exists() and engine.health()[0] == 503)
    assert engine.stop() == 0


def test_while_the_model_loads_clients_are_told_to_wait(tmp_path: Path, model: Path) -> None:
    engine = EngineProcess(tmp_path, model, "tiny")
    engine.start()
    try:
        engine.wait_for(engine.socket.exists)
        with engine.client() as client:
            early = client.post(CHAT, json=chat(QUESTION))
            health = client.get("/health")
        assert (early.status_code, early.json()["error"]["code"]) == (503, "loading")
        assert "retry-after" in early.headers
        assert (health.status_code, health.json()["status"]) == (503, "loading")
    finally:
        engine.stop()


def test_a_restart_after_a_kill_cleans_up_the_socket(mortal: EngineProcess) -> None:
    assert mortal.stop(signal.SIGKILL) == -signal.SIGKILL
    assert mortal.socket.exists()
    mortal.start()
    mortal.wait_until_ready()


def test_a_second_engine_does_not_take_over_a_living_ones_socket(engine: EngineProcess) -> None:
    second = engine.run()
    assert second.returncode == 1
    assert "another process answers there" in second.stderr
    assert engine.health()[0] == 200


def test_systemd_is_told_that_the_engine_is_ready_only_when_it_can_answer(tmp_path: Path, model: Path) -> None:
    engine = EngineProcess(tmp_path, model, "tiny")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        engine.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert systemd.recv(100) == b"READY=1"
        assert engine.health()[0] == 200
        assert systemd.recv(100) == b"WATCHDOG=1"
        assert engine.stop() == 0
        told = b""
        while told != b"STOPPING=1":
            told = systemd.recv(100)


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    engine = EngineProcess(folder, model, "tiny")
    engine.start()
    try:
        directory = os.open(folder, os.O_PATH)
        engine.socket = Path(f"/proc/self/fd/{directory}/engine.sock")
        engine.wait_until_ready()
    finally:
        assert engine.stop() == 0
    assert not (folder / "engine.sock").exists()


@pytest.mark.parametrize(
    ("config", "status"), [("", 0), ('[engine]\nurl = "http://10.0.0.7:8000/v1"\n', 1), ("[engine]\nurl = 5\n", 0)]
)
def test_the_unit_asks_whether_an_engine_is_wanted_here(tmp_path: Path, config: str, status: int) -> None:
    done = EngineProcess(tmp_path, tmp_path, "tiny", config).run("--wanted")
    assert done.returncode == status
    assert not done.stderr


def test_wrong_settings_end_the_start_with_what_is_allowed(tmp_path: Path) -> None:
    done = EngineProcess(tmp_path, tmp_path, "tiny", "[engine]\nthread = 1\n").run()
    assert done.returncode == 2
    assert "[engine] thread: no such key; allowed: url, api_key_file" in done.stderr
    assert f"hint: edit {tmp_path / 'ferry.toml'}" in done.stderr


def test_a_model_that_cannot_be_loaded_ends_the_start_with_its_folder(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = EngineProcess(tmp_path / "home", empty, "tiny").run()
    assert done.returncode == 1
    assert "release/model" in done.stderr
    assert "hint: run: ferry verify" in done.stderr


def test_a_context_that_the_units_memory_limit_was_not_made_for_ends_the_start(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path, tmp_path, "tiny", "[engine]\ncontext_tokens = 9000\n")
    engine.start(FERRY_ROOM_TOKENS="8192")
    assert engine.process and engine.process.wait(30) == 2
    said = engine.journal.read_text()
    assert "[engine] context_tokens = 9000, slots = 1: more than the 8192 tokens" in said
    assert "hint: let Ferry set the limit anew: ferry stop; ferry start" in said


def test_it_is_ready_only_when_all_is_done_that_the_journal_tells_of_the_start(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = EngineProcess(tmp_path / "home", model, "tiny").home / "release"
    # It is this process' garbage that it would pass over; and it takes its time.
    monkeypatch.setattr("service.engine.worker.pass_over_what_stays", lambda: time.sleep(0.5))
    scheduler = Scheduler(Queue())
    worker = Worker(release / "model", tmp_path, Engine(context_tokens=64), scheduler, lambda: None)
    with caplog.at_level("INFO", logger="service.engine.worker"):
        worker.start()
        while worker.answerer is None and worker.is_alive():
            time.sleep(0.001)
        assert "ready after" in caplog.text
    scheduler.close(0)
    worker.join(30)
    assert not worker.failure
