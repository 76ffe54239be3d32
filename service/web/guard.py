"""Who may do what: runs before every request and lets nothing through that it does not know.

A page or an `/api` route needs a login (cookie), a `/v1` route an API key (Bearer), and everything that changes
something by cookie a CSRF token. Only the endpoints in PUBLIC are open.
"""

from __future__ import annotations

import hmac
import secrets

from flask import Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from service.web import accounts, keys
from service.web.accounts import Caller
from service.web.errors import Refusal
from service.web.services import services

SESSION_COOKIE = "ferry_session"
FORM_COOKIE = "ferry_form"  # stands in for a session's CSRF token while nobody is logged in
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
PUBLIC = {"static", "pages.login", "health.healthz", "health.readyz", "health.metrics"}

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
    """Find out who is calling, and stop the request if they may not. Raises: Refusal 401, 403."""
    g.caller = None
    if request.endpoint in PUBLIC or request.endpoint is None:  # None: no such path or method, Flask says so
        return None
    g.caller = caller_by_key() if request.path.startswith("/v1/") else caller_by_cookie()
    if g.caller is None:
        return _turn_away()
    if g.caller.csrf_token and request.method not in SAFE_METHODS:
        check_csrf(g.caller.csrf_token)
    return None


def caller_by_cookie() -> Caller | None:
    token = request.cookies.get(SESSION_COOKIE, "")
    if not token:
        return None
    with services().database.begin() as session:
        return accounts.find_login(session, token)


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
    """Return the token that the login form and its cookie share."""
    return request.cookies.get(FORM_COOKIE, "") or secrets.token_urlsafe(32)


def set_cookie(response: BaseResponse, name: str, value: str, max_age_s: int | None = None) -> None:
    response.set_cookie(name, value, max_age=max_age_s, httponly=True, samesite="Lax", secure=request.is_secure)


def add_headers(response: Response) -> Response:
    """Put the headers on every answer that keep a browser from running or leaking anything."""
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _turn_away() -> BaseResponse:
    if request.path.startswith("/v1/"):
        raise Refusal(401, "invalid_api_key", "Send a valid API key: Authorization: Bearer ferry-…")
    if not request.path.startswith("/api/") and request.method in SAFE_METHODS:
        return redirect(url_for("pages.login"))
    raise Refusal(401, "login_required", "Log in first.")
