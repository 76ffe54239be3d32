"""The administration pages: what they share. Each page is a module of its own, service.web.console_….

Plain forms, sent by POST and answered by a redirect to the page they came from, which then says what was done; only a
secret that is shown once is the answer itself. Every change leaves a line in the audit log.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute
from werkzeug.wrappers import Response as BaseResponse

from service.web import language, rights
from service.web.errors import Refusal
from service.web.services import caller, services

TABS = ("overview", "users", "keys", "settings", "release")
MAX_QUOTA = 2_000_000_000
PER_PAGE = 50
ESCAPE = "\\"


class Problem(Exception):
    """A form that cannot be done: its word is t["admin_bad_NAME"]."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def section(name: str, path: str) -> Blueprint:
    """Make the blueprint of one page, for administrators alone."""
    blueprint = Blueprint(name, __name__, url_prefix=path)
    rights.declare(blueprint, rights.ADMINISTER)
    blueprint.before_request(language.switch)
    blueprint.register_error_handler(Problem, _explain)
    return blueprint


def _explain(problem: Problem) -> BaseResponse:
    """Return to the page that the form stands on, which then says what the problem is."""
    about: dict[str, str] = dict(request.view_args or {})
    return back(f"{request.blueprint}.{'one' if about else 'index'}", problem=problem.name, **about)


def page(tab: str, template: str = "", **values: object) -> str:
    """Render a page of the tab, with what the form before it has done."""
    # A form that is sent from a page that tells a problem is sent to that page's address.
    said = request.args if request.method == "GET" else {}
    done, problem = said.get("done", ""), said.get("problem", "")
    shown = {"done": f"admin_done_{done}" if done else "", "problem": f"admin_bad_{problem}" if problem else ""}
    tabs = [(one, url_for(f"console_{one}.index"), one == tab) for one in TABS]
    return render_template(template or f"console_{tab}.html", tab=tab, tabs=tabs, **{**shown, **values})


def back(endpoint: str, done: str = "", problem: str = "", **arguments: str | int) -> BaseResponse:
    """Return to a page that says how a form ended."""
    words = {name: value for name, value in (("done", done), ("problem", problem)) if value}
    return redirect(url_for(endpoint, **words, **arguments), 303)  # type: ignore[arg-type]


def record(event: str, **facts: object) -> None:
    """Write a line of the audit log: what this administrator does.

    The last thing in a change's transaction: what cannot be recorded is not done. Raises: AuditUnavailable.
    """
    services().audit.write(event, user=caller().name, address=request.remote_addr or "", **facts)


def number_of(text: str) -> int:
    """Read a row's number from an address. Raises: Refusal 404 for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise missing()
    return int(text)


def page_number() -> int:
    """Return which page of a list is asked for; anything that is none is the first."""
    asked = request.args.get("page", "1")
    return max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 1


def last_page(count: int) -> int:
    return max(1, -(-count // PER_PAGE))


def contains(column: InstrumentedAttribute[str], text: str) -> ColumnElement[bool]:
    """Make the condition that a column has the text in it, in small or capital letters; % and _ are themselves."""
    escaped = "".join(ESCAPE + letter if letter in f"%_{ESCAPE}" else letter for letter in text)
    return column.ilike(f"%{escaped}%", escape=ESCAPE)


def missing() -> Refusal:
    return Refusal(404, "not_found", "There is no such thing.")


def quota_of(form_value: str) -> int | None:
    """Read the tokens a day of a form; empty is None, the default. Raises: Problem."""
    text = form_value.strip().replace(",", "").replace(" ", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_QUOTA):
        raise Problem("quota")
    return int(text)
