"""The chat page's own API: conversations, and one route that streams an answer as lines of JSON.

Every route sees only what belongs to the account that is logged in. The refusals are those of service.web.errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from service.web import conversations
from service.web.chat import RunningAnswer, storable
from service.web.client_watch import watch_client
from service.web.engine_client import Cancel, Cancelled
from service.web.errors import Refusal
from service.web.models import Conversation, Message
from service.web.services import caller, services

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.get("/status")
def status() -> dict[str, Any]:
    """Say whether the model can answer now. Always 200: the page asks while the model loads, which is no error."""
    health = services().engine.health()
    return {"ready": health.is_ready, "reason": health.reason, "model": health.model}


@blueprint.get("/conversations")
def list_conversations() -> dict[str, Any]:
    with services().database.begin() as session:
        found = conversations.list_all(session, _user_id())
        return {"conversations": [_head(conversation) for conversation in found]}


@blueprint.post("/conversations")
def create_conversation() -> tuple[dict[str, Any], int]:
    with services().database.begin() as session:
        return _head(conversations.create(session, _user_id())), 201


@blueprint.get("/conversations/<conversation_id>")
def read_conversation(conversation_id: str) -> dict[str, Any]:
    with services().database.begin() as session:
        conversation = conversations.get(session, _user_id(), conversation_id)
        messages = conversations.messages(session, conversation)
        return {**_head(conversation), "messages": [_message(message) for message in messages]}


@blueprint.delete("/conversations/<conversation_id>")
def delete_conversation(conversation_id: str) -> tuple[str, int]:
    with services().database.begin() as session:
        conversations.remove(session, _user_id(), conversation_id)
    return "", 204


@blueprint.post("/conversations/<conversation_id>/messages")
def ask(conversation_id: str) -> Response:
    """Put a question and stream the answer. Closing the connection stops it."""
    question = _question()
    cancel = Cancel()
    stop_watch = watch_client(request.environ, cancel.set)
    try:
        answer = services().chat.ask(caller(), conversation_id, question, cancel)
    except Cancelled:
        stop_watch()
        return Response(status=499)  # nginx's number for "client closed request"; there is nobody left to read it
    except BaseException:
        stop_watch()
        raise
    services().metrics.add("ferry_web_streams")
    return _streamed(answer, stop_watch)


def _streamed(answer: RunningAnswer, stop_watch: Any) -> Response:
    """Send the events as they come. The watch and the engine are let go of even if the body is never read."""
    known, who, address = services(), caller().name, request.remote_addr or ""
    response = Response(_lines(answer), mimetype="application/x-ndjson")
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the pieces back

    @response.call_on_close
    def close() -> None:
        stop_watch()
        answer.close()
        known.metrics.add("ferry_web_streams", by=-1)
        known.metrics.add("ferry_web_chats_total", f'outcome="{answer.state}"')
        known.audit.write("chat", user=who, address=address, outcome=answer.state)

    return response


def _lines(answer: RunningAnswer) -> Iterator[bytes]:
    for event in answer.events():
        yield json.dumps(event).encode() + b"\n"


def _question() -> str:
    body = json_object()
    content = body.get("content")
    if not isinstance(content, str) or not content.strip():
        raise Refusal(400, "no_question", 'Send {"content": "…"} with a question in it.')
    return storable(content)


def json_object() -> dict[str, Any]:
    """Return the request's body. Raises: Refusal 400 when it is no JSON object, RequestEntityTooLarge."""
    data = request.get_data(cache=False)
    # A body of unknown length is not refused by Werkzeug but cut off where the limit is.
    if request.content_length is None and len(data) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_json", "The body of the request is not JSON.") from error
    if not isinstance(body, dict):
        raise Refusal(400, "bad_json", "The body of the request is no JSON object.")
    return body


def _user_id() -> int:
    user_id = caller().user_id
    assert user_id is not None  # only accounts log in
    return user_id


def _head(conversation: Conversation) -> dict[str, Any]:
    return {"id": conversation.id, "title": conversation.title, "updated_at": conversation.updated_at}


def _message(message: Message) -> dict[str, Any]:
    return {"id": message.id, "role": message.role, "content": message.content, "state": message.state}
