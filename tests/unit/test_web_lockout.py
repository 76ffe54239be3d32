"""How wrong passwords and too many requests are slowed down, and that nobody is kept out by a stranger."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from web_app import WebApp, web_app
from web_process import PASSWORD, log_in_form

from service.web import accounts, lockout, login, passwords
from service.web import rates as rates_module
from service.web.models import Failure, Login
from service.web.rates import WAYS, Rates, Table


@pytest.fixture
def web(tmp_path: Path):
    with web_app(tmp_path) as made:
        made.add_user("alice")
        yield made


def test_waits_double_up_to_five_minutes() -> None:
    assert [lockout.wait_after(count, 5) for count in range(4, 13)] == [0, 5, 10, 20, 40, 80, 160, 300, 300]


def test_after_five_wrong_passwords_everybody_waits_alike_even_with_the_right_one(web: WebApp) -> None:
    pages = set()
    for name in ("alice", "nobody"):
        for _ in range(5):
            assert log_in_form(web.app.test_client(), name, "wrong").status_code == 401
        answer = log_in_form(web.app.test_client(), name, PASSWORD)
        assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 6
        pages.add(re.sub(r'value="[^"]*"|\d+', "", answer.text))
    assert len(pages) == 1, "an unknown name is told the same"


def test_a_try_while_waiting_does_not_prolong_the_wait_and_the_right_password_ends_it(web: WebApp) -> None:
    for second in range(5):
        assert lockout.begin(web.database, "alice", "10.0.0.1", now=100.0 + second) == 0
    assert lockout.begin(web.database, "alice", "10.0.0.1", now=105.0) == 4.0
    assert lockout.begin(web.database, "alice", "10.0.0.1", now=108.0) == 1.0
    assert lockout.begin(web.database, "alice", "10.0.0.1", now=109.0) == 0
    assert lockout.begin(web.database, "alice", "10.0.0.1", now=110.0) == 9.0
    lockout.succeed(web.database, "alice", "10.0.0.1")
    assert lockout.begin(web.database, "alice", "10.0.0.1", now=110.0) == 0


def test_a_stranger_elsewhere_keeps_nobody_out(web: WebApp) -> None:
    for number in range(200):
        lockout.begin(web.database, "alice", "203.0.113.5", now=100.0 + number)
    assert lockout.begin(web.database, "alice", "203.0.113.5", now=301.0) > 0
    assert lockout.begin(web.database, "alice", "10.0.0.1", now=301.0) == 0


def test_who_guesses_from_many_addresses_keeps_out_neither_a_known_one_nor_this_machine(web: WebApp) -> None:
    web.login("alice")  # from 127.0.0.1
    with web.database.begin() as session:
        session.query(Login).one().address = "10.0.0.7"
    for number in range(300):
        lockout.begin(web.database, "alice", f"203.0.{number}.1", now=100.0)
    assert lockout.begin(web.database, "alice", "198.51.100.1", now=101.0) > 0
    assert lockout.begin(web.database, "alice", "10.0.0.7", now=101.0) == 0
    assert lockout.begin(web.database, "alice", "127.0.0.1", now=101.0) == 0
    with web.database.begin() as session:
        assert lockout.waiting_s(session, "ALICE", now=101.0) > 0
        lockout.forgive(session, "alice")
    assert lockout.begin(web.database, "alice", "198.51.100.1", now=101.0) == 0


def test_one_address_may_not_try_name_after_name_and_a_good_login_does_not_wash_it_clean(web: WebApp) -> None:
    for number in range(30):
        assert lockout.begin(web.database, f"name {number}", "203.0.113.5", now=100.0) == 0
    lockout.succeed(web.database, "name 1", "203.0.113.5", now=100.0)
    assert lockout.begin(web.database, "name 30", "203.0.113.5", now=100.0) == 0
    assert lockout.begin(web.database, "name 31", "203.0.113.5", now=100.0) > 0


def test_an_ipv6_neighbour_counts_as_the_same_and_an_hour_later_all_is_forgotten(web: WebApp) -> None:
    for number in range(5):
        lockout.begin(web.database, "alice", f"2001:db8::{number}", now=100.0)
    assert lockout.begin(web.database, "alice", "2001:db8::ffff", now=100.0) > 0
    assert lockout.begin(web.database, "alice", "2001:db8:0:1::1", now=100.0) == 0
    assert lockout.begin(web.database, "alice", "2001:db8::1", now=100.0 + lockout.FORGET_S + 1) == 0


def test_no_name_that_was_typed_is_kept(web: WebApp) -> None:
    log_in_form(web.app.test_client(), "my password by mistake", "x")
    with web.database.begin() as session:
        assert [row.subject for row in session.query(Failure) if "password" in row.subject] == []


def test_requests_are_limited_for_each_by_itself_and_come_back_evenly() -> None:
    rates = Rates(60)
    assert [rates.take("alice", 0.0) for _ in range(60)] == [0.0] * 60
    assert rates.take("alice", 0.0) == 1.0 and rates.take("bob", 0.0) == 0.0
    assert rates.take("alice", 1.0) == 0.0 and rates.take("alice", 1.0) == 1.0
    assert Rates(0).take("alice", 0.0) == 0.0


def test_whoever_waited_long_has_a_minute_of_requests_and_no_more() -> None:
    rates = Rates(7)
    for start in (0.0, 1000.0):
        assert [rates.take("alice", start) for _ in range(7)] == [0.0] * 7
        assert rates.take("alice", start) == pytest.approx(60 / 7)


def test_all_workers_count_together_and_one_that_is_killed_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "_shared", Table())
    child = os.fork()
    if child == 0:
        counted = Rates(60)
        taken = [counted.take("alice", 5.0) for _ in range(60)]
        os.kill(os.getpid(), signal.SIGKILL if taken == [0.0] * 60 else signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    rates = Rates(60)
    assert rates.take("alice", 5.0) == 1.0 and rates.take("bob", 5.0) == 0.0


def test_more_names_than_there_are_places_push_out_those_that_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates_module, "SETS", 1)
    rates = Rates(2)
    assert [rates.take("busy", 10.0) for _ in range(3)] == [0.0, 0.0, 30.0]
    for number in range(WAYS - 1):
        assert rates.take(f"early {number}", 10.0 + number) == 0.0
    assert rates.take("one too many", 17.0) == 0.0
    assert rates.take("busy", 17.0) == 23.0 and rates.take("early 1", 17.0) == 0.0 and rates.take("early 1", 17.0) > 0
    assert [rates.take("early 0", 17.0) for _ in range(2)] == [0.0, 0.0]


def test_too_many_requests_are_429_and_say_when_to_come_back(tmp_path: Path) -> None:
    with web_app(tmp_path, "requests_per_minute = 3\n") as web:
        headers = {"Authorization": f"Bearer {web.add_key('script')}"}
        answers = [web.app.test_client().get("/v1/models", headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["Retry-After"] and answers[-1].json["error"]["code"] == "too_many_requests"
        assert web.app.test_client().get("/healthz").status_code == 200


def test_each_reason_to_refuse_costs_one_hash_and_a_wait_costs_none(
    web: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes time is counted, not timed: an unknown name must not be quicker than a wrong password."""
    checked: list[bool] = []

    def count(password: str, password_hash: str | None) -> bool:
        checked.append(password_hash is None)
        return passwords.is_password(password, password_hash)

    monkeypatch.setattr(login, "is_password", count)
    web.add_user("bob")
    with web.database.begin() as session:
        accounts.set_enabled(session, accounts.get_user(session, "bob"), False)
    for name, password in (("alice", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD), ("alice", "x" * 5000)):
        before = len(checked)
        assert log_in_form(web.app.test_client(), name, password).status_code == 401
        assert len(checked) == before + 1, name
    for _ in range(5):
        lockout.begin(web.database, "alice", "127.0.0.1")
    before = len(checked)
    assert log_in_form(web.app.test_client(), "alice", PASSWORD).status_code == 429 and len(checked) == before
