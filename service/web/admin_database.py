"""The commands that the installer asks about the database: its revision, the way there and back, a copy of it.

Hidden: an operator says `ferry upgrade`, `ferry rollback` and `ferry backup`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from service.web import copies, database, revisions
from service.web.admin_place import Place, json_option, show
from service.web.database import Database

dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


@click.command(hidden=True)
@click.option("--to", "target", help="Go back to this older revision; base is before the first.")
@dry_run
@json_option
def migrate(target: str | None, dry_run: bool, as_json: bool) -> None:
    """Bring the database to this release's tables, or back. Example: migrate --to 0001 --dry-run --json"""
    with _store() as (place, store):
        if target is None:
            if dry_run:
                raise click.UsageError("--dry-run goes with --to")
            revision, changed = revisions.migrate(store, place.paths.data)
            words = f"database migrated to {revision}" if changed else f"database is at {revision} already"
            show(as_json, {"revision": revision, "changed": changed}, words)
            return
        go = revisions.way_back if dry_run else revisions.downgrade
        way = go(store, place.paths.data, target)
    value = {"from": way.start, "to": way.end, "losses": list(way.losses)}
    verb = "would go" if dry_run else "went"
    show(as_json, value, "\n".join([f"database {verb} from {way.start} to {way.end}", *way.losses]))


@click.command(hidden=True)
@click.option("--release", "only_release", is_flag=True, help="Look at no settings and no database.")
@json_option
def revision(only_release: bool, as_json: bool) -> None:
    """Say at which revision the database is, and which ones this release knows. Example: revision --json"""
    known = revisions.known()
    value: dict[str, object] = {"release": known[-1], "known": known}
    if not only_release:
        with _store() as (_, store):
            value = {"database": revisions.current(store), **value}
    show(as_json, value, "\n".join(f"{name}: {found}" for name, found in value.items()))


@click.command(hidden=True)
@dry_run
@json_option
def copy(dry_run: bool, as_json: bool) -> None:
    """Copy what cannot be read while the service writes into a folder of its own. Example: copy --json"""
    place = Place()
    settings = place.config.data
    url = database.url_of(settings.url, place.paths.data, settings.password_file)
    made = copies.make(url, place.paths.data, dry_run)
    show(as_json, made.as_object(), f"{made.folder}: {', '.join(made.files)}" if made.folder else "nothing was copied")


@contextmanager
def _store() -> Iterator[tuple[Place, Database]]:
    place = Place()
    store = Database.of(place.config.data, place.paths.data)
    try:
        yield place, store
    finally:
        store.close()
