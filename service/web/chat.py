"""One question and its answer: asks the engine, hands the answer out piece by piece, and keeps it as it grows.

In: a conversation of the caller's and a question. Out: events (dicts) for whoever shows them. Everything that can be
refused is refused by `ask`, before the first event. How events travel is left to service.web.api.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import update

from service.config import Config
from service.web import conversations, history
from service.web.accounts import Caller
from service.web.database import Database
from service.web.engine_client import Answer, Cancel, Cancelled, EngineAway, EngineClient
from service.web.errors import Refusal
from service.web.models import Message

SAVE_EVERY_S = 1.0


class Chat:
    """Asks the engine in the name of accounts."""

    def __init__(self, config: Config, database: Database, engine: EngineClient) -> None:
        self._config = config
        self._database = database
        self._engine = engine

    def ask(self, caller: Caller, conversation_id: str, question: str, cancel: Cancel) -> RunningAnswer:
        """Put a question. Nothing is kept of one that the engine does not accept.

        Raises: Refusal (no such conversation, engine away, busy or unwilling), Cancelled.
        """
        assert caller.user_id is not None  # only accounts have conversations
        with self._database.begin() as session:
            conversation = conversations.get(session, caller.user_id, conversation_id)
            messages = [(message.role, message.content) for message in conversations.messages(session, conversation)]
        answer = self._accepted(history.turns_of(messages), question, caller, cancel)
        try:
            with self._database.begin() as session:
                conversation = conversations.get(session, caller.user_id, conversation_id)
                asked, answered = conversations.add_turn(session, conversation, question)
        except BaseException:
            answer.close()
            raise
        return RunningAnswer(self._database, answer, asked.id, answered.id, conversation.title)

    def _accepted(self, turns: Sequence[history.Turn], question: str, caller: Caller, cancel: Cancel) -> Answer:
        """Get an answer under way; while the history does not fit the model's context, show it less of it."""
        turns = history.last(turns, self._config.history.turns)
        while True:
            answer = self._post(turns, question, caller, cancel)
            if answer.status == 200:
                return answer
            refusal = refusal_of(answer)
            if not (refusal.code == "context_length_exceeded" and turns):
                raise refusal
            turns = history.halved(turns)

    def _post(self, turns: Sequence[history.Turn], question: str, caller: Caller, cancel: Cancel) -> Answer:
        messages = history.with_system_prompt(history.compose(turns, question), self._config.engine.system_prompt)
        limit = self._config.engine.max_new_tokens
        body = {"model": "default", "messages": messages, "stream": True, "max_tokens": limit}
        try:
            return self._engine.post("chat/completions", body, caller.quota_id, cancel)
        except EngineAway as error:
            raise away(error) from error


class RunningAnswer:
    """An answer that is being made. Iterate `events` once, then `close` it, in any case."""

    def __init__(self, database: Database, answer: Answer, asked_id: int, answered_id: int, title: str) -> None:
        self._database = database
        self._answer = answer
        self._ids = (asked_id, answered_id)
        self._title = title
        self._text = ""
        self._saved_at = time.monotonic()
        self._outcome = "complete"
        self.state = "partial"

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield a start, the pieces of text, and an end that says how it went."""
        try:
            yield {"type": "start", "question_id": self._ids[0], "answer_id": self._ids[1], "title": self._title}
            for piece in self._pieces():
                yield {"type": "text", "text": piece}
            self._finish(self._outcome)
        except EngineAway as error:
            self._finish("failed")
            yield {"type": "end", "state": self.state, "message": str(error)}
            return
        except Cancelled:
            self._finish("stopped")
            return
        except GeneratorExit:
            self._finish("stopped")
            raise
        yield {"type": "end", "state": self.state}

    def close(self) -> None:
        """Let go of the engine and keep what has come, however the stream ended."""
        self._answer.close()
        if self.state == "partial":
            self._save()

    def _pieces(self) -> Iterator[str]:
        for event in self._answer.events():
            if "error" in event:
                raise EngineAway(_message_of(event) or "the engine failed")
            choice = (event.get("choices") or [{}])[0]
            if choice.get("finish_reason") == "length":
                self._outcome = "length"
            if text := (choice.get("delta") or {}).get("content"):
                self._keep(text)
                yield text

    def _keep(self, text: str) -> None:
        self._text += text
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
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
    """Turn the engine's error answer into ours, with its status, words and Retry-After; read it to its end."""
    try:
        error = json.loads(answer.read()).get("error", {})
    except (EngineAway, ValueError, AttributeError):
        error = {}
    finally:
        answer.close()
    error = error if isinstance(error, dict) else {}
    # 401 and the like are between us and another server: to our client they are a bad gateway.
    status = answer.status if answer.status in (400, 404, 413, 422, 429, 503) else 502
    code = str(error.get("code") or {429: "busy", 503: "engine_away"}.get(status, "engine_error"))
    message = str(error.get("message") or f"The engine answered with status {answer.status}.")
    return Refusal(status, code, message, retry_after=answer.headers.get("Retry-After"))


def _message_of(event: dict[str, Any]) -> str:
    error = event["error"]
    return str(error.get("message", "")) if isinstance(error, dict) else ""
