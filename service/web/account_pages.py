"""What somebody does with their own account: change the password, see and end logins, make and revoke API keys.

Plain forms without a script. A key is shown in the answer to the form that made it, once, and nowhere else.
"""

from __future__ import annotations

import re
import time

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from service.web import accounts, guard, keys, language, rights, sessions, usage
from service.web import login as logins
from service.web.accounts import Caller
from service.web.errors import AdminError, Refusal
from service.web.models import User
from service.web.passwords import hash_password
from service.web.services import caller, services
from service.web.sessions import Browser
from service.web.usage import Used, key_subject

MOST_KEYS = 50
MOST_TOKENS = 2_000_000_000  # what an Integer holds in PostgreSQL

# What a password may not be a part of: fingers that walk along.
ROWS = tuple(
    row[::step] * 2
    for row in ("1234567890", "0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "password")
    for step in (1, -1)
)

blueprint = Blueprint("account", __name__, url_prefix="/account")
rights.declare(blueprint, rights.ACCOUNT)
blueprint.before_request(language.switch)


@blueprint.get("")
def show() -> str:
    return _page(done=request.args.get("done", ""))


@blueprint.route("/password", methods=["GET", "POST"])
@rights.needs(rights.LOGIN)
def password() -> BaseResponse | str | tuple[str, int]:
    """Choose a new password. Whoever has just logged in with a one-time password need not type that again."""
    if not caller().has_login or _user(caller()).source != "local":
        raise Refusal(404, "no_password", "The password of this account is not kept here.")
    if request.method == "GET":
        return render_template("password.html", problem="", wait_s=0)
    problem, wait_s = _change_password(request.form)
    if problem:
        return render_template("password.html", problem=problem, wait_s=wait_s), 429 if wait_s else 400
    was_new = caller().must_change
    response = redirect(guard.home(caller().role) if was_new else url_for("account.show", done="password"))
    guard.set_cookie(response, guard.SESSION_COOKIE, _begin_anew(), services().config.web.session_hours * 3600)
    return response


@blueprint.post("/sessions/<handle>/end")
def end_session(handle: str) -> BaseResponse:
    with services().database.begin() as session:
        if not sessions.end_one(session, _user_id(), handle):
            raise Refusal(404, "no_such_login", "There is no such login any more.")
    _record("login_ended")
    return redirect(url_for("account.show", done="session"))


@blueprint.post("/sessions/end-others")
def end_other_sessions() -> BaseResponse:
    with services().database.begin() as session:
        count = sessions.end_others(session, _user_id(), request.cookies.get(guard.SESSION_COOKIE, ""))
    _record("logins_ended", count=count)
    return redirect(url_for("account.show", done="sessions"))


@blueprint.post("/keys")
def add_key() -> str | tuple[str, int]:
    """Make a key and show it."""
    name, limit = request.form.get("name", "").strip(), request.form.get("tokens_per_day", "").strip()
    if not rights.allows(rights.API, caller().role):
        raise Refusal(403, "not_allowed", "This account may not do that.")
    if limit and not (re.fullmatch(r"[1-9][0-9]{0,9}", limit) and int(limit) <= MOST_TOKENS):
        return _page(problem="account_key_limit", name=name), 400
    if not name:
        return _page(problem="account_key_name"), 400
    full = keys.own_name(caller().name, name)
    try:
        with services().database.begin() as session:
            if len(keys.list_of(session, _user_id())) >= MOST_KEYS:
                return _page(problem="account_key_many"), 400
            user = session.get(User, _user_id())
            secret = keys.add_key(session, full, user, int(limit) if limit else None)
    except AdminError as error:
        return _page(problem="account_key_name" if error.exit_code == 2 else "account_key_taken", name=name), 400
    _record("key_added", name=full)
    return _page(secret=secret, name=name)


@blueprint.post("/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> BaseResponse:
    with services().database.begin() as session:
        name = keys.revoke_own(session, _user_id(), int(key_id)) if re.fullmatch("[0-9]{1,9}", key_id) else ""
    if not name:
        raise Refusal(404, "no_such_key", "There is no such key any more.")
    _record("key_revoked", name=name)
    return redirect(url_for("account.show", done="key"))


def _page(problem: str = "", done: str = "", secret: str = "", name: str = "") -> str:
    token, today = request.cookies.get(guard.SESSION_COOKIE, ""), usage.day_of(time.time())
    with services().database.begin() as session:
        own, logged_in = keys.list_of(session, _user_id()), sessions.list_all(session, _user_id())
        used = usage.summary(session, today, [key_subject(key.id) for key in own])
    return render_template(
        "account.html",
        account=_user(caller()),
        keys=[(key, _own_part(key.name), used.get(key_subject(key.id), Used())) for key in own],
        new_day=(today + 1) * usage.DAY_S,
        logins=[(login, sessions.handle(login), sessions.is_of(login, token)) for login in logged_in],
        problem=problem,
        done=f"account_done_{done}" if done in ("password", "session", "sessions", "key") else "",
        secret=secret,
        name=name,
    )


def _own_part(name: str) -> str:
    """Return a key's name as its owner chose it."""
    return name.removeprefix(keys.own_name(caller().name, ""))


def _change_password(form: dict[str, str]) -> tuple[str, int]:
    """Change it, or return the word for why not, and how long to wait."""
    new, user = form.get("password", ""), _user(caller())
    if new != form.get("repeat", ""):
        return "account_password_differs", 0
    if problem := _weakness(new, user.name):
        return problem, 0
    if not user.must_change:
        is_right, wait_s = logins.is_current(services(), user.name, form.get("current", ""), request.remote_addr or "")
        if not is_right:
            return ("login_wait" if wait_s else "account_password_wrong"), wait_s
    if logins.is_password_of(services(), user, new):
        return "account_password_same", 0
    hashed = services().aside.run(hash_password, new)
    with services().database.begin() as session:
        accounts.set_password_hash(session, session.get_one(User, user.id), hashed)
    _record("password_changed")
    return "", 0


def _weakness(new: str, name: str) -> str:
    try:
        accounts.check_password(new)
    except AdminError:
        return "account_password_length"
    folded = accounts.fold(new)
    is_weak = folded == accounts.fold(name) or len(set(new)) < 3 or any(folded in row for row in ROWS)
    return "account_password_weak" if is_weak else ""


def _begin_anew() -> str:
    """Log this browser in again: changing the password ended every login, also that of who has stolen this cookie."""
    with services().database.begin() as session:
        user = session.get_one(User, _user_id())
        browser = Browser(request.remote_addr or "", request.user_agent.string)
        return sessions.start(session, user, services().config.web.session_hours, browser)


def _user(who: Caller) -> User:
    with services().database.begin() as session:
        return session.get_one(User, who.user_id)


def _user_id() -> int:
    user_id = caller().user_id
    assert user_id is not None  # only accounts log in
    return user_id


def _record(event: str, **facts: object) -> None:
    services().audit.write(event, user=caller().name, address=request.remote_addr or "", **facts)
