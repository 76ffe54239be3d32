"""Settings made on the administration page: they go before the file, in every worker, and obey the file's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.config import Config, Engine
from service.web import database, revisions
from service.web.database import Database
from service.web.live_settings import FRESH_S, KEYS, BadSetting, LiveSettings
from service.web.models import Setting


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("settings")
    made = Database(database.url_of("", folder))
    revisions.migrate(made, folder)
    yield made
    made.close()


@pytest.fixture
def clock(store: Database):
    now = [0.0]
    yield now
    with store.begin() as session:
        session.query(Setting).delete()


def live(store: Database, clock: list[float], **settings: object) -> LiveSettings:
    return LiveSettings(Config(engine=Engine(**settings)), store, lambda: clock[0])  # type: ignore[arg-type]


def put(store: Database, settings: LiveSettings, name: str, text: str) -> None:
    with store.begin() as session:
        settings.put(session, name, text, "alice")


def test_what_is_set_on_the_page_goes_before_the_file_until_it_is_reset(store: Database, clock: list[float]) -> None:
    settings = live(store, clock, system_prompt="of the file")
    put(store, settings, "engine.system_prompt", " of the page\r\nin two lines ")
    settings.forget()
    assert settings.current().engine.system_prompt == "of the page\nin two lines"
    assert settings.current().engine.max_new_tokens == 512
    with store.begin() as session:
        settings.reset(session, "engine.system_prompt")
    settings.forget()
    assert settings.current() == Config(engine=Engine(system_prompt="of the file"))


def test_other_workers_follow_within_two_seconds_and_do_not_ask_more_often(store: Database, clock: list[float]) -> None:
    here, there = live(store, clock), live(store, clock)
    assert there.current().history.turns == 8
    put(store, here, "history.turns", "3")
    clock[0] = FRESH_S - 0.1
    assert there.current().history.turns == 8
    clock[0] = FRESH_S
    assert there.current().history.turns == 3 and there.is_set("history.turns") and not there.is_set("queue.per_user")


def test_the_page_is_told_who_set_what_and_what_the_file_says(store: Database, clock: list[float]) -> None:
    settings = live(store, clock)
    put(store, settings, "history.turns", "3")
    with store.begin() as session:
        shown = {one.name: one for one in settings.shown(session)}
    turns, sessions = shown["history.turns"], shown["web.session_hours"]
    assert (turns.value, turns.of_file, turns.changed_by, turns.is_set) == (3, 8, "alice", True)
    assert (sessions.value, sessions.of_file, sessions.is_set) == (12, 12, False)
    assert len(shown) == len(KEYS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("history.turns", "0"),
        ("history.turns", "-1"),
        ("history.turns", "three"),
        ("history.turns", ""),
        ("history.turns", "٣"),
        ("history.turns", "1" * 5000),
        ("web.session_hours", "8761"),
        ("engine.max_new_tokens", "513"),
    ],
)
def test_a_value_that_the_file_could_not_have_is_refused(
    store: Database, clock: list[float], name: str, text: str
) -> None:
    settings = live(store, clock)
    with pytest.raises(BadSetting, match="a whole number from 1 to"):
        put(store, settings, name, text)
    settings.forget()
    assert settings.current() == Config()


@pytest.mark.parametrize("name", ["web.listen", "engine.url", "turns", "", "history.turns.x"])
def test_nothing_else_can_be_set_on_the_page(store: Database, clock: list[float], name: str) -> None:
    with pytest.raises(KeyError):
        put(store, live(store, clock), name, "1")


def test_a_value_that_the_rules_do_not_allow_any_more_is_passed_over(store: Database, clock: list[float]) -> None:
    with store.begin() as session:
        for name, value in (("history.turns", "0"), ("gone.key", "1"), ("queue.per_user", "{"), ("web.listen", '"x"')):
            session.add(Setting(name=name, value=value))
        session.add(Setting(name="engine.max_new_tokens", value="400"))
    settings = live(store, clock)
    assert settings.current() == Config(engine=Engine(max_new_tokens=400))
    assert live(store, clock, max_new_tokens=300).current().engine.max_new_tokens == 300


def test_a_database_that_is_away_changes_nothing(tmp_path: Path, clock: list[float]) -> None:
    nowhere = Database(database.url_of("", tmp_path / "nowhere"))
    assert live(nowhere, clock).current() == Config()
    nowhere.close()
