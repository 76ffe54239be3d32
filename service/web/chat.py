"""Questions and answers of accounts: begins answers, lets their owners follow and stop them, and tells which one runs.

In: a conversation of the asker's. Out: answers to follow, which service.web.answers_api sends. Everything that can be
refused is refused before the first event. How an answer is made is left to service.web.answer_run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from functools import partial

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.web import branches, conversations, windows
from service.web.answer_run import AnswerRun, Shown, Tools
from service.web.branches import Node, Tree
from service.web.conversations import PendingTurn
from service.web.engine_client import Cancel
from service.web.errors import Refusal
from service.web.events import left_by, text_of
from service.web.following import Following
from service.web.history import Turn
from service.web.models import Conversation, Message
from service.web.records import Asker
from service.web.spool import Busy, Spool
from service.web.windows import Room

log = logging.getLogger(__name__)
# A stop is over within this, or the engine's connection hangs and it goes on by itself.
STOP_S = 2.0
CLOSING = "Ferry is being stopped"


class Below(Enum):
    """Where a question goes that names no parent."""

    LEAF = "leaf"


@dataclass(frozen=True)
class Place:
    """Where a turn goes: the branch above its question, the question, and what adds the two messages.

    `is_again`: the question has an answer, and another is wanted.
    """

    path: Sequence[Node]
    question: str
    add: Callable[[], PendingTurn]
    is_again: bool = False


@dataclass(frozen=True)
class Opened:
    """A conversation with its messages; `answering` is the answer that is being written."""

    conversation: Conversation
    messages: Sequence[Message]
    remembers_from: int | None
    answering: int | None = None


class Chat:
    """Asks the engine in the name of accounts."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._database = tools.database
        self._spools = tools.spools

    def ask(
        self, asker: Asker, conversation_id: str, question: str, parent_id: int | Below | None = Below.LEAF
    ) -> Following:
        """Put a question below a message. Nothing is kept of one that the engine does not accept.

        Raises: Refusal (no such conversation or message, an answer running already, engine away, busy or unwilling).
        """

        def find(session: Session, conversation: Conversation, tree: Tree) -> Place:
            parent = tree.get(conversation.leaf_id if isinstance(parent_id, Below) else parent_id)
            if parent is None and not (parent_id is None or isinstance(parent_id, Below)):
                raise conversations.message_not_found()
            above = parent.id if parent else None
            add = partial(conversations.add_question, session, conversation, question, above)
            return Place(tree.path(above), question, add)

        return self._begin(asker, conversation_id, find)

    def again(self, asker: Asker, conversation_id: str, question_id: int) -> Following:
        """Have a question answered once more, beside the answers it has. Raises: Refusal, like `ask`."""

        def find(session: Session, conversation: Conversation, tree: Tree) -> Place:
            question = conversations.message(session, conversation, question_id, "user")
            add = partial(conversations.add_answer, session, conversation, question)
            return Place(tree.path(question.parent_id), question.content, add, is_again=True)

        return self._begin(asker, conversation_id, find)

    def follow(self, user_id: int, conversation_id: str, answer_id: int) -> Following:
        """Return the events of an answer from its beginning, be it running or over. Raises: Refusal 404."""
        answer = self._answer(user_id, conversation_id, answer_id)
        if answer.state == "partial":
            found = self._spools.find(conversation_id)
            if found is not None and found.answer_id == answer_id:
                return Following(self._database, answer_id, found)
            if found is not None:
                found.close()
            self.settle(conversation_id)
        return Following(self._database, answer_id, None)

    def stop(self, user_id: int, conversation_id: str, answer_id: int) -> None:
        """Stop an answer, in whichever process it is made; one that has ended stays as it is. Raises: Refusal 404."""
        self._answer(user_id, conversation_id, answer_id)
        self._stop(conversation_id, answer_id)

    def open(self, user_id: int, conversation_id: str) -> Opened:
        """Read a conversation, with what its running answer has come to. Raises: Refusal 404."""
        opened = self._read(user_id, conversation_id)
        if not any(message.state == "partial" for message in opened.messages):
            return opened
        found = self._spools.find(conversation_id)
        if found is None:  # it was left behind, or has ended just now
            self.settle(conversation_id)
            return self._read(user_id, conversation_id)
        with closing(found):
            running = next((message for message in opened.messages if message.id == found.answer_id), None)
            if running is None or running.state != "partial":
                return opened
            running.content = text_of(found.so_far())
            return Opened(opened.conversation, opened.messages, opened.remembers_from, running.id)

    def delete(self, user_id: int, conversation_id: str, record: Callable[[], None]) -> None:
        """Delete a conversation, its running answer too; where `record` raises it stays. Raises: Refusal 404."""
        with self._database.begin() as session:
            conversations.remove(session, user_id, conversation_id)
            record()  # nothing is sent before the commit: who waits for a disk here holds no lock of SQLite's
        # Now no answer can begin any more; what one that runs would still save, there is no row for.
        self._stop(conversation_id, None)
        self.settle(conversation_id)

    def settle(self, conversation_id: str) -> None:
        """Keep what a process that was killed had written of an answer; its state stays "partial"."""
        if not self._spools.is_left(conversation_id):
            return
        try:
            spool = self._spools.lock(conversation_id, patience_s=0)
        except Busy:
            return
        end = None
        try:
            self._keep_left(conversation_id, spool)
            end = b""
        finally:
            self._spools.end(conversation_id, spool, end)

    def settle_all(self) -> None:
        """Do so for every conversation, when a process begins."""
        for conversation_id in self._spools.names():
            try:
                self.settle(conversation_id)
            except SQLAlchemyError:  # a database that is away for a while: whoever reads the conversation settles it
                log.exception("what was left of an answer could not be kept yet")

    def end_all(self, timeout_s: float) -> None:
        """End the answers that this process makes, those that nobody follows too."""
        self._tools.engine.end_all(CLOSING)
        self._spools.wait_all_ended(timeout_s)

    def _begin(
        self, asker: Asker, conversation_id: str, find: Callable[[Session, Conversation, Tree], Place]
    ) -> Following:
        with self._database.begin() as session:
            conversations.get(session, asker.user_id, conversation_id)
        cancel = Cancel()
        spool = self._locked(conversation_id, cancel)
        end = None  # what was left there stays until it is kept
        try:
            self._keep_left(conversation_id, spool)
            end = b""
            with self._database.begin() as session:
                conversation = conversations.get(session, asker.user_id, conversation_id)
                place = find(session, conversation, conversations.tree_of(session, conversation))
                shown = self._shown(session, place)
                turn = place.add()  # last: from here on other processes wait for their turn to write
                spool.begin(turn.answer_id)
        except OSError as error:
            self._spools.end(conversation_id, spool, end)
            raise _no_room() from error
        except BaseException:
            self._spools.end(conversation_id, spool, end)
            raise
        following = Following(self._database, turn.answer_id, self._spools.find(conversation_id))
        try:
            AnswerRun(self._tools, asker, turn, shown, spool, cancel, place.is_again).start()
        except BaseException:
            following.close()
            raise
        return following

    def _locked(self, conversation_id: str, cancel: Cancel) -> Spool:
        try:
            return self._spools.lock(conversation_id, cancel.set)
        except Busy as error:
            words = "An answer of this conversation is still being written. Wait for its end, or stop it."
            raise Refusal(409, "answering", words) from error
        except OSError as error:
            raise _no_room() from error

    def _shown(self, session: Session, place: Place) -> Shown:
        pairs = branches.pairs_of(place.path)
        settings = self._tools.settings().engine
        # How large another server's context is, only that server knows.
        room = Room(settings.context_tokens, settings.max_new_tokens) if self._tools.engine.is_local else None
        first = windows.begin_for(pairs, self._tools.settings().history.turns, place.question, room)
        seen = pairs[first:]
        texts = conversations.texts(session, [number for pair in seen for number in (pair.question_id, pair.answer.id)])
        turns = tuple(Turn(texts[pair.question_id], texts[pair.answer.id]) for pair in seen)
        return Shown(turns, tuple(pair.question_id for pair in seen), is_whole=first == 0)

    def _read(self, user_id: int, conversation_id: str) -> Opened:
        with self._database.begin() as session:
            conversation = conversations.get(session, user_id, conversation_id)
            messages = conversations.messages(session, conversation)
        path = Tree(map(conversations.node_of, messages)).path(conversation.leaf_id)
        pairs = branches.pairs_of(path)
        first = windows.begin(pairs, self._tools.settings().history.turns)
        return Opened(conversation, messages, pairs[first].question_id if first else None)

    def _answer(self, user_id: int, conversation_id: str, answer_id: int) -> Message:
        with self._database.begin() as session:
            conversation = conversations.get(session, user_id, conversation_id)
            return conversations.message(session, conversation, answer_id, "assistant")

    def _stop(self, conversation_id: str, answer_id: int | None) -> None:
        """Stop the running answer if it is this one, or whichever it is, and wait until it has ended."""
        found = self._spools.find(conversation_id)
        if found is None:
            return
        with closing(found):
            if answer_id in (None, found.answer_id):
                self._spools.stop(conversation_id, found.answer_id)
                found.wait_ended(STOP_S)

    def _keep_left(self, conversation_id: str, spool: Spool) -> None:
        answer_id, text = left_by(spool.left())
        if not text:
            return
        with self._database.begin() as session:
            unfinished = (Message.conversation_id == conversation_id, Message.state == "partial")
            session.execute(update(Message).where(Message.id == answer_id, *unfinished).values(content=text))


def _no_room() -> Refusal:
    log.exception("the file of an answer cannot be written")
    return Refusal(503, "no_room", "No answer can be written here now. The administrator has to make room.")
