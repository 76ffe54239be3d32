"""The chat page's own API: conversations. Their answers are in service.web.answers_api.

Every route sees only what belongs to the account that is logged in. The refusals are those of service.web.errors.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Blueprint, Response, request, send_file

from service.web import conversations, export, language, rights, search
from service.web.answers_api import blueprint as answers
from service.web.branches import Tree
from service.web.chat import Opened
from service.web.errors import Refusal
from service.web.events import FIGURES, storable
from service.web.models import Conversation, Message
from service.web.request_body import json_object
from service.web.services import caller, services, user_id

FORMATS = ("markdown", "json")
CHANGES = {"title": str, "leaf_id": int}
blueprint = Blueprint("api", __name__, url_prefix="/api")
rights.declare(blueprint, rights.CHAT)
blueprint.register_blueprint(answers)


@blueprint.get("/status")
def status() -> dict[str, Any]:
    """Say whether the model can answer now. Always 200: the page asks while the model loads, which is no error."""
    health = services().engine.health()
    return {"ready": health.is_ready, "reason": health.reason, "model": health.model}


@blueprint.get("/conversations")
def list_conversations() -> dict[str, Any]:
    """List the conversations, or those that hold the words of `q`, with an excerpt where a message does."""
    words = storable(request.args.get("q", "")).strip()
    with services().database.begin() as session:
        if not words:
            return {"conversations": [head_of(each) for each in conversations.list_all(session, user_id())]}
        found = search.search(session, user_id(), words)
    excerpts = [{"excerpt": each.excerpt} if each.excerpt else {} for each in found]
    return {
        "conversations": [{**head_of(each.conversation), **more} for each, more in zip(found, excerpts, strict=True)]
    }


@blueprint.post("/conversations")
def create_conversation() -> tuple[dict[str, Any], int]:
    with services().database.begin() as session:
        return head_of(conversations.create(session, user_id())), 201


@blueprint.get("/conversations/<conversation_id>")
def read_conversation(conversation_id: str) -> dict[str, Any]:
    return _whole(services().chat.open(user_id(), conversation_id))


@blueprint.patch("/conversations/<conversation_id>")
def change_conversation(conversation_id: str) -> dict[str, Any]:
    """Give it another title, or show another branch: the one that the message `leaf_id` stands in."""
    body = json_object()
    with services().database.begin() as session:
        conversation = conversations.get(session, user_id(), conversation_id)
        changes = {name: body[name] for name in CHANGES if name in body}
        if not changes or any(type(value) is not CHANGES[name] for name, value in changes.items()):
            raise Refusal(400, "no_change", 'Send {"title": "…"} or {"leaf_id": …}, or both.')
        if "leaf_id" in changes:
            conversations.show_branch(session, conversation, changes["leaf_id"])
        if "title" in changes:
            conversations.rename(conversation, storable(changes["title"]))
        return head_of(conversation)


@blueprint.delete("/conversations/<conversation_id>")
def delete_conversation(conversation_id: str) -> tuple[str, int]:
    services().chat.delete(user_id(), conversation_id, lambda: _record("conversation_deleted", conversation_id))
    return "", 204


@blueprint.get("/conversations/<conversation_id>/export")
def export_conversation(conversation_id: str) -> Response:
    """Hand the conversation out as a file: the branch that is shown as Markdown, everything as JSON."""
    opened = services().chat.open(user_id(), conversation_id)
    form = request.args.get("format", "markdown")
    if form not in FORMATS:
        raise Refusal(400, "bad_format", "The formats are markdown and json.", param="format")
    _record("conversation_exported", conversation_id, format=form)
    if form == "markdown":
        text = export.markdown(opened.conversation.title, _shown(opened), language.strings(language.current()))
        return _file(text, "text/markdown", export.file_name(opened.conversation.title, "md"))
    whole = {**_whole(opened), "created_at": opened.conversation.created_at}
    return _file(export.plain_json(whole), "application/json", export.file_name(opened.conversation.title, "json"))


def _record(event: str, conversation_id: str, **facts: str) -> None:
    """Write a line of the audit log: what somebody does with a conversation. Raises: AuditUnavailable."""
    write, address = services().audit.write, request.remote_addr or ""
    write(event, user=caller().name, address=address, conversation=conversation_id, **facts)


def _file(text: str, kind: str, name: str) -> Response:
    return send_file(BytesIO(text.encode()), kind, as_attachment=True, download_name=name)


def _shown(opened: Opened) -> list[Message]:
    by_id = {message.id: message for message in opened.messages}
    path = Tree(map(conversations.node_of, opened.messages)).path(opened.conversation.leaf_id)
    return [by_id[node.id] for node in path]


def head_of(conversation: Conversation) -> dict[str, Any]:
    return {"id": conversation.id, "title": conversation.title, "updated_at": conversation.updated_at}


def _whole(opened: Opened) -> dict[str, Any]:
    more = {"leaf_id": opened.conversation.leaf_id, "messages": [_message(message) for message in opened.messages]}
    running = {"remembers_from": opened.remembers_from, "answering": opened.answering}
    return {**head_of(opened.conversation), **more, **running}


def _message(message: Message) -> dict[str, Any]:
    place = {"id": message.id, "parent_id": message.parent_id, "role": message.role}
    text = {"content": message.content, "state": message.state, "created_at": message.created_at}
    return {**place, **text, **{name: getattr(message, name) for name in FIGURES}}
