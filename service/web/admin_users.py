"""The administrator's commands for accounts."""

from __future__ import annotations

import sys

import click
from sqlalchemy import select

from service.web import accounts, lockout
from service.web.admin_place import Place, json_option, show, when
from service.web.models import User
from service.web.passwords import generate_password


@click.group()
def user() -> None:
    """Manage accounts. Example: ferry user list"""


@user.command("add")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@click.option("--role", type=click.Choice(accounts.ROLES), default="user", show_default=True)
@json_option
def user_add(name: str, password_stdin: bool, role: str, as_json: bool) -> None:
    """Create the account NAME, with a password for its first login that is shown once. Example: ferry user add alice"""
    place = Place()
    password = read_password() if password_stdin else generate_password()
    with place.session() as session:
        # A password that was made here is for the first login alone; one that somebody chose is theirs.
        name = accounts.add_user(session, name, password, role, must_change=not password_stdin).name
    place.record("user_added", name=name, role=role)
    shown = None if password_stdin else password
    words = f"user {name} added" if password_stdin else f"user {name} added, password: {password}"
    show(as_json, {"user": name, "password": shown}, words)


@user.command("list")
@json_option
def user_list(as_json: bool) -> None:
    """List the accounts. Example: ferry user list --json"""
    with Place().session() as session:
        users = list(session.scalars(select(User).order_by(User.id)))
    rows = [
        {
            "user": u.name,
            "role": u.role,
            "enabled": u.is_enabled,
            "source": u.source,
            "created": when(u.created_at),
            "last_login": when(u.last_login_at),
            "must_change": u.must_change,
        }
        for u in users
    ]
    lines = [f"{row['user']}\t{row['role']}\t{'enabled' if row['enabled'] else 'disabled'}" for row in rows]
    show(as_json, {"users": rows}, "\n".join(lines) or "no users; add one with: ferry user add NAME")


@user.command("disable")
@click.argument("name")
@json_option
def user_disable(name: str, as_json: bool) -> None:
    """Forbid the account NAME, and end its logins. Example: ferry user disable alice"""
    switch_user(name, False, as_json)


@user.command("enable")
@click.argument("name")
@json_option
def user_enable(name: str, as_json: bool) -> None:
    """Allow the account NAME again. Example: ferry user enable alice"""
    switch_user(name, True, as_json)


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(accounts.ROLES))
@json_option
def user_role(name: str, role: str, as_json: bool) -> None:
    """Change what the account NAME may do. Example: ferry user role alice auditor"""
    place = Place()
    with place.session() as session:
        accounts.set_role(session, accounts.get_user(session, name), role)
    place.record("role_changed", name=name, role=role)
    show(as_json, {"user": name, "role": role}, f"user {name} is {role} now")


@user.command("passwd")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@json_option
def user_passwd(name: str, password_stdin: bool, as_json: bool) -> None:
    """Give the account NAME a new password for one login, and end its logins. Example: ferry user passwd alice"""
    place = Place()
    password = read_password() if password_stdin else generate_password()
    with place.session() as session:
        accounts.set_password(session, accounts.get_user(session, name), password, must_change=not password_stdin)
        lockout.forgive(session, name)
    place.record("password_reset", name=name)
    shown = None if password_stdin else password
    words = f"password of {name} changed" if password_stdin else f"new password of {name}: {password}"
    show(as_json, {"user": name, "password": shown}, words)


def switch_user(name: str, is_enabled: bool, as_json: bool) -> None:
    place = Place()
    with place.session() as session:
        accounts.set_enabled(session, accounts.get_user(session, name), is_enabled)
        lockout.forgive(session, name)
    word = "enabled" if is_enabled else "disabled"
    place.record(f"user_{word}", name=name)
    show(as_json, {"user": name, "enabled": is_enabled}, f"user {name} {word}")


def read_password() -> str:
    return sys.stdin.readline().rstrip("\r\n")
