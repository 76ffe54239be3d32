"""The administrator's commands for API keys."""

from __future__ import annotations

from typing import Any

import click

from service.web import accounts, keys
from service.web.admin_place import Place, json_option, show, when


@click.group()
def key() -> None:
    """Manage API keys. Example: ferry key list"""


@key.command("add")
@click.argument("name")
@click.option("--user", "owner", help="The account it belongs to; without, it is the service's own.")
@click.option("--tokens-per-day", type=click.IntRange(min=1), help="No more tokens than that a day.")
@json_option
def key_add(name: str, owner: str | None, tokens_per_day: int | None, as_json: bool) -> None:
    """Create the API key NAME, which is shown once. Example: ferry key add reports"""
    place = Place()
    with place.session() as session:
        secret = keys.add_key(session, name, accounts.get_user(session, owner) if owner else None, tokens_per_day)
    place.record("key_added", name=name, owner=owner)
    show(as_json, {"name": name, "key": secret}, f"key {name}: {secret}")


@key.command("list")
@json_option
def key_list(as_json: bool) -> None:
    """List the API keys. Example: ferry key list --json"""
    with Place().session() as session:
        rows = [
            {
                "name": found.name,
                "start": found.start,
                "user": owner.name if owner else None,
                "created": when(found.created_at),
                "last_used": when(found.last_used_at),
                "tokens_per_day": found.tokens_per_day,
                "revoked": when(found.revoked_at),
            }
            for found, owner in keys.list_keys(session)
        ]
    lines = [_line(row) for row in rows]
    show(as_json, {"keys": rows}, "\n".join(lines) or "no keys; add one with: ferry key add NAME")


def _line(row: dict[str, Any]) -> str:
    used = f"last used {row['last_used']}" if row["last_used"] else "never used"
    return f"{row['name']}\t{row['user'] or '-'}\t{'revoked' if row['revoked'] else 'valid'}\t{row['start']}…\t{used}"


@key.command("revoke")
@click.argument("name")
@json_option
def key_revoke(name: str, as_json: bool) -> None:
    """Make the API key NAME useless from now on. Example: ferry key revoke reports"""
    place = Place()
    with place.session() as session:
        keys.revoke_key(session, name)
    place.record("key_revoked", name=name)
    show(as_json, {"name": name, "revoked": True}, f"key {name} revoked")
