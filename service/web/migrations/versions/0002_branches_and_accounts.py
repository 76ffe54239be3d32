"""Branches of conversations, figures of answers; more about accounts, logins and keys; usage and settings."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def added() -> dict[str, tuple[sa.Column[Any], ...]]:
    """Return the new columns of each table, made anew: a column belongs to one table."""
    return {
        "users": (
            sa.Column("source", sa.String(16), nullable=False, server_default="local"),
            sa.Column("must_change", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("consented_at", sa.Double),
            sa.Column("tokens_per_day", sa.Integer),
            sa.Column("last_login_at", sa.Double),
        ),
        "logins": (
            sa.Column("last_seen_at", sa.Double, nullable=False, server_default="0"),
            sa.Column("address", sa.String(64), nullable=False, server_default=""),
            sa.Column("agent", sa.String(256), nullable=False, server_default=""),
        ),
        "api_keys": (
            sa.Column("start", sa.String(16), nullable=False, server_default=""),
            sa.Column("last_used_at", sa.Double),
            sa.Column("tokens_per_day", sa.Integer),
        ),
        "conversations": (sa.Column("leaf_id", sa.Integer),),
        "messages": (
            sa.Column("parent_id", sa.Integer),
            sa.Column("prompt_tokens", sa.Integer),
            sa.Column("cached_tokens", sa.Integer),
            sa.Column("answer_tokens", sa.Integer),
            sa.Column("tokens_per_s", sa.Double),
            sa.Column("first_id", sa.Integer),
        ),
    }


# What 0001 knows is a row of messages after another: each one's parent is the one before it.
CHAIN = """
UPDATE messages SET parent_id = (
    SELECT max(earlier.id) FROM messages AS earlier
    WHERE earlier.conversation_id = messages.conversation_id AND earlier.id < messages.id
)
"""
LEAVES = """
UPDATE conversations SET leaf_id = (SELECT max(id) FROM messages WHERE messages.conversation_id = conversations.id)
"""
# The branch that is shown of each conversation; nothing else fits into a row of messages.
SHOWN = """
WITH RECURSIVE shown(id, parent_id) AS (
    SELECT messages.id, messages.parent_id FROM messages JOIN conversations ON conversations.leaf_id = messages.id
    UNION ALL
    SELECT messages.id, messages.parent_id FROM messages JOIN shown ON messages.id = shown.parent_id
)
"""
HIDDEN = f"""
{SHOWN} %s FROM messages WHERE id NOT IN (SELECT id FROM shown)
AND conversation_id IN (SELECT id FROM conversations WHERE leaf_id IS NOT NULL)
"""


def upgrade() -> None:
    for table, columns in added().items():
        with op.batch_alter_table(table) as changed:
            for column in columns:
                changed.add_column(column)
    op.create_index("ix_messages_parent_id", "messages", ["parent_id"])
    op.create_table(
        "failures",
        sa.Column("subject", sa.String(320), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
    op.create_table(
        "usage",
        sa.Column("subject", sa.String(32), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
    )
    op.execute("UPDATE logins SET last_seen_at = created_at")
    op.execute(CHAIN)
    op.execute(LEAVES)


def downgrade() -> None:
    op.execute(HIDDEN % "DELETE")
    op.execute("DELETE FROM users WHERE password_hash = ''")
    for table in ("settings", "usage", "failures"):
        op.drop_table(table)
    op.drop_index("ix_messages_parent_id", "messages")
    for table, columns in added().items():
        with op.batch_alter_table(table) as changed:
            for column in columns:
                changed.drop_column(column.name)


def losses(connection: sa.Connection) -> list[str]:
    asked = {
        "messages of other branches than the one shown": HIDDEN % "SELECT count(*)",
        "accounts whose password another server checks, with their conversations": "SELECT count(*) FROM users"
        " WHERE password_hash = ''",
        "limits of tokens a day": "SELECT (SELECT count(*) FROM users WHERE tokens_per_day IS NOT NULL)"
        " + (SELECT count(*) FROM api_keys WHERE tokens_per_day IS NOT NULL)",
        "settings made on the administration page": "SELECT count(*) FROM settings WHERE name <> 'audit.content'",
        "consents to an audit log that holds the text": "SELECT count(*) FROM users WHERE consented_at IS NOT NULL",
    }
    counts = {word: connection.scalar(sa.text(query)) for word, query in asked.items()}
    return [f"{word}: {count}" for word, count in counts.items() if count]
