"""One question and its answer: asks the engine, hands the answer out piece by piece, and keeps it as it grows.

In: a conversation of the caller's and a question. Out: events (dicts) for whoever shows them. Everything that can be
refused is refused by `ask`, before the first event. How events travel is left to service.web.api.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from service.config import Config
from service.web import conversations, engine_errors, history
from service.web.accounts import Caller
from service.web.answer_reader import BrokenAnswer, Reader
from service.web.database import Database
from service.web.engine_client import Answer, Cancel, Cancelled, EngineAway, EngineClient
from service.web.engine_errors import CONTEXT
from service.web.errors import Refusal
from service.web.models import Message
from service.web.windows import Window, Windows

SAVE_EVERY_S = 1.0


@dataclass(frozen=True)
class Question:
    """A question on its way: its text, and whose it is."""

    text: str
    conversation_id: str
    user: str
    cancel: Cancel


class Chat:
    """Asks the engine in the name of accounts."""

    def __init__(self, config: Config, database: Database, engine: EngineClient) -> None:
        self._config = config
        self._database = database
        self._engine = engine
        self._windows = Windows()

    def ask(self, caller: Caller, conversation_id: str, question: str, cancel: Cancel) -> RunningAnswer:
        """Put a question. Nothing is kept of one that the engine does not accept.

        Raises: Refusal (no such conversation, engine away, busy or unwilling), Cancelled.
        """
        assert caller.user_id is not None  # only accounts have conversations
        with self._database.begin() as session:
            conversation = conversations.get(session, caller.user_id, conversation_id)
            messages = [(message.role, message.content) for message in conversations.messages(session, conversation)]
        turns = history.turns_of(messages)
        first, answer = self._accepted(turns, Question(question, conversation_id, caller.quota_id, cancel))
        try:
            with self._database.begin() as session:
                conversation = conversations.get(session, caller.user_id, conversation_id)
                asked, answered = conversations.add_turn(session, conversation, question)
        except BaseException:
            answer.close()
            raise
        self._windows.put(conversation_id, Window(first))

        def measure(tokens: int) -> None:
            self._windows.put(conversation_id, Window(first, tokens))

        return RunningAnswer(self._database, answer, (asked.id, answered.id), conversation.title, measure)

    def _accepted(self, turns: Sequence[history.Turn], question: Question) -> tuple[int, Answer]:
        """Get an answer under way; while the history does not fit the model's context, show it less of it.

        Returns: the first turn that was shown, and the answer.
        """
        first = self._first_turn(len(turns), question)
        while True:
            answer = self._post(turns[first:], question)
            if answer.status == 200:
                return first, answer
            refusal = refusal_of(answer)
            if not (refusal.code == CONTEXT and first < len(turns)):
                raise refusal
            first = history.halved(first, len(turns))

    def _first_turn(self, count: int, question: Question) -> int:
        """Begin where the last question did, unless there are too many turns now, or too little room for an answer."""
        window = self._windows.get(question.conversation_id)
        first = min(max(history.first_kept(count, self._config.history.turns), window.first), count)
        settings = self._config.engine
        # How large another server's context is, only that server knows.
        is_ours = self._engine.is_local and first == window.first < count
        if is_ours and window.is_tight(question.text, settings.context_tokens, settings.max_new_tokens):
            return history.halved(first, count)
        return first

    def _post(self, turns: Sequence[history.Turn], question: Question) -> Answer:
        messages = history.compose(turns, question.text)
        body = {
            "model": "default",
            "messages": history.with_system_prompt(messages, self._config.engine.system_prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self._config.engine.max_new_tokens,
        }
        try:
            return self._engine.post(
                "chat/completions", body, question.user, question.cancel, conversation=question.conversation_id
            )
        except EngineAway as error:
            raise away(error) from error


class RunningAnswer:
    """An answer that is being made. Iterate `events` once, then `close` it, in any case."""

    def __init__(
        self, database: Database, answer: Answer, ids: tuple[int, int], title: str, measure: Callable[[int], None]
    ) -> None:
        """`ids` are those of question and answer; `measure` is told how many tokens both and their history took."""
        self._database = database
        self._answer = answer
        self._ids = ids
        self._title = title
        self._measure = measure
        self._text = ""
        self._saved_at = time.monotonic()
        self._reader = Reader()
        self.state = "partial"

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield a start, what there is to tell while it waits, the pieces of text, and an end that says how it went."""
        try:
            yield {"type": "start", "question_id": self._ids[0], "answer_id": self._ids[1], "title": self._title}
            yield from self._read()
            self._finish(self._reader.outcome)
        except (BrokenAnswer, EngineAway) as error:
            self._finish("failed")
            code = error.code if isinstance(error, BrokenAnswer) else ""
            yield {"type": "end", "state": self.state, "message": str(error), **({"code": code} if code else {})}
            return
        except Cancelled:
            self._finish("stopped")
            return
        except GeneratorExit:
            self._finish("stopped")
            raise
        yield {"type": "end", "state": self.state, "figures": self._reader.figures}

    def close(self) -> None:
        """Let go of the engine and keep what has come, however the stream ended."""
        self._answer.close()
        if self.state == "partial":
            self._save()

    def _read(self) -> Iterator[dict[str, Any]]:
        for item in self._answer.events():
            for event in self._reader.read(item):
                self._keep(event.get("text", ""))
                yield event
        self._measure(self._reader.tokens)

    def _keep(self, text: str) -> None:
        self._text += text
        if text and time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._save()

    def _finish(self, state: str) -> None:
        if self.state == "partial":
            self.state = state
            self._save()

    def _save(self) -> None:
        # An UPDATE, not an object: the conversation may have been deleted meanwhile, and then there is nothing to do.
        statement = update(Message).where(Message.id == self._ids[1])
        with self._database.begin() as session:
            session.execute(statement.values(content=storable(self._text), state=self.state))
        self._saved_at = time.monotonic()


def storable(text: str) -> str:
    """Replace what a database cannot hold: lone surrogates, and the zero byte that PostgreSQL refuses."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def away(error: EngineAway) -> Refusal:
    return Refusal(503, "engine_away", f"The model cannot answer now: {error}.", retry_after="5")


def refusal_of(answer: Answer) -> Refusal:
    """Turn the engine's error answer into ours; read it to its end."""
    try:
        body = answer.read()
    except EngineAway:
        body = b""
    finally:
        answer.close()
    return engine_errors.refusal_of(answer.status, body, answer.headers.get("Retry-After"))
