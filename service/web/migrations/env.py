"""Alembic's entry point: runs the files in versions/ on the connection that service.web.revisions hands over.

A file in versions/ also holds `losses(connection) -> list[str]`: what its `downgrade` would lose of the data that is
there, one sentence each, empty where nothing. It is asked before any step is taken, at the newest tables, and reads
only what its own `upgrade` made.
"""

from alembic import context

from service.web.models import Base

connection = context.config.attributes["connection"]
# SQLite cannot alter most columns in place; batch mode copies the table instead.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
