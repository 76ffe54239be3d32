"""Administration: every API key, whose it is, and what it used."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as BaseResponse

from service.web import accounts, console, keys, usage
from service.web.console import PER_PAGE, Problem, back, contains, last_page, page, page_number, quota_of, record
from service.web.errors import AdminError
from service.web.models import ApiKey, User
from service.web.services import services
from service.web.usage import Used, key_subject

blueprint = console.section("console_keys", "/admin/keys")


MOST_NAMES = 1000  # that the field of a new key's owner offers


@dataclass(frozen=True)
class Row:
    key: ApiKey
    owner: User | None
    used: Used


@blueprint.get("")
def index() -> str:
    """List the keys that work, and with `all=1` the revoked ones too; `q` is a part of a key's or an owner's name."""
    wanted, is_all = request.args.get("q", "").strip()[: keys.MAX_NAME], request.args.get("all") == "1"
    number = page_number()
    with services().database.begin() as session:
        rows, count = _found(session, wanted, is_all, number)
        names = session.scalars(select(User.name).order_by(User.folded_name).limit(MOST_NAMES)).all()
    return page(
        "keys",
        rows=rows,
        count=count,
        names=names,
        q=wanted,
        is_all=is_all,
        number=number,
        last=last_page(count),
        default=services().config.quota.tokens_per_day,
    )


def _found(session: Session, wanted: str, is_all: bool, number: int) -> tuple[list[Row], int]:
    found = select(ApiKey, User).outerjoin(User)
    if wanted:
        found = found.where(contains(ApiKey.name, wanted) | contains(User.folded_name, accounts.fold(wanted)))
    if not is_all:
        found = found.where(ApiKey.revoked_at.is_(None))
    count = session.scalar(select(func.count()).select_from(found.subquery())) or 0
    one_page = found.order_by(ApiKey.id.desc()).limit(PER_PAGE).offset((number - 1) * PER_PAGE)
    pairs = [(row.ApiKey, row.User) for row in session.execute(one_page)]
    used = usage.summary(session, usage.day_of(time.time()), [key_subject(key.id) for key, _ in pairs])
    return [Row(key, owner, used.get(key_subject(key.id), Used())) for key, owner in pairs], count


@blueprint.post("")
def add() -> str:
    """Make a key, for somebody or for nobody, and show it."""
    name, owner = request.form.get("name", "").strip(), request.form.get("owner", "").strip()
    tokens = quota_of(request.form.get("tokens_per_day", ""))
    with services().database.begin() as session:
        user = _owner(session, owner)
        if session.scalar(select(ApiKey.id).where(ApiKey.name == name)) is not None:
            raise Problem("key_taken")
        try:
            secret = keys.add_key(session, name, user, tokens)
        except AdminError as error:
            raise Problem("key_name") from error
        row = session.scalars(select(ApiKey).where(ApiKey.name == name)).one()
        record("key_added", subject=name, owner=user.name if user else None, tokens_per_day=tokens)
    link = url_for("console_keys.one", key_id=row.id)
    owner = user.name if user else ""
    return page("keys", "console_secret.html", kind="key", name=name, owner=owner, secret=secret, link=link)


@blueprint.get("/<key_id>")
def one(key_id: str) -> str:
    with services().database.begin() as session:
        key = _key(session, key_id)
        owner = session.get(User, key.user_id) if key.user_id is not None else None
        subject = key_subject(key.id)
        used = usage.summary(session, usage.day_of(time.time()), [subject]).get(subject, Used())
    default = services().config.quota.tokens_per_day
    return page("keys", "console_key.html", key=key, owner=owner, used=used, default=default)


@blueprint.post("/<key_id>/revoke")
def revoke(key_id: str) -> BaseResponse:
    with services().database.begin() as session:
        key = _key(session, key_id)
        keys.revoke_key(session, key.name)
        record("key_revoked", subject=key.name)
    return back("console_keys.one", done="revoked", key_id=key_id)


@blueprint.post("/<key_id>/quota")
def change_quota(key_id: str) -> BaseResponse:
    tokens = quota_of(request.form.get("tokens_per_day", ""))
    with services().database.begin() as session:
        key = _key(session, key_id)
        key.tokens_per_day = tokens
        record("quota_changed", subject=f"key {key.name}", tokens_per_day=tokens)
    return back("console_keys.one", done="quota", key_id=key_id)


def _owner(session: Session, name: str) -> User | None:
    if not name:
        return None
    user = accounts.find_user(session, name)
    if user is None:
        raise Problem("no_such_user")
    return user


def _key(session: Session, key_id: str) -> ApiKey:
    key = session.get(ApiKey, console.number_of(key_id))
    if key is None:
        raise console.missing()
    return key
