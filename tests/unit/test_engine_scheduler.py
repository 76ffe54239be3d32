"""The queue: its bounds, its order, and how work ends when nobody waits for it."""

import threading
from collections.abc import Callable

import pytest

from service.config import Queue
from service.engine.errors import Cancelled, RequestError
from service.engine.jobs import Event, Failed, Job, Piece, Work
from service.engine.sampling import Sampling
from service.engine.scheduler import Scheduler

WORK = Work((1, 2, 3), Sampling(), 10)


def make_job(user: str = "", emit: Callable[[Event], None] | None = None) -> Job:
    return Job(WORK, user, "", emit or (lambda event: None))


def refusal(scheduler: Scheduler, user: str = "") -> RequestError:
    with pytest.raises(RequestError) as caught:
        scheduler.submit(make_job(user))
    return caught.value


def test_jobs_are_served_in_the_order_they_came() -> None:
    scheduler = Scheduler(Queue())
    jobs = [make_job(), make_job(), make_job()]
    for job in jobs:
        scheduler.submit(job)
    served: list[Job] = []
    while scheduler.waiting:
        assert scheduler.run_next(served.append, 0)
    assert served == jobs


def test_beyond_the_total_a_client_is_told_when_to_come_back() -> None:
    scheduler = Scheduler(Queue(per_user=1, total=2))
    scheduler.submit(make_job("a"))
    scheduler.submit(make_job("b"))
    error = refusal(scheduler, "c")
    assert (error.status, error.code) == (429, "queue_full")
    assert int(error.headers["Retry-After"]) >= 1
    assert error.body["error"]["type"] == "rate_limit_error"


def test_one_user_cannot_take_every_place() -> None:
    scheduler = Scheduler(Queue(per_user=2, total=16))
    scheduler.submit(make_job("a"))
    scheduler.submit(make_job("a"))
    assert refusal(scheduler, "a").code == "user_queue_full"
    scheduler.submit(make_job("b"))
    assert scheduler.waiting == 3


def test_the_running_job_counts_for_its_user() -> None:
    scheduler = Scheduler(Queue(per_user=1, total=16))
    scheduler.submit(make_job("a"))
    codes: list[str | None] = []
    scheduler.run_next(lambda job: codes.append(refusal(scheduler, "a").code), 0)
    assert codes == ["user_queue_full"]
    scheduler.submit(make_job("a"))


def test_requests_without_a_user_are_bounded_by_the_total_alone() -> None:
    scheduler = Scheduler(Queue(per_user=1, total=3))
    for _ in range(3):
        scheduler.submit(make_job())
    assert refusal(scheduler).code == "queue_full"


def test_a_withdrawn_job_leaves_the_queue_at_once() -> None:
    scheduler = Scheduler(Queue(per_user=1))
    job = make_job("a")
    scheduler.submit(job)
    scheduler.withdraw(job)
    assert scheduler.waiting == 0
    scheduler.submit(make_job("a"))


def test_withdrawing_the_running_job_ends_it_before_its_next_step() -> None:
    scheduler = Scheduler(Queue())
    scheduler.submit(make_job())
    steps = 0

    def serve(job: Job) -> None:
        nonlocal steps
        with pytest.raises(Cancelled):
            while True:
                job.check()
                steps += 1
                if steps == 3:
                    scheduler.withdraw(job)

    scheduler.run_next(serve, 0)
    assert (steps, scheduler.running) == (3, 0)


def test_a_job_that_fails_leaves_the_decoder_free() -> None:
    scheduler = Scheduler(Queue())
    scheduler.submit(make_job())
    with pytest.raises(ZeroDivisionError):
        scheduler.run_next(lambda job: print(1 / 0), 0)
    assert scheduler.running == 0


def test_closing_tells_everybody_who_waits_and_takes_nobody_else() -> None:
    scheduler = Scheduler(Queue())
    told: list[Event] = []
    scheduler.submit(make_job(emit=told.append))
    scheduler.close(0)
    assert [event.error.code for event in told if isinstance(event, Failed)] == ["stopping"]
    assert refusal(scheduler).status == 503
    assert not scheduler.run_next(lambda job: None, 0)


def test_closing_ends_a_running_job_that_outlasts_the_grace() -> None:
    scheduler = Scheduler(Queue())
    told: list[Event] = []
    begun = threading.Event()

    def serve(job: Job) -> None:
        begun.set()
        try:
            while True:
                job.check()
        except Cancelled:
            job.give_up()

    scheduler.submit(make_job(emit=told.append))
    worker = threading.Thread(target=lambda: scheduler.run_next(serve, 1))
    worker.start()
    assert begun.wait(10)
    scheduler.close(0)
    worker.join(10)
    assert [event.error.status for event in told if isinstance(event, Failed)] == [503]


def test_a_client_that_left_is_told_nothing() -> None:
    told: list[Event] = []
    job = make_job(emit=told.append)
    job.withdraw()
    job.give_up()
    assert told == []
    job.emit(Piece(0, "x"))
    assert told == [Piece(0, "x")]


def test_at_a_stop_the_client_is_told_while_the_decoder_is_still_in_its_step() -> None:
    scheduler, told = Scheduler(Queue()), []
    is_stepping, may_end = threading.Event(), threading.Event()

    def long_step(job: Job) -> None:
        is_stepping.set()
        may_end.wait(30)

    scheduler.submit(make_job(emit=told.append))
    decoder = threading.Thread(target=scheduler.run_next, args=(long_step, 0))
    decoder.start()
    is_stepping.wait(30)
    scheduler.close(grace_s=0)
    (event,) = told
    assert isinstance(event, Failed) and event.error.code == "stopping"
    may_end.set()
    decoder.join()
