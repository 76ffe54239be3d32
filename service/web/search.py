"""Finding conversations by what is in them. Works inside the caller's transaction, among one user's own.

Case does not matter, in whichever script: database.py gives SQLite a `lower` that knows more than ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.web.models import Conversation, Message

MAX_WORDS = 200
MAX_FOUND = 100
BEFORE, AFTER = 40, 80


@dataclass(frozen=True)
class Found:
    """A conversation, and what stands around the words where a message holds them."""

    conversation: Conversation
    excerpt: str


def search(session: Session, user_id: int, words: str) -> list[Found]:
    """Return the conversations whose title or messages hold these words as they are, the latest first."""
    words = words[:MAX_WORDS]
    own = (Conversation.user_id == user_id, Conversation.title != "")
    first = (
        select(Message.conversation_id, func.min(Message.id).label("id"))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(*own, Message.content.icontains(words, autoescape=True))
        .group_by(Message.conversation_id)
        .subquery()
    )
    query = (
        select(Conversation, Message.content)
        .outerjoin(first, first.c.conversation_id == Conversation.id)
        .outerjoin(Message, Message.id == first.c.id)
        .where(*own, Conversation.title.icontains(words, autoescape=True) | first.c.id.is_not(None))
        .order_by(Conversation.updated_at.desc())
        .limit(MAX_FOUND)
    )
    rows = session.execute(query)
    return [Found(conversation, excerpt(content or "", words)) for conversation, content in rows]


def excerpt(text: str, words: str) -> str:
    """Return what stands around the words in the text, on one line; nothing where they are not in it."""
    at = text.lower().find(words.lower())
    if at < 0:
        return ""
    begin, end = max(at - BEFORE, 0), at + len(words) + AFTER
    cut = " ".join(text[begin:end].split())
    return f"{'…' if begin else ''}{cut}{'…' if end < len(text) else ''}"
