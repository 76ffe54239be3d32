"""Who may ask a question now: consent and quota are looked at, and a refusal for the quota is recorded.

In: who is calling, and what the audit log is to hold of a refusal. Out: nothing, or a Refusal. What the engine refuses
is recorded as the end of its answer (service.web.records, service.web.recording).
"""

from __future__ import annotations

from flask import request

from service.web import consent
from service.web.errors import Refusal
from service.web.services import caller, services


def demand(**facts: str | int | None) -> None:
    """Let the caller ask. `facts` stand in the audit log when they may not. Raises: Refusal 403, 429."""
    known = caller()
    consent.demand(known)
    try:
        services().usage.check(known)
    except Refusal as refusal:
        # Late: it is refused whether or not that can be recorded.
        write, address = services().audit.write_late, request.remote_addr or ""
        write("question_refused", user=known.name, address=address, **facts, reason=refusal.code)
        raise
