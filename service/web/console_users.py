"""Administration: the accounts, who has which role and quota, and what each used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as BaseResponse

from service.web import accounts, console, lockout, roles, usage
from service.web.console import PER_PAGE, Problem, back, contains, last_page, page, page_number, quota_of, record
from service.web.errors import AdminError
from service.web.models import ApiKey, User
from service.web.passwords import generate_password
from service.web.services import services
from service.web.usage import Used, key_subject, user_subject

blueprint = console.section("console_users", "/admin/users")


@dataclass(frozen=True)
class Row:
    user: User
    used: Used


@blueprint.get("")
def index() -> str:
    """List the accounts, by name; `q` finds those whose name has it in."""
    wanted = request.args.get("q", "").strip()[: accounts.MAX_NAME]
    number = page_number()
    with services().database.begin() as session:
        rows, count = _found(session, wanted, number)
    last = last_page(count)
    default = services().config.quota.tokens_per_day
    return page(
        "users", rows=rows, count=count, q=wanted, number=number, last=last, default=default, roles=accounts.ROLES
    )


def _found(session: Session, wanted: str, number: int) -> tuple[list[Row], int]:
    condition = contains(User.folded_name, accounts.fold(wanted))
    count = session.scalar(select(func.count()).select_from(User).where(condition)) or 0
    query = select(User).where(condition).order_by(User.folded_name).limit(PER_PAGE).offset((number - 1) * PER_PAGE)
    users = list(session.scalars(query))
    used = usage.summary(session, usage.day_of(time.time()), [user_subject(user.id) for user in users])
    return [Row(user, used.get(user_subject(user.id), Used())) for user in users], count


@blueprint.post("")
def add() -> BaseResponse | str:
    """Make an account, and show its one-time password."""
    name, role = request.form.get("name", "").strip(), request.form.get("role", "")
    if role not in accounts.ROLES:
        raise Problem("role")
    password = generate_password()
    with services().database.begin() as session:
        if accounts.find_user(session, name) is not None:
            raise Problem("name_taken")
        try:
            user = accounts.add_user(session, name, password, role, must_change=True)
        except AdminError as error:
            raise Problem("name") from error
        record("user_added", subject=user.name, role=role)
    return _one_time(user, password)


@blueprint.get("/<user_id>")
def one(user_id: str) -> str:
    with services().database.begin() as session:
        user = _user(session, user_id)
        keys = list(session.scalars(select(ApiKey).where(ApiKey.user_id == user.id).order_by(ApiKey.id)))
        subjects = [user_subject(user.id), *(key_subject(key.id) for key in keys)]
        used = usage.summary(session, usage.day_of(time.time()), subjects)
        wait_s = lockout.waiting_s(session, user.name)
    rows = [(key, used.get(key_subject(key.id), Used())) for key in keys]
    default = services().config.quota.tokens_per_day
    whole = used.get(user_subject(user.id), Used())
    return page(
        "users",
        "console_user.html",
        account=user,
        used=whole,
        wait_s=wait_s,
        keys=rows,
        default=default,
        roles=accounts.ROLES,
    )


@blueprint.post("/<user_id>/role")
def change_role(user_id: str) -> BaseResponse:
    role = request.form.get("role", "")
    if role not in accounts.ROLES:
        raise Problem("role")
    with _changing(user_id) as change:
        if change.user.role != role:
            change.note("role_changed", role=role, before=change.user.role)
            change.user.role = role
    return _back(user_id, "role")


@blueprint.post("/<user_id>/enabled")
def switch(user_id: str) -> BaseResponse:
    is_enabled = request.form.get("enabled") == "1"
    word = "enabled" if is_enabled else "disabled"
    with _changing(user_id) as change:
        accounts.set_enabled(change.session, change.user, is_enabled)
        if is_enabled:
            lockout.forgive(change.session, change.user.name)
        change.note(f"user_{word}")
    return _back(user_id, word)


@blueprint.post("/<user_id>/unlock")
def unlock(user_id: str) -> BaseResponse:
    """End the wait after too many wrong passwords."""
    with _changing(user_id) as change:
        lockout.forgive(change.session, change.user.name)
        change.note("user_unlocked")
    return _back(user_id, "unlocked")


@blueprint.post("/<user_id>/password")
def reset_password(user_id: str) -> str:
    """Give a new one-time password, show it, and end the account's logins."""
    password = generate_password()
    with _changing(user_id) as change:
        if change.user.source != "local":
            raise Problem("password_elsewhere")
        accounts.set_password(change.session, change.user, password, must_change=True)
        lockout.forgive(change.session, change.user.name)
        change.note("password_reset")
    return _one_time(change.user, password)


@blueprint.post("/<user_id>/quota")
def change_quota(user_id: str) -> BaseResponse:
    tokens = quota_of(request.form.get("tokens_per_day", ""))
    with _changing(user_id) as change:
        change.user.tokens_per_day = tokens
        change.note("quota_changed", tokens_per_day=tokens)
    return _back(user_id, "quota")


class Change:
    """A change of one account, and the line of the audit log that it is to leave."""

    def __init__(self, session: Session, user: User) -> None:
        self.session = session
        self.user = user
        self.lines: list[tuple[str, dict[str, object]]] = []

    def note(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))


@contextmanager
def _changing(user_id: str) -> Iterator[Change]:
    """Change an account, all of it or nothing. Raises: Problem when no administrator would be left, Refusal 404."""
    with services().database.begin() as session:
        change = Change(session, _user(session, user_id))
        try:
            with roles.keeping_an_administrator(session):
                yield change
        except roles.LastAdministrator as error:
            raise Problem("last_administrator") from error
        for event, facts in change.lines:
            record(event, subject=change.user.name, **facts)


def _user(session: Session, user_id: str) -> User:
    user = session.get(User, console.number_of(user_id))
    if user is None:
        raise console.missing()
    return user


def _back(user_id: str, done: str) -> BaseResponse:
    return back("console_users.one", done, user_id=user_id)


def _one_time(user: User, password: str) -> str:
    link = url_for("console_users.one", user_id=user.id)
    return page("users", "console_secret.html", kind="password", name=user.name, secret=password, link=link)
