"""Alembic's entry point: runs the files in versions/ on the connection that service.web.database.migrate hands over."""

from alembic import context

from service.web.models import Base

connection = context.config.attributes["connection"]
# SQLite cannot alter most columns in place; batch mode copies the table instead.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
