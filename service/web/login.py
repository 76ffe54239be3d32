"""Logging in: a name and a password come in, a token for the browser's cookie goes out, or why there is none.

The reasons to refuse look alike and take alike: an unknown name costs a hash too, and who has to wait waits whatever
they typed. Nothing is held open while a password is hashed or a directory is asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from service.web import accounts, lockout, sessions
from service.web.directory import DirectoryAway, Person
from service.web.errors import AdminError, Refusal
from service.web.models import User
from service.web.passwords import is_password
from service.web.services import Services
from service.web.sessions import Browser

DIRECTORYS = ("ldap", "proxy")  # accounts whose password is not here
REFUSED_AFTER_S = 1.0


@dataclass(frozen=True)
class Result:
    """`token` is for the cookie; without one `problem` is the word of the page that says why."""

    token: str = ""
    problem: str = ""
    status: int = 401
    wait_s: int = 0
    user_id: int | None = None


def log_in(known: Services, name: str, password: str, browser: Browser) -> Result:
    """Check a password and begin a login."""
    if wait_s := lockout.begin(known.database, name[: accounts.MAX_NAME + 1], browser.address):
        return Result(problem="login_wait", status=429, wait_s=int(wait_s) + 1)
    started = time.monotonic()
    try:
        user_id = check(known, name, password)
    except (Refusal, DirectoryAway) as error:
        lockout.undo(known.database, name[: accounts.MAX_NAME + 1], browser.address)
        if isinstance(error, Refusal):
            raise
        return Result(problem="login_away", status=503)
    token = _begin(known, user_id, browser) if user_id is not None else ""
    if not token:
        if known.directory:
            # A directory takes its own time: without this, the time would tell which names it was asked about.
            time.sleep(max(REFUSED_AFTER_S - (time.monotonic() - started), 0))
        return Result(problem="login_wrong")
    lockout.succeed(known.database, name, browser.address)
    return Result(token=token, user_id=user_id)


def check(known: Services, name: str, password: str) -> int | None:
    """Return the id of the account that name and password fit, after the same time for each reason to say no.

    An account that was made here is never the directory's: it has its password here, also when the directory is away.

    Raises: Refusal, DirectoryAway when it cannot be told now.
    """
    if len(password) > accounts.MAX_PASSWORD or len(name) > accounts.MAX_NAME:
        name = password = ""
    with known.database.begin() as session:
        user = accounts.find_user(session, name)
        found = (user.id, user.password_hash) if user and user.is_enabled and user.source == "local" else (None, "")
        is_elsewhere = user is None or user.source in DIRECTORYS
    if is_elsewhere and known.directory and name:
        person = known.directory.check(name, password)
        return _remember(known, person) if person else None
    is_right = known.aside.run(is_password, password, found[1] or None)
    return found[0] if is_right else None


def is_current(known: Services, name: str, password: str, address: str) -> tuple[bool, int]:
    """Check the password of somebody who is logged in, as slowly as a login. Returns the answer and a wait."""
    if wait_s := lockout.begin(known.database, name, address):
        return False, int(wait_s) + 1
    is_right = check(known, name, password) is not None
    if is_right:
        lockout.succeed(known.database, name, address)
    return is_right, 0


def is_password_of(known: Services, user: User, password: str) -> bool:
    return bool(user.password_hash) and known.aside.run(is_password, password, user.password_hash)


def _remember(known: Services, person: Person) -> int | None:
    """Find the account of somebody whom the directory knows, or make it, with the role that their groups give."""
    try:
        with known.database.begin() as session:
            user = accounts.find_user(session, person.name) or accounts.add_known(session, person.name, "ldap")
            user.source, user.role = "ldap", person.role or user.role
            return user.id
    except IntegrityError:  # another login of theirs was quicker
        return _remember(known, person)
    except AdminError:  # a name that cannot be one here
        return None


def _begin(known: Services, user_id: int, browser: Browser) -> str:
    with known.database.begin() as session:
        user = session.get(User, user_id)
        if user is None or not user.is_enabled:  # since a moment ago
            return ""
        return sessions.start(session, user, known.config.web.session_hours, browser)
