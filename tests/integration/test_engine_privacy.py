"""Nobody else's words: 24 conversations with secrets on one engine, with evictions, clients that leave, and a restart.

The whole hour of it is `make soak`'s; `ferry selftest --privacy` is the same examination through the web tier.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import tiny_model
from engine_process import EngineProcess, running
from privacy_soak import Socket

from service.web.privacy import examine

# Room for two conversations of the 24: every turn pushes somebody else's cache out.
CONFIG = """
[engine]
threads = 1
context_tokens = 512
slots = 4
[queue]
per_user = 8
total = 16
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    model = tiny_model.make(tmp_path_factory.mktemp("tiny"))
    with running(EngineProcess(tmp_path_factory.mktemp("engine"), model, "tiny", CONFIG)) as process:
        yield process


def test_no_conversation_reads_anothers_words_and_each_answer_is_the_one_given_alone(engine: EngineProcess) -> None:
    def restart_once(rounds: int) -> bool:
        if rounds == 1:
            engine.stop()
            engine.start()
            engine.wait_until_ready()
        return rounds < 2

    report = examine(Socket(engine), restart_once)
    assert report.is_ok, report
    assert (report.answers, report.left) == (3 * 48 - 24, 24)
    assert engine.counter("prefix_cache_hits_total") > 0


def test_the_examination_finds_a_leak_and_a_changed_answer() -> None:
    """An engine that keeps one cache for everybody, in a few lines."""
    seen: list[str] = []

    def ask(user: int, conversation: int, body: Mapping[str, Any], leave: bool) -> str:
        seen.append(body["messages"][0]["content"])
        return seen[-2] if len(seen) > 60 else "nothing"

    report = examine(ask, lambda rounds: False)
    assert not report.is_ok and report.leaked and report.differing


def test_the_examination_is_content_with_answers_that_stay_apart() -> None:
    report = examine(lambda user, conversation, body, leave: str(body["messages"][0]["content"]), lambda rounds: False)
    assert report.is_ok
    assert (report.repeated, report.left) == (report.answers, 12)
