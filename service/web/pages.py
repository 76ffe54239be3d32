"""The pages: the chat itself, logging in and logging out. What the chat page does is in static/js."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from service.web import accounts, conversations, guard, language
from service.web.errors import Refusal
from service.web.services import caller, services

blueprint = Blueprint("pages", __name__)


@blueprint.before_request
def switch_language() -> BaseResponse | None:
    return language.switch()


@blueprint.get("/")
def chat() -> str:
    return _chat_page()


@blueprint.get("/c/<conversation_id>")
def conversation(conversation_id: str) -> BaseResponse | str:
    """Show one conversation; the page loads it by itself."""
    with services().database.begin() as session:
        try:
            conversations.get(session, caller().user_id or 0, conversation_id)
        except Refusal:
            return redirect(url_for("pages.chat"))
    return _chat_page()


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> BaseResponse | tuple[BaseResponse, int]:
    if request.method == "GET":
        return redirect(url_for("pages.chat")) if guard.caller_by_cookie() else _login_page()
    return _log_in(request.form.get("username", "").strip(), request.form.get("password", ""))


@blueprint.post("/logout")
def logout() -> BaseResponse:
    token = request.cookies.get(guard.SESSION_COOKIE, "")
    with services().database.begin() as session:
        accounts.end_login(session, token)
    services().audit.write("logout", user=caller().name, address=request.remote_addr or "")
    response = redirect(url_for("pages.login"))
    response.delete_cookie(guard.SESSION_COOKIE)
    return response


def _log_in(name: str, password: str) -> BaseResponse | tuple[BaseResponse, int]:
    known = request.cookies.get(guard.FORM_COOKIE, "")
    sent = request.form.get("csrf_token", "")
    if not (known and hmac.compare_digest(sent.encode(), known.encode())):
        return _login_page("login_stale", name), 403
    hours = services().config.web.session_hours
    address = request.remote_addr or ""
    with services().database.begin() as session:
        user = accounts.authenticate(session, name, password)
        token = accounts.start_login(session, user, hours) if user else ""
    services().metrics.add("ferry_web_logins_total", f'outcome="{"ok" if user else "refused"}"')
    services().audit.write("login" if user else "login_refused", user=name[: accounts.MAX_NAME], address=address)
    if not user:
        return _login_page("login_wrong", name), 401
    response = redirect(url_for("pages.chat"))
    guard.set_cookie(response, guard.SESSION_COOKIE, token, hours * 3600)
    response.delete_cookie(guard.FORM_COOKIE)
    return response


def _login_page(problem: str = "", name: str = "") -> Response:
    token = guard.form_token()
    response = make_response(render_template("login.html", csrf_token=token, problem=problem, name=name))
    guard.set_cookie(response, guard.FORM_COOKIE, token)
    return response


def _chat_page() -> str:
    return render_template("chat.html", user=caller())
