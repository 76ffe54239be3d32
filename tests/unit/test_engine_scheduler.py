"""The queue: its bounds, its order, what those who wait are told, and how work ends when nobody waits for it."""

import threading
import time

import pytest
from hash_decoder import Client, HandDriven

from service.config import Queue
from service.engine import admission
from service.engine.errors import RequestError
from service.engine.jobs import Event, Failed, Finished, Piece, Started, Timings, Usage, Waiting, Work
from service.engine.sampling import Sampling

WORK = Work((1, 2, 3), Sampling(), 10)


def client(user: str = "") -> Client:
    return Client(WORK, user)


def refusal(engine: HandDriven, user: str = "") -> RequestError:
    with pytest.raises(RequestError) as caught:
        engine.submit(client(user))
    return caught.value


def order_of_start(engine: HandDriven, clients: list[Client]) -> list[int]:
    """Serve everybody; give the places of the clients in the order in which they started."""
    order: list[int] = []
    while engine.scheduler.running + engine.scheduler.waiting:
        engine.advance()
        order += [at for at, one in enumerate(clients) if Started() in one.events and at not in order]
    return order


def test_one_users_jobs_are_served_in_the_order_they_came() -> None:
    engine = HandDriven(slots=1)
    clients = [engine.submit(client("a")) for _ in range(4)]
    assert order_of_start(engine, clients) == [0, 1, 2, 3]


def test_users_take_turns_however_many_jobs_one_has_queued() -> None:
    engine = HandDriven(slots=1)
    clients = [engine.submit(client(user)) for user in "aaabbc"]
    assert order_of_start(engine, clients) == [0, 3, 5, 1, 4, 2]


def test_of_users_who_were_never_served_the_first_to_come_is_first() -> None:
    engine = HandDriven(slots=1)
    clients = [engine.submit(client(user)) for user in ("zoe", "adam", "mia")]
    assert order_of_start(engine, clients) == [0, 1, 2]


def test_the_user_with_the_fewest_running_is_next() -> None:
    engine = HandDriven(slots=3)
    clients = [engine.submit(client(user)) for user in "aaab"]
    engine.advance()
    assert [Started() in one.events for one in clients] == [True, True, False, True]


def test_one_who_was_just_served_waits_behind_one_who_was_not() -> None:
    engine = HandDriven(slots=1)
    engine.submit(client("a"))
    engine.submit(client("b"))
    engine.run()
    clients = [engine.submit(client(user)) for user in "ba"]
    assert order_of_start(engine, clients) == [1, 0]


def test_beyond_the_total_a_client_is_told_when_to_come_back() -> None:
    engine = HandDriven(limits=Queue(per_user=1, total=2))
    engine.submit(client("a"))
    engine.submit(client("b"))
    error = refusal(engine, "c")
    assert (error.status, error.code) == (429, "queue_full")
    assert int(error.headers["Retry-After"]) >= 1
    assert error.body["error"]["type"] == "rate_limit_error"


def test_a_request_may_bring_the_number_that_its_user_may_have_at_once() -> None:
    engine = HandDriven(limits=Queue(per_user=2))
    engine.submit(Client(WORK, "a", per_user=1))
    with pytest.raises(RequestError, match="1 requests of this user"):
        engine.submit(Client(WORK, "a", per_user=1))
    for _ in range(2):
        engine.submit(Client(WORK, "a", per_user=3))
    engine.submit(Client(WORK, "b"))


@pytest.mark.parametrize(("header", "limit"), [("3", 3), ("", 0), ("-1", 0), ("many", 0), ("9" * 400, 0)])
def test_what_is_no_number_of_requests_leaves_it_to_the_settings(header: str, limit: int) -> None:
    assert admission.Client.of({"x-ferry-user": "a", "x-ferry-per-user": header}) == admission.Client("a", "", limit)


def test_the_time_to_come_back_follows_the_measured_speed_and_what_is_left() -> None:
    engine = HandDriven(slots=1, limits=Queue(total=3))
    pace = engine.scheduler.pace
    pace.step_s, pace.row_s, pace.answer_tokens = 2.0, 1.0, 10.0
    for user in "abc":
        engine.submit(client(user))
    # Three jobs, one after the other: 3 tokens of prompt at 1 s, and 10 of answer at 2 s each.
    assert refusal(engine, "d").headers["Retry-After"] == "69"
    assert engine.scheduler.pace.seconds_left(0, 6, 10) == 8.0


def test_one_user_cannot_take_every_place() -> None:
    engine = HandDriven(limits=Queue(per_user=2, total=16))
    engine.submit(client("a"))
    engine.submit(client("a"))
    assert refusal(engine, "a").code == "user_queue_full"
    engine.submit(client("b"))
    assert engine.scheduler.waiting == 3


def test_the_running_job_counts_for_its_user() -> None:
    engine = HandDriven(limits=Queue(per_user=1, total=16))
    engine.submit(client("a"))
    engine.advance()
    assert (engine.scheduler.running, refusal(engine, "a").code) == (1, "user_queue_full")
    engine.run()
    engine.submit(client("a"))


def test_who_stops_an_answer_may_ask_again_at_once() -> None:
    engine = HandDriven(slots=1, limits=Queue(per_user=1, total=16))
    stopped = engine.submit(client("a"))
    engine.advance()
    engine.scheduler.withdraw(stopped.job)
    again = engine.submit(client("a"))
    engine.run()
    assert again.finished and not stopped.finished


def test_requests_without_a_user_are_bounded_by_the_total_alone() -> None:
    engine = HandDriven(limits=Queue(per_user=1, total=3))
    for _ in range(3):
        engine.submit(client())
    assert refusal(engine).code == "queue_full"


def test_who_waits_is_told_the_position_and_the_wait_and_who_runs_is_not() -> None:
    engine = HandDriven(slots=1)
    clients = [engine.submit(client(user)) for user in "abc"]
    engine.advance()
    waits = [[event for event in one.events if isinstance(event, Waiting)] for one in clients]
    assert [[wait.position for wait in told] for told in waits] == [[], [1], [2]]
    assert 0 < waits[1][0].wait_s < waits[2][0].wait_s


def test_who_waits_is_told_a_new_position_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.scheduler.TELL_AT_MOST_S", 0.0)
    monkeypatch.setattr("service.engine.scheduler.TELL_S", 1e9)
    engine = HandDriven(slots=1)
    _, _, last = (engine.submit(client(user)) for user in "abc")
    engine.run()
    positions = [event.position for event in last.events if isinstance(event, Waiting)]
    assert sorted(set(positions), reverse=True) == [2, 1]


def test_who_has_waited_too_long_is_sent_away_and_the_running_one_is_not() -> None:
    engine = HandDriven(slots=1, limits=Queue(timeout_s=100))
    running, waiting = engine.submit(client("a")), engine.submit(client("b"))
    engine.advance()
    running.job.arrived_s -= 101
    waiting.job.arrived_s -= 101
    engine.advance()
    assert waiting.error and (waiting.error.status, waiting.error.code) == (503, "queue_timeout")
    engine.run()
    assert running.finished


def test_a_withdrawn_job_leaves_the_queue_at_once() -> None:
    engine = HandDriven(limits=Queue(per_user=1))
    leaving = engine.submit(client("a"))
    engine.scheduler.withdraw(leaving.job)
    assert engine.scheduler.waiting == 0
    engine.submit(client("a"))


def test_a_job_past_its_deadline_is_told_so_wherever_it_stands() -> None:
    engine = HandDriven(slots=1)
    clients = [engine.submit(client(user)) for user in "ab"]
    engine.advance()
    for one in clients:
        engine.scheduler.withdraw(one.job, RequestError(504, "too late", "deadline"))
    engine.advance()
    assert [one.error.code if one.error else "" for one in clients] == ["deadline", "deadline"]


def test_withdrawing_what_is_over_changes_nothing() -> None:
    engine = HandDriven()
    one = engine.submit(client("a"))
    engine.run()
    told = list(one.events)
    engine.scheduler.withdraw(one.job, RequestError(504, "too late", "deadline"))
    engine.advance()
    assert one.events == told and one.finished


def test_closing_tells_everybody_who_waits_and_takes_nobody_else() -> None:
    engine = HandDriven()
    one = engine.submit(client())
    engine.scheduler.close(0)
    assert one.error and one.error.code == "stopping"
    assert refusal(engine).status == 503
    assert not engine.scheduler.wait(0)


def test_closing_ends_a_running_job_that_outlasts_the_grace_and_tells_it_at_once() -> None:
    engine = HandDriven()
    one = engine.submit(client())
    engine.advance()
    engine.scheduler.close(0)
    assert one.error and (one.error.status, one.error.code) == (503, "stopping")
    told = list(one.events)
    assert engine.scheduler.wait(0)
    engine.advance()
    assert one.events == told
    assert not engine.scheduler.wait(0)


def test_closing_lets_a_running_job_end_within_the_grace() -> None:
    engine = HandDriven()
    one = engine.submit(client())
    engine.advance()
    closing = threading.Thread(target=engine.scheduler.close, args=(60,))
    closing.start()
    while engine.scheduler.wait(0.01):
        engine.advance()
    closing.join(10)
    assert one.finished and not closing.is_alive()


def test_who_was_told_the_end_is_told_nothing_more() -> None:
    events: list[Event] = []
    one = Client(WORK)
    one.job._emit = events.append
    one.job.emit(Piece(0, "x"))
    one.job.emit(Failed(RequestError(500, "x")))
    one.job.emit(Piece(0, "y"))
    one.job.emit(Finished(Usage(1, 1), Timings(0, 1, 0.0, 1, 0.0)))
    assert [type(event) for event in events] == [Piece, Failed]


def test_waiting_for_work_ends_as_soon_as_there_is_some() -> None:
    engine = HandDriven()
    came = threading.Event()

    def serve() -> None:
        while engine.scheduler.wait(3600):
            came.set()
            engine.advance()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    engine.submit(client())
    assert came.wait(30)
    engine.scheduler.close(30)
    server.join(30)
    assert not server.is_alive()


def test_many_clients_from_many_threads_are_all_served() -> None:
    engine = HandDriven(slots=3, limits=Queue(per_user=100, total=400))
    stop = threading.Event()
    decoder = threading.Thread(target=lambda: [engine.advance() for _ in iter(stop.is_set, True)])
    decoder.start()
    clients = [Client(WORK, f"user{number % 5}") for number in range(60)]

    def use(own: list[Client]) -> None:
        for number, one in enumerate(own):
            engine.submit(one)
            if number % 3 == 0:
                engine.scheduler.withdraw(one.job, RequestError(504, "too late", "deadline"))

    threads = [threading.Thread(target=use, args=(clients[number::6],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while engine.scheduler.running + engine.scheduler.waiting:
        time.sleep(0.001)
    stop.set()
    decoder.join()
    assert all(one.is_over for one in clients)
