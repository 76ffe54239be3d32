"""What becomes of a question that the engine does not take: its answer comes in, a Refusal goes out."""

from __future__ import annotations

from service.web import engine_errors
from service.web.engine_client import Answer, EngineAway
from service.web.errors import Refusal


def away(error: EngineAway) -> Refusal:
    return Refusal(503, "engine_away", f"The model cannot answer now: {error}.", retry_after="5")


def unaudited() -> Refusal:
    words = "The audit log cannot be written, and nothing is done without it. The administrator has to make room."
    return Refusal(503, "audit_unavailable", words, retry_after="30")


def refusal_of(answer: Answer) -> Refusal:
    """PendingTurn the engine's error answer into ours; read it to its end."""
    try:
        body = answer.read()
    except EngineAway:
        body = b""
    finally:
        answer.close()
    return engine_errors.refusal_of(answer.status, body, answer.headers.get("Retry-After"))
