"""The pages: the chat itself, logging in and logging out. What the chat page does is in static/js."""

from __future__ import annotations

import hmac
import re

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from service.web import accounts, consent, conversations, guard, language, rights, sessions
from service.web import login as logins
from service.web.accounts import Caller
from service.web.errors import Refusal
from service.web.login import Result
from service.web.services import caller, services
from service.web.sessions import Browser

# Set by the chat page's script when the login has ended: where it was.
LEFT_COOKIE = "ferry_left"
LEFT = re.compile(r"/(?:c/[0-9A-Za-z_-]{1,64})?")

blueprint = Blueprint("pages", __name__)
rights.declare(blueprint, rights.CHAT)


@blueprint.before_request
def switch_language() -> BaseResponse | None:
    return language.switch()


@blueprint.get("/")
def chat() -> BaseResponse | str:
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
@rights.needs(rights.OPEN)
def login() -> BaseResponse | tuple[BaseResponse, int]:
    """Show the form, or take it. Where a proxy says who somebody is, there is none."""
    if services().config.web.auth == "proxy":
        found = guard.caller_by_cookie()
        if found is None:
            raise Refusal(401, "not_named", "The proxy in front of this server did not say who you are.")
        return redirect(guard.home(found.role))
    if request.method == "POST":
        return _log_in(request.form.get("username", "").strip(), request.form.get("password", ""))
    found = guard.caller_by_session()
    return redirect(guard.home(found.role)) if found else _login_page()


@blueprint.post("/logout")
@rights.needs(rights.LOGIN)
def logout() -> BaseResponse:
    token = request.cookies.get(guard.SESSION_COOKIE, "")
    with services().database.begin() as session:
        sessions.end(session, token)
    services().audit.write("logout", user=caller().name, address=request.remote_addr or "")
    response = redirect(url_for("pages.login"))
    response.delete_cookie(guard.SESSION_COOKIE)
    return response


def _log_in(name: str, password: str) -> BaseResponse | tuple[BaseResponse, int]:
    known = request.cookies.get(guard.FORM_COOKIE, "")
    sent = request.form.get("csrf_token", "")
    if not (known and hmac.compare_digest(sent.encode(), known.encode())):
        return _login_page(Result(problem="login_stale"), name), 403
    address = request.remote_addr or ""
    result = logins.log_in(services(), name, password, Browser(address, request.user_agent.string))
    services().metrics.add("ferry_web_logins_total", f'outcome="{"ok" if result.token else "refused"}"')
    event = "login" if result.token else "login_refused"
    services().audit.write(event, user=name[: accounts.MAX_NAME], address=address)
    if not result.token:
        response = _login_page(result, name)
        if result.wait_s:
            response.headers["Retry-After"] = str(result.wait_s)
        return response, result.status
    return _logged_in(result.token)


def _logged_in(token: str) -> BaseResponse:
    with services().database.begin() as session:
        found = sessions.find(session, token)
    response = redirect(_way_on(found) if found else url_for("pages.login"))
    guard.set_cookie(response, guard.SESSION_COOKIE, token, services().config.web.session_hours * 3600)
    response.delete_cookie(guard.FORM_COOKIE)
    response.delete_cookie(LEFT_COOKIE)
    return response


def _way_on(found: Caller) -> str:
    """Return where a login leads: back to the conversation that it had ended in, or to the role's first page."""
    left = request.cookies.get(LEFT_COOKIE, "")
    return left if LEFT.fullmatch(left) and rights.allows(rights.CHAT, found.role) else guard.home(found.role)


def _login_page(result: Result = Result(), name: str = "") -> Response:  # noqa: B008  # frozen
    g.caller = None
    return make_response(
        render_template(
            "login.html",
            csrf_token=guard.form_token(),
            problem=result.problem,
            wait_s=result.wait_s,
            name=name,
            has_ended=LEFT_COOKIE in request.cookies,
        )
    )


def _chat_page() -> BaseResponse | str:
    if consent.is_wanted(caller()):
        return redirect(url_for("consent.page"))
    return render_template("chat.html", user=caller(), script_words=language.of_scripts(language.current()))
