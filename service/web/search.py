"""Finding conversations by what is in them. Works inside the caller's transaction, among one user's own.

Case does not matter, in whichever script: database.py gives SQLite a `lower` that knows more than ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.web.models import Conversation, Message

MAX_WORDS = 200
MAX_FOUND = 100
BEFORE, AFTER = 40, 80
ESCAPE = "\\"


@dataclass(frozen=True)
class Found:
    """A conversation, and what stands around the words where a message holds them."""

    conversation: Conversation
    excerpt: str


def search(session: Session, user_id: int, words: str) -> list[Found]:
    """Return the conversations whose title or messages hold these words as they are, the latest first."""
    words = words[:MAX_WORDS].lower()
    own = (Conversation.user_id == user_id, Conversation.title != "")
    first = (
        select(Message.conversation_id, func.min(Message.id).label("id"))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(*own, _holds(Message.content, words))
        .group_by(Message.conversation_id)
        .subquery()
    )
    query = (
        select(Conversation, Message.content)
        .outerjoin(first, first.c.conversation_id == Conversation.id)
        .outerjoin(Message, Message.id == first.c.id)
        .where(*own, _holds(Conversation.title, words) | first.c.id.is_not(None))
        .order_by(Conversation.updated_at.desc())
        .limit(MAX_FOUND)
    )
    rows = session.execute(query)
    return [Found(conversation, excerpt(content or "", words)) for conversation, content in rows]


def excerpt(text: str, words: str) -> str:
    """Return what stands around the words in the text, on one line; nothing where they are not in it."""
    at = text.lower().find(words)
    if at < 0:
        return ""
    begin, end = max(at - BEFORE, 0), at + len(words) + AFTER
    cut = " ".join(text[begin:end].split())
    return f"{'…' if begin else ''}{cut}{'…' if end < len(text) else ''}"


def _holds(column: InstrumentedAttribute[str], words: str) -> ColumnElement[bool]:
    pattern = words
    for sign in (ESCAPE, "%", "_"):
        pattern = pattern.replace(sign, ESCAPE + sign)
    return func.lower(column).like(f"%{pattern}%", escape=ESCAPE)
