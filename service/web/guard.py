"""Who may do what: runs before every request and lets nothing through that it does not know.

What a route asks for stands with the route (service.web.rights). Here it is found out who is calling (a cookie, an API
key, or what `[web] auth` says instead), and everything that changes something by cookie needs a CSRF token.
"""

from __future__ import annotations

import hmac
import secrets

from flask import Response, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from service.web import identity, keys, rights, sessions
from service.web.accounts import Caller
from service.web.errors import Refusal
from service.web.rights import API, LOGIN, OPEN
from service.web.services import services

SESSION_COOKIE = "ferry_session"
FORM_COOKIE = "ferry_form"  # stands in for a session's CSRF token while nobody is logged in
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
WATCHERS = {"static", "health.healthz", "health.readyz", "health.metrics"}  # never told to come less often

CSP = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


def check_request() -> BaseResponse | None:
    """Find out who is calling, and stop the request if they may not. Raises: Refusal 401, 403, 429."""
    g.caller = None
    if request.endpoint is None:  # no such path or method, Flask says so
        return None
    right = rights.right_of(current_app, request.endpoint)
    if right != OPEN:
        g.caller = caller_by_key() if right == API else caller_by_cookie()
    _limit_rate(request.endpoint)
    if right == OPEN:
        return None
    if g.caller is None:
        return _turn_away()
    if not rights.allows(right, g.caller.role):
        return _refuse_role()
    if g.caller.must_change and right != LOGIN:
        return _ask_for_password()
    if right != API and request.method not in SAFE_METHODS:
        check_csrf(g.caller.csrf_token)
    return None


def caller_by_cookie() -> Caller | None:
    """Return who the browser's login belongs to, or who `[web] auth` says it is. Raises: Refusal."""
    mode = services().config.web.auth
    if mode == "proxy":
        return identity.by_proxy(form_token())
    found = caller_by_session()
    return identity.guest(form_token()) if mode == "none" and found is None else found


def caller_by_session() -> Caller | None:
    token = request.cookies.get(SESSION_COOKIE, "")
    if not token:
        return None
    with services().database.begin() as session:
        return sessions.find(session, token)


def caller_by_key() -> Caller | None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return None
    with services().database.begin() as session:
        return keys.find_key(session, key.strip())


def check_csrf(expected: str) -> None:
    """Compare the token in the header (scripts) or the form with the one we gave out. Raises: Refusal 403."""
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    if not (expected and hmac.compare_digest(sent.encode(), expected.encode())):
        raise Refusal(403, "csrf", "This page is out of date. Load it again.")


def form_token() -> str:
    """Return the token that a form and its cookie share where there is no login to keep one; see add_headers."""
    if "form_token" not in g:
        g.form_token = request.cookies.get(FORM_COOKIE, "") or secrets.token_urlsafe(32)
    return str(g.form_token)


def set_cookie(response: BaseResponse, name: str, value: str, max_age_s: int | None = None) -> None:
    response.set_cookie(name, value, max_age=max_age_s, httponly=True, samesite="Lax", secure=request.is_secure)


def home(role: str) -> str:
    """Return the address of the first page that a role sees."""
    if rights.allows(rights.CHAT, role):
        return url_for("pages.chat")
    return "/audit" if rights.allows(rights.AUDIT, role) else url_for("account.show")


def add_headers(response: Response) -> Response:
    """Put the headers on every answer that keep a browser from running or leaking anything."""
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    if "form_token" in g and request.cookies.get(FORM_COOKIE) != g.form_token:
        set_cookie(response, FORM_COOKIE, g.form_token)
    return response


def wants_json() -> bool:
    """Say whether the one who asks is a program, and not somebody who looks at a page."""
    return request.path.startswith(("/api/", "/v1/"))


def _limit_rate(endpoint: str) -> None:
    if endpoint in WATCHERS:
        return
    who = g.caller.quota_id if g.caller else f"address {request.remote_addr}"
    if wait_s := services().rates.take(who):
        message = "Too many requests in a minute. Wait a moment."
        raise Refusal(429, "too_many_requests", message, retry_after=str(int(wait_s) + 1))


def _turn_away() -> BaseResponse:
    if request.path.startswith("/v1/"):
        raise Refusal(401, "invalid_api_key", "Send a valid API key: Authorization: Bearer ferry-…")
    if services().config.web.auth == "proxy":
        raise Refusal(401, "not_named", "The proxy in front of this server did not say who you are.")
    if not wants_json() and request.method in SAFE_METHODS:
        return redirect(url_for("pages.login"))
    raise Refusal(401, "login_required", "Log in first.")


def _refuse_role() -> BaseResponse:
    if request.endpoint == "pages.chat":
        return redirect(home(g.caller.role))
    raise Refusal(403, "not_allowed", "This account may not do that.")


def _ask_for_password() -> BaseResponse:
    if not wants_json() and request.method in SAFE_METHODS:
        return redirect(url_for("account.password"))
    raise Refusal(403, "password_change_required", "Choose a password of your own first, at /account/password.")
