"""Sequences decoded together: each answer is the one computed alone, whoever joins, leaves, fails or is evicted."""

import pytest
from hash_decoder import Client, HandDriven, alone, open_slot
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config import Queue
from service.engine.batch import Batch
from service.engine.chooser import Chooser
from service.engine.decoding import PAGE_TOKENS
from service.engine.errors import invalid
from service.engine.jobs import Failed, Finished, Started, Work
from service.engine.line import Turn
from service.engine.sampling import Sampling
from service.engine.transcript import Transcript

GREEDY = Sampling()
PROMPT_OF_BAD = 39


def work(length: int = 5, max_tokens: int = 10, first: int = 1, **options: object) -> Work:
    prompt = tuple(1 + (first * 7 + place * place) % 39 for place in range(length))
    return Work(prompt, options.pop("sampling", GREEDY), max_tokens, **options)  # type: ignore[arg-type]


def test_answers_decoded_together_are_those_computed_alone() -> None:
    engine = HandDriven(slots=8)
    works = [
        work(10 + 30 * number, 30, first=number, sampling=Sampling(temperature=1.0, seed=number)) for number in range(8)
    ]
    clients = [engine.submit(Client(one)) for one in works]
    engine.run()
    assert [client.text() for client in clients] == [alone(one) for one in works]
    assert max(len(feeds) for feeds in engine.decoder.steps) == 8


def test_a_new_request_joins_between_two_steps() -> None:
    engine = HandDriven()
    first = engine.submit(Client(work(max_tokens=30)))
    for _ in range(3):
        engine.advance()
    second = engine.submit(Client(work(first=2)))
    engine.advance()
    assert len(engine.decoder.steps[-1]) == 2
    assert Started() in second.events and not first.is_over


def test_a_turn_that_continues_a_conversation_reads_only_what_is_new() -> None:
    engine = HandDriven()
    first = engine.submit(Client(work(200, 6), "ann", "c1"))
    engine.run()
    # Nearly all of the answer too: only its last token was never fed.
    said = [ord(letter) - ord("A") for letter in first.text()]
    longer = (*first.job.work.prompt, *said, 5, 6, 7)
    second = engine.submit(Client(Work(longer, GREEDY, 6), "ann", "c1"))
    engine.run()
    assert second.finished and second.finished.usage.cached_tokens >= 200 + len(said) - 1
    assert second.finished.timings.prompt_tokens_processed == len(longer) - second.finished.usage.cached_tokens
    assert second.text() == alone(second.job.work)


def test_the_same_prompt_again_reads_its_last_token_and_answers_the_same() -> None:
    engine = HandDriven()
    answers = []
    for _ in range(2):
        client = engine.submit(Client(work(100), "ann", "c1"))
        engine.run()
        assert client.finished
        answers.append((client.text(), client.finished.usage.cached_tokens))
    assert answers[0][0] == answers[1][0]
    assert [cached for _, cached in answers] == [0, 99]


@pytest.mark.parametrize(
    ("first", "second"), [(("ann", "c"), ("bob", "c")), (("ann", "c"), ("ann", "d")), (("ann", ""), ("bob", ""))]
)
def test_nobody_continues_the_cache_of_another(first: tuple[str, str], second: tuple[str, str]) -> None:
    engine = HandDriven()
    for owner in (first, second):
        client = engine.submit(Client(work(100), *owner))
        engine.run()
        assert client.finished and client.finished.usage.cached_tokens == 0


def test_two_requests_of_one_conversation_at_once_have_a_cache_each() -> None:
    engine = HandDriven()
    clients = [engine.submit(Client(work(100, 20, first=number), "ann", "c1")) for number in (1, 2)]
    engine.run()
    assert [client.text() for client in clients] == [alone(client.job.work) for client in clients]


def test_every_choice_is_told_by_its_number_and_has_a_seed_of_its_own() -> None:
    engine = HandDriven()
    client = engine.submit(Client(work(sampling=Sampling(temperature=1.0, seed=7), choices=5)))
    engine.run()
    expected = [alone(client.job.work, index) for index in range(5)]
    assert len(set(expected)) == 5
    assert [client.text(index) for index in range(5)] == expected
    assert sorted(client.reasons) == [0, 1, 2, 3, 4]
    assert [type(event) for event in client.events].count(Started) == 1
    assert isinstance(client.events[-1], Finished)


def test_a_long_prompt_is_read_beside_the_others_decoding() -> None:
    engine = HandDriven()
    writing = engine.submit(Client(work(max_tokens=40)))
    engine.advance()
    reading = engine.submit(Client(work(1500, 2, first=2)))
    while Started() not in reading.events or not reading.text():
        before = writing.text()
        engine.advance()
        assert writing.is_over or len(writing.text()) > len(before)
    engine.run()
    assert reading.text() == alone(reading.job.work)


def test_prompts_that_are_read_at_once_share_the_steps() -> None:
    engine = HandDriven(slots=3)
    engine.scheduler.pace.row_s = 0.75 / 64  # two cells of the grid in a step
    for number in range(3):
        engine.submit(Client(work(64, 2, first=number)))
    for _ in range(3):
        engine.advance()
    assert [len(feeds) for feeds in engine.decoder.steps] == [2, 2, 2]


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9])
def test_a_withdrawn_job_is_gone_with_the_next_step_wherever_it_stands(steps: int) -> None:
    engine = HandDriven(slots=1)
    engine.scheduler.pace.row_s = 0.75 / 32
    leaving = engine.submit(Client(work(100, 20), "ann", "c1"))
    staying = engine.submit(Client(work(first=2)))
    for _ in range(steps):
        engine.advance()
    engine.scheduler.withdraw(leaving.job)
    told = len(leaving.events)
    engine.advance()
    assert Started() in staying.events
    assert all(len(feed.tokens) <= 5 for feed in engine.decoder.steps[-1])
    engine.run()
    assert len(leaving.events) == told
    assert staying.text() == alone(staying.job.work)


def test_what_a_withdrawn_job_had_read_is_good_for_its_next_turn() -> None:
    engine = HandDriven(slots=1)
    engine.scheduler.pace.row_s = 0.75 / 64
    client = engine.submit(Client(work(200), "ann", "c1"))
    engine.advance()
    engine.scheduler.withdraw(client.job)
    engine.advance()
    again = engine.submit(Client(work(200), "ann", "c1"))
    engine.run()
    assert again.finished and again.finished.usage.cached_tokens == 64
    assert again.text() == alone(again.job.work)


def test_a_job_with_choices_still_queued_ends_as_a_whole() -> None:
    engine = HandDriven(slots=2)
    client = engine.submit(Client(work(max_tokens=40, choices=6)))
    engine.advance()
    engine.scheduler.withdraw(client.job)
    engine.advance()
    assert (engine.scheduler.running, engine.scheduler.waiting) == (0, 0)
    assert engine.metrics.cancelled == 1


def test_a_step_that_fails_ends_what_ran_in_it_and_the_others_go_on() -> None:
    engine = HandDriven(slots=2)
    clients = [engine.submit(Client(work(first=number), "ann", f"c{number}")) for number in range(3)]
    engine.advance()
    engine.decoder.failing = 1
    engine.run()
    errors = [client.error for client in clients]
    assert [error.status if error else 200 for error in errors] == [500, 500, 200]
    assert clients[2].text() == alone(clients[2].job.work)
    again = engine.submit(Client(work(first=0), "ann", "c0"))
    engine.run()
    assert again.finished and again.finished.usage.cached_tokens == 0
    assert again.text() == alone(again.job.work)


def test_a_grammar_that_cannot_go_on_is_the_clients_error_and_nobody_elses() -> None:
    engine = HandDriven()

    def refuse(turn: Turn) -> tuple[Chooser, Transcript]:
        if turn.job.work.prompt[0] == PROMPT_OF_BAD:
            raise invalid("response_format: too complex", "response_format")
        return open_slot(turn)

    engine.batch = Batch(engine.decoder, engine.scheduler, engine.metrics, refuse)
    bad = engine.submit(Client(Work((PROMPT_OF_BAD, 2), GREEDY, 5, choices=3)))
    good = engine.submit(Client(work(first=2)))
    engine.run()
    assert bad.error and bad.error.status == 400
    assert good.text() == alone(good.job.work)


def test_a_decoder_that_only_fails_ends_the_engine() -> None:
    engine = HandDriven(slots=1)
    engine.decoder.failing = 1000
    for number in range(5):
        engine.submit(Client(work(first=number)))
    with pytest.raises(RuntimeError, match="told to fail"):
        engine.run()
    assert len(engine.decoder.steps) == 3


def test_a_prompt_that_can_never_have_room_is_refused_with_both_sizes() -> None:
    engine = HandDriven(page_count=4)
    room = 4 * PAGE_TOKENS
    fitting = engine.submit(Client(work(room - 10, 11)))
    engine.run()
    assert fitting.reasons
    with pytest.raises(Exception, match=f"{room + 1} tokens.*room for {room}"):
        engine.submit(Client(work(room - 9, 11)))


def test_one_who_needs_all_pages_waits_for_them_and_is_not_overtaken() -> None:
    engine = HandDriven(slots=3, page_count=6)
    small = [engine.submit(Client(work(60, 20, first=number), f"u{number}")) for number in range(2)]
    engine.advance()
    large = engine.submit(Client(work(6 * PAGE_TOKENS - 20, 20), "large"))
    late = engine.submit(Client(work(first=9), "late"))
    while not all(client.is_over for client in small):
        assert Started() not in late.events
        engine.advance()
    engine.run()
    assert large.text() == alone(large.job.work) and late.text() == alone(late.job.work)


OWNERS = [("ann", "c1"), ("ann", "c2"), ("ann", ""), ("bob", "c1"), ("", "")]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, int, int, int]]:
    """What happens between steps: (kind, owner, length, fork, amount)."""
    kind = st.sampled_from(["ask", "ask", "ask", "leave", "step", "step", "fail"])
    one = st.tuples(kind, st.integers(0, len(OWNERS) - 1), st.integers(1, 300), st.integers(0, 3), st.integers(1, 12))
    return draw(st.lists(one, max_size=40))


@settings(max_examples=150, deadline=None)
@given(histories(), st.integers(1, 4), st.integers(6, 14))
def test_whatever_happens_each_answer_equals_the_one_computed_alone(
    history: list[tuple[str, int, int, int, int]], slots: int, page_count: int
) -> None:
    engine = HandDriven(slots, page_count)
    clients: list[Client] = []
    left: set[Client] = set()
    failures = 0
    for kind, owner, length, fork, amount in history:
        if kind == "ask":
            sampling = Sampling(temperature=1.0, seed=fork) if fork else GREEDY
            # Prompts of one owner begin alike and fork somewhere: that is what caches are kept for.
            prompt = tuple(1 + (place + (fork if place > 40 * fork else 0)) % 39 for place in range(length))
            clients.append(engine.submit(Client(Work(prompt, sampling, amount), *OWNERS[owner])))
        elif kind == "leave" and clients:
            client = clients[length % len(clients)]
            engine.scheduler.withdraw(client.job)
            left.add(client)
        elif kind == "fail" and failures < 2:
            # The third in a row would end the engine.
            failures += 1
            engine.decoder.failing = 1
            engine.advance()
            engine.decoder.failing = 0
        elif kind == "step":
            for _ in range(amount):
                engine.advance()
    engine.run()
    for client in clients:
        expected = alone(client.job.work)
        if client.finished:
            assert client.text() == expected
        else:
            assert client in left or client.error
            assert expected.startswith(client.text())
    assert engine.batch.usage == 0


def test_64_clients_on_2_slots_are_served_to_the_end_or_refused_and_take_turns() -> None:
    engine = HandDriven(slots=2, limits=Queue(per_user=2, total=16))
    served: list[Client] = []
    refused = 0
    for number in range(64):
        client = Client(work(first=number), f"user{number % 8}")
        try:
            engine.submit(client)
            served.append(client)
        except Exception as error:
            assert getattr(error, "status", 0) == 429
            refused += 1
    order: list[Client] = []
    while engine.scheduler.running + engine.scheduler.waiting:
        engine.advance()
        order += [client for client in served if Started() in client.events and client not in order]
    assert (len(served), refused) == (16, 48)
    assert all(client.finished and not any(isinstance(e, Failed) for e in client.events) for client in served)
    # Each user has a first turn before anybody has a second.
    users = [client.job.user for client in order]
    assert len(set(users[:8])) == len(set(users[8:])) == 8


def test_tokens_are_counted_while_an_answer_is_written_and_a_prompt_once_for_all_its_choices() -> None:
    engine = HandDriven()
    client = engine.submit(Client(work(20, 30, sampling=Sampling(temperature=1.0, seed=7), choices=3)))
    counted = []
    while not client.is_over:
        engine.advance()
        counted.append(engine.metrics.generation_tokens)
    assert client.finished and counted[-1] == client.finished.usage.completion_tokens
    assert len(set(counted)) > 10 and engine.metrics.prompt_tokens == 20
