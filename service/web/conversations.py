"""Conversations and their messages, each belonging to one account. Works inside the caller's transaction.

Every function that reaches a conversation takes the user's id and finds nothing that belongs to somebody else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.web.errors import Refusal
from service.web.models import Conversation, Message

TITLE_LENGTH = 60
UNUSED_S = 3600


def create(session: Session, user_id: int) -> Conversation:
    """Begin a conversation, and forget those that the user began and never used."""
    unused = (Conversation.user_id == user_id, Conversation.title == "")
    session.execute(delete(Conversation).where(*unused, Conversation.created_at < time.time() - UNUSED_S))
    conversation = Conversation(id=secrets.token_urlsafe(12), user_id=user_id)
    session.add(conversation)
    session.flush()
    return conversation


def list_all(session: Session, user_id: int) -> Sequence[Conversation]:
    """Return the user's conversations that hold anything, the latest first."""
    query = select(Conversation).where(Conversation.user_id == user_id, Conversation.title != "")
    return session.scalars(query.order_by(Conversation.updated_at.desc())).all()


def get(session: Session, user_id: int, conversation_id: str) -> Conversation:
    """Find one of the user's own. Raises: Refusal 404, the same for somebody else's as for none at all."""
    conversation = session.get(Conversation, conversation_id)
    if conversation is None or conversation.user_id != user_id:
        raise Refusal(404, "conversation_not_found", "There is no such conversation.")
    return conversation


def remove(session: Session, user_id: int, conversation_id: str) -> None:
    """Delete a conversation with all its messages. Raises: Refusal 404."""
    session.delete(get(session, user_id, conversation_id))


def messages(session: Session, conversation: Conversation) -> Sequence[Message]:
    query = select(Message).where(Message.conversation_id == conversation.id)
    return session.scalars(query.order_by(Message.id)).all()


def add_turn(session: Session, conversation: Conversation, question: str) -> tuple[Message, Message]:
    """Append a question and the answer that is about to come. The first question names the conversation."""
    asked = Message(conversation_id=conversation.id, role="user", content=question, state="complete")
    answer = Message(conversation_id=conversation.id, role="assistant", content="", state="partial")
    session.add(asked)
    session.flush()  # one after the other: the order of the ids is the order of the conversation
    session.add(answer)
    conversation.title = conversation.title or title_of(question)
    conversation.updated_at = time.time()
    session.flush()
    return asked, answer


def title_of(question: str) -> str:
    """Return the question's first words."""
    words = " ".join(question.split())
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1].rstrip() + "…"
