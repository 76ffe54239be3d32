"""Counters that worker processes share, and what the load page reads out of an engine's metrics."""

from __future__ import annotations

import os
from pathlib import Path

import fake_engine
import pytest
from web_app import web_app

from service.web import load, metrics
from service.web.board import SLOTS, Board
from service.web.metrics import Metrics


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board that this process counts on, as the first of its workers."""
    board = Board(4)
    monkeypatch.setattr(metrics, "_shared", (board, board.take()))
    return board


def in_another_worker(board: Board, region: int, end: str = "exit") -> None:
    """Fork, count two chats and an open stream there, and end as a worker may."""
    child = os.fork()
    if child == 0:
        metrics.share(board, region)
        counted = Metrics()
        counted.add("ferry_web_chats_total", 'outcome="complete"', 2)
        counted.add("ferry_web_streams")
        if end == "kill":
            os.kill(os.getpid(), 9)
        os._exit(0)
    os.waitpid(child, 0)


def test_every_worker_answers_for_all_of_them(shared: Board) -> None:
    here = Metrics()
    here.add("ferry_web_chats_total", 'outcome="complete"')
    here.add("ferry_web_chats_total", 'outcome="failed"')
    in_another_worker(shared, shared.take())
    text = here.render(ferry_web_engine_ready=1)
    assert 'ferry_web_chats_total{outcome="complete"} 3\n' in text
    assert 'ferry_web_chats_total{outcome="failed"} 1\n' in text
    assert "ferry_web_streams 1\n" in text and "ferry_web_engine_ready 1\n" in text


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_worker_that_ends_leaves_its_counts_and_takes_along_what_was_open(shared: Board, end: str) -> None:
    here = Metrics()
    region = shared.take()
    in_another_worker(shared, region, end)
    shared.give_back(region, metrics.is_momentary)
    values = here.values()
    assert values['ferry_web_chats_total{outcome="complete"}'] == 2
    assert (values["ferry_web_streams"], values["ferry_web_workers"]) == (0, 1)
    assert shared.take() == region
    in_another_worker(shared, region)
    assert here.values()['ferry_web_chats_total{outcome="complete"}'] == 4


def test_the_memory_is_that_of_the_workers_that_live(shared: Board) -> None:
    here = Metrics()
    in_another_worker(shared, shared.take())  # its process id is there still, and no such process
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert here.values()["ferry_web_memory_bytes"] == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)


def test_a_region_that_is_full_says_so_and_spoils_no_other() -> None:
    board = Board(2)
    page, other = board.page(board.take()), board.page(board.take())
    other.add("other", 7)
    with pytest.raises(OverflowError):
        for number in range(SLOTS + 1):
            page.add(f"name {number}", 1)
    with pytest.raises(OverflowError):
        other.add("x" * 200, 1)
    assert board.values("other") == [7] and board.sums()["name 5"] == 1


LLAMA = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
llamacpp:prompt_tokens_total 35
llamacpp:tokens_predicted_total 12
llamacpp:requests_processing 1
llamacpp:requests_deferred 0
"""
VLLM = """\
vllm:num_requests_running{engine="0",model_name="a b"} 1.0
vllm:num_requests_running{engine="1",model_name="a b"} 2.0 1700000000000
vllm:gpu_cache_usage_perc{engine="0"} 0.5
vllm:generation_tokens_total NaN
vllm:prompt_tokens_total 1e400
vllm:num_requests_waiting x
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LLAMA, {"prompt_tokens": 35, "answer_tokens": 12, "running": 1, "waiting": 0}),
        (VLLM, {"running": 3, "cache_usage": 0.5}),
        ("", {}),
        ("<html>{}\n\0", {}),
    ],
)
def test_what_a_server_tells_of_itself_is_read_by_its_names_and_the_rest_left_out(text: str, expected: dict) -> None:
    assert load.numbers(text) == expected


def test_the_load_tells_of_engine_and_web_and_of_an_engine_that_is_away(tmp_path: Path) -> None:
    with web_app(tmp_path) as web, web.app.app_context():
        from service.web.services import services

        known = services()
        found = load.now(known.config, known.engine, known.metrics)
        assert found["engine"]["running"] == 2 and found["engine"]["model"] == fake_engine.MODEL
        assert found["limits"]["slots"] == 1
        web.engine.metrics = ""
        assert "running" not in load.now(known.config, known.engine, known.metrics)["engine"]
        web.engine.stop()
        away = load.now(known.config, known.engine, known.metrics)["engine"]
        assert away == {"ready": False, "reason": "the engine is not running", "model": "", "is_local": True}
