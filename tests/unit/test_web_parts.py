"""The pure parts of the web tier, its database, its words, and what it ships to browsers."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import databases
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from werkzeug.datastructures import LanguageAccept

from bundle import components
from service.config import Engine, Web
from service.web import accounts, database, history, language, passwords, revisions, selftest, sse
from service.web.conversations import title_of
from service.web.database import Database
from service.web.engine_address import Address
from service.web.errors import AdminError
from service.web.figures import figures
from service.web.models import Base

WEB = Path(language.__file__).parent
# What the administration pages say of a tab, a form that is done or cannot be, a setting, ….
ADMIN = [
    f"admin_{word}_" for word in ["tab", "kind", "warn", "done", "bad", "role", "source", "secret", "set", "content"]
]


@pytest.fixture
def store(tmp_path: Path):
    made = Database(database.url_of("", tmp_path))
    yield made
    made.close()


def test_migrating_twice_changes_nothing_the_second_time(store: Database, tmp_path: Path) -> None:
    revision, changed = revisions.migrate(store, tmp_path)
    assert changed
    assert revisions.migrate(store, tmp_path) == (revision, False)


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path: Path, database_kind: str) -> None:
    store = Database(database.url_of(databases.fresh(database_kind), tmp_path))
    revisions.migrate(store, tmp_path)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    store.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Operations, "create_index", fail)
    with pytest.raises(RuntimeError):
        revisions.migrate(store, tmp_path)
    assert inspect(store.engine).get_table_names() == []
    monkeypatch.undo()
    assert revisions.migrate(store, tmp_path)[1]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 8, 20, 1000])
def test_a_history_stays_within_its_turns_and_moves_by_half_of_them(limit: int) -> None:
    firsts = [history.first_kept(count, limit) for count in range(3 * limit)]
    assert all(count - first <= limit for count, first in enumerate(firsts))
    assert all(count - first >= limit // 2 for count, first in enumerate(firsts) if count > limit)
    moves = [count for count, (before, after) in enumerate(pairwise(firsts)) if before != after]
    assert {after - before for before, after in pairwise(firsts)} <= {0, (limit + 1) // 2}
    assert moves[0] == limit and all(after - before == (limit + 1) // 2 for before, after in pairwise(moves))


def test_a_shorter_history_ends_with_none() -> None:
    firsts = [0]
    while firsts[-1] < 8:
        firsts.append(history.halved(firsts[-1], 8))
    assert firsts == [0, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("usage", "timings", "expected"),
    [
        (None, None, {}),
        ("text", [1], {}),
        ({"prompt_tokens": True, "completion_tokens": "5", "prompt_tokens_details": None}, {}, {}),
        ({"prompt_tokens": 9, "completion_tokens": 0}, {}, {"prompt_tokens": 9, "answer_tokens": 0}),
        ({"completion_tokens": 5}, {"cache_n": -1}, {"answer_tokens": 5, "tokens_per_s": 2.0}),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, {"cache_n": 7}, {"cached_tokens": 0}),
        ({}, {"predicted_per_second": float("nan"), "predicted_n": float("inf")}, {}),
    ],
)
def test_figures_are_what_a_server_told_and_nothing_else(usage: object, timings: object, expected: dict) -> None:
    assert figures(usage, timings, 2.0) == expected


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://10.0.0.7:8000/v1", "http://10.0.0.7:8000"),
        ("https://[fd00::7]/v1/", "https://[fd00::7]"),
        ("http://gateway/llm/v1", "http://gateway/llm"),
        ("http://gateway/api/v3", "http://gateway/api/v3"),
    ],
)
def test_the_health_of_another_server_is_asked_beside_its_interface(url: str, root: str) -> None:
    address = Address.of(Engine(url=url))
    assert (address.root, address.base) == (root, url.rstrip("/")) and not address.is_local


def test_a_conversation_that_brings_instructions_gets_no_others() -> None:
    own = [{"role": "system", "content": "mine"}, {"role": "user", "content": "hello"}]
    assert history.with_system_prompt(own, "yours") == own
    assert history.with_system_prompt(own[1:], "yours")[0] == {"role": "system", "content": "yours"}


def test_events_are_split_at_newlines_only_wherever_the_chunks_end() -> None:
    text = 'data: {"a": "\u2028\u0085\r"}\n\ndata: [DONE]'.encode()
    for size in (1, 2, 3, 7, 100):
        chunks = (text[start : start + size] for start in range(0, len(text), size))
        assert list(sse.lines(chunks)) == text.split(b"\n")


def test_titles_are_the_first_words() -> None:
    assert title_of("  What\n is it? ") == "What is it?"
    assert len(title_of("x" * 100)) == 60 and title_of("x" * 100).endswith("…")


def test_names_that_look_alike_are_one_account(store: Database, tmp_path: Path) -> None:
    revisions.migrate(store, tmp_path)
    with store.begin() as session:
        accounts.add_user(session, "张三", "long enough", "user")
        accounts.add_user(session, "Straße", "long enough", "user")
        for name in ("strasse", "ＳＴＲＡＳＳＥ"):
            with pytest.raises(AdminError, match="exists already"):
                accounts.add_user(session, name, "long enough", "user")
        assert accounts.find_user(session, "STRASSE")


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a" * 65, "\x00", "\u202ea"])
def test_names_that_cannot_be_shown_are_refused(store: Database, tmp_path: Path, name: str) -> None:
    revisions.migrate(store, tmp_path)
    with store.begin() as session, pytest.raises(AdminError):
        accounts.add_user(session, name, "long enough", "user")


def test_generated_passwords_are_long_and_differ() -> None:
    made = {passwords.generate_password() for _ in range(50)}
    assert len(made) == 50 and all(re.fullmatch(r"([a-z2-9]{4}-){3}[a-z2-9]{4}", password) for password in made)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:80", "http://[::1]:80"),
        ("10.1.2.3:8080", "http://10.1.2.3:8080"),
        ("chat.bank:8080", "http://chat.bank:8080"),
    ],
)
def test_the_service_is_reached_by_the_address_it_listens_on(listen: str, url: str) -> None:
    assert selftest.url_of(Web(listen=listen)) == url


@pytest.mark.parametrize(
    ("chosen", "accepted", "found"),
    [("", "zh-CN", "zh"), ("", "fr", "en"), ("", "", "en"), ("zh", "en", "zh"), ("xx", "en", "en")],
)
def test_the_language_is_the_chosen_one_else_the_browsers(chosen: str, accepted: str, found: str) -> None:
    assert language.choose(chosen, LanguageAccept([(accepted, 1)] if accepted else [])) == found


def test_every_language_has_every_word_and_every_word_is_used() -> None:
    dictionaries = [language.strings(code) for code in language.NAMES]
    assert all(words.keys() == dictionaries[0].keys() for words in dictionaries)
    text = "".join(path.read_text() for path in [*WEB.glob("templates/*.html"), *WEB.glob("static/js/*.js")])
    used = set(re.findall(r'\bt\.(\w+)|\bt\("(\w+)"\)', text))
    assert {one or two for one, two in used} <= dictionaries[0].keys()
    text += "".join(path.read_text() for path in WEB.glob("*.py"))
    pages = (
        "audit_holds_",
        "audit_fact_",
        "audit_is_",
        "audit_recorded_",
        "audit_text_",
        "audit_value_",
        "recorded_texts_",
        "refused_",
        "account_role_",
        "account_done_",
        "apidocs_topic_",
        "apidocs_needs_",
        *ADMIN,
    )
    computed = ("state_", "error_", "status_", "login_", "nav_", "theme_", *pages)
    for key in dictionaries[0]:
        assert key.startswith(computed) or re.search(rf'\bt\.{key}\b|"{key}"', text), f"{key} is not used"


@pytest.mark.parametrize("code", language.NAMES)
def test_the_chat_pages_scripts_have_every_word_that_they_say_and_no_other_pages(code: str) -> None:
    folder, todo, text = WEB / "static" / "js", ["main.js"], ""
    for name in todo:  # it grows by what each imports
        text += (folder / name).read_text()
        todo += [each for each in re.findall(r'from "\./(\w+\.js)"', text) if each not in todo]
    given, known = language.of_scripts(code), language.strings(code)
    said = {word for word in re.findall(r'["`](\w+)["`]', text) if word in known}
    assert len(said) > 50 and said <= given.keys()
    assert {word for word in known if word.startswith(("state_", "error_"))} <= given.keys()
    assert len("".join(given.values())) < len("".join(known.values())) / 3


def test_vendored_files_are_the_ones_that_the_readme_names() -> None:
    folder = WEB / "static" / "vendor"
    listed = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (folder / "README.md").read_text(), re.M))
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    texts = {name for name in files if name.endswith(".LICENSE.txt")}
    others = {name: path for name, path in files.items() if name not in {"README.md", *texts}}
    assert listed == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in others.items()}
    packages = components.scripts((folder / "README.md").read_text())
    assert {name for package in packages for name in package.paths} == listed.keys()
    assert texts == {package.text for package in packages}


def test_pages_have_no_inline_script_style_or_foreign_address() -> None:
    for path in (WEB / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(
            r"<script(?![^>]*(src=|application/json))|<style|\sstyle=|\son\w+=|https?://|javascript:", text
        )


def test_dictionaries_are_plain_json() -> None:
    paths = list((WEB / "strings").glob("*/*.json"))
    assert paths
    for path in paths:
        assert all(isinstance(value, str) for value in json.loads(path.read_text()).values())
