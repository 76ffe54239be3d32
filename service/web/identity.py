"""Who is calling where no password is asked for: `[web] auth = "proxy"` and `"none"`.

A request comes in, a Caller goes out; an account is made for who is seen for the first time. Whether the peer is a
proxy that may name somebody, service.web.proxies has found out. The CSRF token is one that page and cookie share.
"""

from __future__ import annotations

from flask import request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.web import accounts
from service.web.accounts import Caller
from service.web.errors import AdminError, Refusal
from service.web.models import User
from service.web.proxies import IS_TRUSTED
from service.web.services import services

GUEST = "guest"


def by_proxy(csrf_token: str) -> Caller | None:
    """Return whom the proxy names, None where it names nobody. Raises: Refusal 403."""
    header = services().config.web.proxy_header
    named = request.headers.get(header, "")
    if not request.environ.get(IS_TRUSTED):
        if named:
            raise Refusal(403, "not_the_proxy", f"Only the proxy in front of this server may send {header}.")
        return None
    return _known(_decoded(named), "proxy", csrf_token) if named else None


def guest(csrf_token: str) -> Caller:
    """Return the one account that everybody has without a login. Raises: Refusal 403 where it is disabled."""
    return _known(GUEST, "guest", csrf_token)


def remember(session: Session, name: str, source: str) -> User:
    """Find an account, or make it. Raises: AdminError for what is no name, IntegrityError when somebody was quicker."""
    return accounts.find_user(session, name) or accounts.add_known(session, name, source)


def _known(name: str, source: str, csrf_token: str) -> Caller:
    database = services().database
    try:
        try:
            with database.begin() as session:
                user = remember(session, name, source)
        except IntegrityError:  # another request made it at the same moment
            with database.begin() as session:
                user = remember(session, name, source)
    except AdminError as error:
        raise Refusal(403, "not_a_name", "The proxy in front of this server named nobody that can be.") from error
    if not user.is_enabled:
        raise Refusal(403, "disabled", "This account is disabled.")
    # The guest is everybody: whatever was made of that account, it is a user here.
    role = "user" if source == "guest" else user.role
    return Caller(user.id, user.name, role, f"user-{user.id}", csrf_token)


def _decoded(value: str) -> str:
    """Return a header as the UTF-8 that proxies send; WSGI hands bytes on as Latin-1 (PEP 3333)."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace").strip()
