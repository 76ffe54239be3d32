"""Consent to an audit log that holds the text of questions and answers: asked of each account once.

Until it is given nobody asks anything under that account, on the page or with a key. A key that belongs to no account
counts as consented: the administrator who made it answers for it. Another `[audit] content` than at the last start
makes every consent void, so that nobody is held to what they agreed to under other rules.
"""

from __future__ import annotations

import time

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import update
from werkzeug.wrappers import Response as BaseResponse

from service.web import consents, guard, language, rights
from service.web.accounts import Caller
from service.web.errors import Refusal
from service.web.models import User
from service.web.services import caller, services, user_id

blueprint = Blueprint("consent", __name__, url_prefix="/consent")
rights.declare(blueprint, rights.CHAT)
blueprint.before_request(language.switch)


def is_wanted(known: Caller) -> bool:
    """Say whether the one who asks has to consent first."""
    if services().audit.content != "full" or known.user_id is None:
        return False
    with services().database.begin() as session:
        return consents.given_at(session, known.user_id) is None


def demand(known: Caller) -> None:
    """Raises: Refusal 403 where a consent is wanted and not given."""
    if is_wanted(known):
        words = "Questions and answers are recorded in full here. Agree to that first, at /consent."
        raise Refusal(403, "consent_required", words)


@blueprint.app_context_processor
def context() -> dict[str, object]:
    """Return what templates/recorded.html needs."""
    audit = services().audit
    return {
        "recording": audit.content if audit.is_enabled else "off",
        "retain_days": services().config.audit.retain_days,
    }


@blueprint.get("")
def page() -> str:
    with services().database.begin() as session:
        return render_template("consent.html", given_at=consents.given_at(session, user_id()))


@blueprint.post("")
def give() -> BaseResponse:
    """Agree, or take that back."""
    is_given = request.form.get("answer") == "agree"
    is_full = services().audit.content == "full"
    with services().database.begin() as session:
        values = {"consented_at": time.time() if is_given and is_full else None}
        session.execute(update(User).where(User.id == user_id()).values(**values))
    if is_full or not is_given:
        event = "consent" if is_given else "consent_withdrawn"
        services().audit.write(event, user=caller().name, address=request.remote_addr or "", content="full")
    return redirect(guard.home(caller().role) if is_given else url_for("consent.page"))
