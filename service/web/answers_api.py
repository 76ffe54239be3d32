"""The part of the chat page's API that asks: questions, other answers to them, following and stopping an answer.

An answer is streamed as lines of JSON, its events. Who closes the connection does not stop it, and may come back.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from service.web import admission
from service.web.chat import Below
from service.web.conversations import message_not_found
from service.web.errors import Refusal
from service.web.events import storable
from service.web.following import Following
from service.web.records import Asker
from service.web.request_body import json_object
from service.web.services import caller, services, user_id

MAX_ID = 40  # of what stands in an address: our own ids are shorter
blueprint = Blueprint("answers", __name__, url_prefix="/conversations/<conversation_id>/messages")


@blueprint.post("")
def ask(conversation_id: str) -> Response:
    """Put a question and stream its answer. It goes below `parent_id`, or after the branch that is shown."""
    body = json_object()
    admission.demand(conversation=conversation_id[:MAX_ID])
    return _streamed(services().chat.ask(_asker(), conversation_id, _question(body), _parent_id(body)))


@blueprint.post("/<message_id>/answers")
def ask_again(conversation_id: str, message_id: str) -> Response:
    """Stream another answer to a question."""
    admission.demand(conversation=conversation_id[:MAX_ID])
    return _streamed(services().chat.again(_asker(), conversation_id, _number(message_id)))


@blueprint.get("/<message_id>/events")
def follow(conversation_id: str, message_id: str) -> Response:
    """Stream an answer from its beginning, be it still written or over."""
    return _streamed(services().chat.follow(user_id(), conversation_id, _number(message_id)))


@blueprint.post("/<message_id>/stop")
def stop(conversation_id: str, message_id: str) -> tuple[str, int]:
    """Stop an answer. It keeps what has come."""
    services().chat.stop(user_id(), conversation_id, _number(message_id))
    return "", 204


def _streamed(following: Following) -> Response:
    response = Response(following.lines(), mimetype="application/x-ndjson")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the pieces back
    # Not in the generator: one that is closed before it has begun never runs its `finally`.
    response.call_on_close(following.close)
    return response


def _asker() -> Asker:
    known = caller()
    return Asker(user_id(), known.name, known.quota_id, request.remote_addr or "")


def _question(body: dict[str, Any]) -> str:
    content = body.get("content")
    if not isinstance(content, str) or not content.strip():
        raise Refusal(400, "no_question", 'Send {"content": "…"} with a question in it.', param="content")
    return storable(content)


def _parent_id(body: dict[str, Any]) -> int | Below | None:
    parent = body.get("parent_id", Below.LEAF)
    if isinstance(parent, bool) or not isinstance(parent, (int, Below, type(None))):
        raise Refusal(400, "bad_parent", "parent_id is the number of a message, or null.", param="parent_id")
    return parent


def _number(message_id: str) -> int:
    """Read the number of a message in an address. Raises: Refusal 404."""
    if not (message_id.isascii() and message_id.isdigit() and len(message_id) < 12):
        raise message_not_found()
    return int(message_id)
