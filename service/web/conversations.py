"""Conversations and their messages, each belonging to one account. Works inside the caller's transaction.

Every function that reaches a conversation takes the user's id and finds nothing that belongs to somebody else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.web.branches import Node, Tree
from service.web.errors import Refusal
from service.web.models import MAX_ID, Conversation, Message

TITLE_LENGTH = 60
MAX_TITLE_LENGTH = 120
UNUSED_S = 3600


@dataclass(frozen=True)
class PendingTurn:
    """A question and the answer that is about to come, and how the conversation was before."""

    conversation_id: str
    title: str
    question_id: int
    answer_id: int
    question: str
    added: tuple[int, ...]
    leaf_id: int | None
    was_unused: bool
    updated_at: float


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


def rename(conversation: Conversation, title: str) -> None:
    """Give it another name. Raises: Refusal 400 when that is empty or too long."""
    words = " ".join(title.split())
    if not words or len(words) > MAX_TITLE_LENGTH:
        raise Refusal(400, "bad_title", f"A title has 1 to {MAX_TITLE_LENGTH} characters.", param="title")
    conversation.title = words


def show_branch(session: Session, conversation: Conversation, message_id: int) -> None:
    """Show the branch that this message stands in. Raises: Refusal 404."""
    tree = tree_of(session, conversation)
    if tree.get(message_id) is None:
        raise message_not_found()
    conversation.leaf_id = tree.leaf_below(message_id)


def remove(session: Session, user_id: int, conversation_id: str) -> None:
    """Delete a conversation with all its messages. Raises: Refusal 404."""
    session.delete(get(session, user_id, conversation_id))


def messages(session: Session, conversation: Conversation) -> Sequence[Message]:
    """Return the messages of all branches, the oldest first."""
    query = select(Message).where(Message.conversation_id == conversation.id)
    return session.scalars(query.order_by(Message.id)).all()


def message(session: Session, conversation: Conversation, message_id: int, role: str) -> Message:
    """Find a message of this conversation. Raises: Refusal 404."""
    found = session.get(Message, message_id) if 0 < message_id <= MAX_ID else None
    if found is None or found.conversation_id != conversation.id or found.role != role:
        raise message_not_found()
    return found


def message_not_found() -> Refusal:
    return Refusal(404, "message_not_found", "There is no such message in this conversation.")


def tree_of(session: Session, conversation: Conversation) -> Tree:
    """Return how the messages hang together, without their text."""
    columns = (Message.id, Message.parent_id, Message.role, Message.content != "", Message.first_id)
    counts = (Message.prompt_tokens, Message.answer_tokens)
    rows = session.execute(select(*columns, *counts).where(Message.conversation_id == conversation.id))
    return Tree(Node(*row[:3], bool(row[3]), row[4], tokens_of(row[5], row[6])) for row in rows)


def node_of(message: Message) -> Node:
    tokens = tokens_of(message.prompt_tokens, message.answer_tokens)
    return Node(message.id, message.parent_id, message.role, bool(message.content), message.first_id, tokens)


def tokens_of(prompt: int | None, answer: int | None) -> int:
    """Return what prompt and answer took together, 0 where the server did not say."""
    return prompt + (answer or 0) if prompt else 0


def texts(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Return the contents of some messages by their ids."""
    rows = session.execute(select(Message.id, Message.content).where(Message.id.in_(ids)))
    return {row.id: row.content for row in rows}


def add_question(session: Session, conversation: Conversation, text: str, parent_id: int | None) -> PendingTurn:
    """Put a question below a message, and the answer that is about to come. The first one names the conversation."""
    question = Message(
        conversation_id=conversation.id, role="user", content=text, state="complete", parent_id=parent_id
    )
    session.add(question)
    session.flush()
    return _add_answer(session, conversation, question, (question.id,))


def add_answer(session: Session, conversation: Conversation, question: Message) -> PendingTurn:
    """Put another answer below a question, about to come."""
    return _add_answer(session, conversation, question, ())


def _add_answer(session: Session, conversation: Conversation, question: Message, added: tuple[int, ...]) -> PendingTurn:
    answer = Message(
        conversation_id=conversation.id, role="assistant", content="", state="partial", parent_id=question.id
    )
    session.add(answer)
    before = (conversation.leaf_id, not conversation.title, conversation.updated_at)
    conversation.title = conversation.title or title_of(question.content)
    conversation.updated_at = time.time()
    session.flush()
    conversation.leaf_id = answer.id
    ids = (question.id, answer.id, question.content, (*added, answer.id))
    return PendingTurn(conversation.id, conversation.title, *ids, *before)


def withdraw(session: Session, turn: PendingTurn) -> None:
    """Take back a turn, as if it had never been asked: the engine did not accept it."""
    session.execute(delete(Message).where(Message.id.in_(turn.added)))
    shown = (Conversation.id == turn.conversation_id, Conversation.leaf_id == turn.answer_id)
    before = {"leaf_id": turn.leaf_id, "updated_at": turn.updated_at}
    session.execute(update(Conversation).where(*shown).values(**before))
    if turn.was_unused:
        named = (Conversation.id == turn.conversation_id, Conversation.title == turn.title)
        session.execute(update(Conversation).where(*named).values(title=""))


def title_of(question: str) -> str:
    """Return the question's first words."""
    words = " ".join(question.split())
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1].rstrip() + "…"
