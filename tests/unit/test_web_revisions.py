"""The database's way to a newer release and back, with data in it; and what every migration has to bring along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import databases
import newer_tables
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.web import accounts, database, revisions
from service.web.database import Database
from service.web.errors import AdminError
from service.web.models import Base, Conversation, Message, User
from service.web.revisions import MIGRATIONS


@pytest.fixture
def store(tmp_path: Path, database_kind: str) -> Iterator[Database]:
    made = Database(database.url_of(databases.fresh(database_kind), tmp_path))
    revisions.migrate(made, tmp_path)
    with made.begin() as session:
        user = accounts.add_user(session, "alice", "long enough", "user")
        session.add(Conversation(id="c", user_id=user.id, title="t"))
        session.flush()
        session.add(Message(conversation_id="c", role="user", content="hello", state="complete"))
    yield made
    made.close()


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "MIGRATIONS", newer_tables.make(tmp_path))


def counts(store: Database) -> list[int]:
    with store.begin() as session:
        tables = (table.__tablename__ for table in (User, Conversation, Message))
        # Not by the models: an older revision's tables lack what they name.
        return [int(session.scalar(text(f"SELECT count(*) FROM {table}")) or 0) for table in tables]


def test_a_newer_release_and_the_way_back_lose_no_row(store: Database, tmp_path: Path, newer: None) -> None:
    before = revisions.current(store)
    assert revisions.migrate(store, tmp_path) == ("9999", True)
    assert counts(store) == [1, 1, 1]
    assert revisions.downgrade(store, tmp_path, str(before)) == revisions.Way("9999", str(before), ())
    assert counts(store) == [1, 1, 1] and revisions.current(store) == before
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_what_a_way_back_would_lose_is_said_before_it_is_gone(store: Database, tmp_path: Path, newer: None) -> None:
    before = str(revisions.current(store))
    revisions.migrate(store, tmp_path)
    with store.begin() as session:
        session.execute(text("UPDATE users SET note = 'on leave'"))
    way = revisions.way_back(store, tmp_path, before)
    assert way == revisions.Way("9999", before, ("the notes of 1 accounts",))
    assert revisions.current(store) == "9999"
    assert revisions.downgrade(store, tmp_path, before) == way
    assert counts(store) == [1, 1, 1]


def test_to_the_revision_that_it_has_is_no_step(store: Database, tmp_path: Path) -> None:
    here = str(revisions.current(store))
    assert revisions.downgrade(store, tmp_path, here) == revisions.Way(here, here, ())


def test_a_way_back_that_fails_changes_nothing(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = str(revisions.current(store))
    fault = "\n    raise RuntimeError('the disk is full')"
    monkeypatch.setattr(revisions, "MIGRATIONS", newer_tables.make(tmp_path, fault))
    revisions.migrate(store, tmp_path)
    with pytest.raises(RuntimeError):
        revisions.downgrade(store, tmp_path, before)
    assert revisions.current(store) == "9999" and counts(store) == [1, 1, 1]
    assert "note" in {column["name"] for column in inspect(store.engine).get_columns("users")}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)  # PostgreSQL itself sees to it
def test_a_step_that_would_lose_rows_others_refer_to_changes_nothing(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = str(revisions.current(store))
    fault = "\n    op.execute('DELETE FROM users')"
    monkeypatch.setattr(revisions, "MIGRATIONS", newer_tables.make(tmp_path, fault))
    revisions.migrate(store, tmp_path)
    with pytest.raises(AdminError, match="rows that others refer to"):
        revisions.downgrade(store, tmp_path, before)
    assert revisions.current(store) == "9999" and counts(store) == [1, 1, 1]


def test_foreign_keys_hold_again_after_a_migration(store: Database, tmp_path: Path, newer: None) -> None:
    revisions.migrate(store, tmp_path)
    with store.begin() as session:
        session.execute(text("DELETE FROM users"))
    assert counts(store) == [0, 0, 0]


def test_a_database_of_a_newer_release_is_refused_by_name(store: Database, tmp_path: Path) -> None:
    with store.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert revisions.current(store) == "9999"
    for go in (revisions.migrate, lambda *words: revisions.downgrade(*words, "base")):
        with pytest.raises(AdminError, match="revision 9999, which this release does not know") as refused:
            go(store, tmp_path)
        assert refused.value.exit_code == 4 and refused.value.hint


@pytest.mark.parametrize(("target", "words"), [("9999", "does not know it"), ("0", "does not know it")])
def test_a_revision_that_nobody_knows_is_no_target(store: Database, tmp_path: Path, target: str, words: str) -> None:
    with pytest.raises(AdminError, match=words):
        revisions.downgrade(store, tmp_path, target)


def test_forward_is_no_way_back(tmp_path: Path) -> None:
    empty = Database(database.url_of("", tmp_path))
    with pytest.raises(AdminError, match="newer than base"):
        revisions.way_back(empty, tmp_path, revisions.known()[-1])
    empty.close()


def test_asking_a_database_that_is_not_there_makes_none(tmp_path: Path) -> None:
    empty = Database(database.url_of("", tmp_path))
    assert revisions.current(empty) is None
    empty.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("revision", revisions.known())
def test_every_migration_has_a_way_back_and_says_what_it_loses(store: Database, tmp_path: Path, revision: str) -> None:
    """From this release's tables down to before each step and up again: the tables are the same as made afresh."""
    module = ScriptDirectory(str(MIGRATIONS)).get_revision(revision).module
    with store.engine.connect() as connection:
        assert isinstance(module.losses(connection), list)
    below = module.down_revision or revisions.BASE
    way = revisions.downgrade(store, tmp_path, below)
    assert revisions.current(store) == module.down_revision
    assert way.losses or counts(store) == [1, 1, 1]
    revisions.migrate(store, tmp_path)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_first_step_back_says_all_that_goes(store: Database, tmp_path: Path) -> None:
    way = revisions.downgrade(store, tmp_path, revisions.BASE)
    assert way.losses == ("all accounts: 1", "all conversations: 1", "all messages: 1")
    assert inspect(store.engine).get_table_names() == ["alembic_version"]


def test_a_row_of_messages_becomes_a_branch_and_one_branch_a_row_again(store: Database, tmp_path: Path) -> None:
    revisions.downgrade(store, tmp_path, "0001")
    with store.begin() as session:
        session.execute(text("INSERT INTO conversations VALUES ('d', (SELECT max(id) FROM users), '', 0, 0)"))
        for number in (101, 102, 103):
            values = f"({number}, 'd', 'user', 'words', 'complete', 0)"
            columns = "(id, conversation_id, role, content, state, created_at)"
            session.execute(text(f"INSERT INTO messages {columns} VALUES {values}"))
    revisions.migrate(store, tmp_path)
    with store.begin() as session:
        found = session.execute(text("SELECT id, parent_id FROM messages WHERE conversation_id = 'd' ORDER BY id"))
        assert [tuple(row) for row in found] == [(101, None), (102, 101), (103, 102)]
        session.execute(text("UPDATE conversations SET leaf_id = 102 WHERE id = 'd'"))
    way = revisions.downgrade(store, tmp_path, "0001")
    assert way.losses == ("messages of other branches than the one shown: 1",)
    with store.begin() as session:
        left = session.scalars(text("SELECT id FROM messages WHERE conversation_id = 'd' ORDER BY id"))
        assert list(left) == [101, 102]
