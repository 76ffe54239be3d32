"""A release that is one revision newer than this one: its migrations are a copy of ours with one step more.

The step does what the next real one may do: it copies tables that others refer to, and adds what an older release has
no place for.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from service.web import revisions

STEP = '''\
"""Conversations may be pinned, accounts have a note."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{before}"


def how():
    return "always" if op.get_bind().dialect.name == "sqlite" else "never"


def upgrade():
    with op.batch_alter_table("users", recreate=how()) as table:
        table.add_column(sa.Column("note", sa.String(100), nullable=False, server_default=""))
    with op.batch_alter_table("conversations", recreate=how()) as table:
        table.add_column(sa.Column("pinned", sa.Boolean, nullable=False, server_default="0"))


def downgrade():
    with op.batch_alter_table("conversations", recreate=how()) as table:
        table.drop_column("pinned")
    with op.batch_alter_table("users", recreate=how()) as table:
        table.drop_column("note"){fault}


def losses(connection):
    count = connection.scalar(sa.text("SELECT count(*) FROM users WHERE note != ''"))
    return [f"the notes of {{count}} accounts"] if count else []
'''
REVISION = "9999"


def make(web: Path, fault: str = "") -> Path:
    """Add the step below a copy of service/web, or of its migrations alone; return the migrations folder."""
    migrations = web / "migrations"
    if not migrations.exists():
        shutil.copytree(revisions.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    step = STEP.format(before=revisions.known()[-1], fault=fault)
    (migrations / "versions" / f"{REVISION}_newer.py").write_text(step)
    return migrations
