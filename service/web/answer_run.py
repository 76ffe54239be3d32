"""One answer on its way, apart from any request: asks the engine, spools the events, and keeps the answer as it grows.

In: a turn that stands in the database, and the spool that is held for it. Out: events for whoever follows the spool,
and the answer in the database. Runs in a thread of its own (a greenlet under gevent), to its end whoever listens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from service.config import Config
from service.web import conversations, history
from service.web.answer_reader import BrokenAnswer, Reader
from service.web.conversations import PendingTurn
from service.web.database import Database
from service.web.engine_client import Answer, Cancel, Cancelled, EngineAway, EngineClient
from service.web.engine_errors import CONTEXT
from service.web.errors import Refusal
from service.web.events import columns_of, line_of, start_of, storable
from service.web.meter import BYTES_PER_TOKEN
from service.web.models import Message
from service.web.records import Asker, Ended, Records
from service.web.refusals import away, refusal_of
from service.web.spool import Spool, Spools

log = logging.getLogger(__name__)
# The spool has every piece at once. This is for what the spool is not in: a search, a backup, a disk that lost power.
SAVE_EVERY_S = 5.0
# Of a model whose makers want the likeliest token always, another answer would be the same, letter by letter.
# Another server's model has settings that only that server knows.
ANOTHER = {"temperature": 0.8, "top_p": 0.95}


@dataclass(frozen=True)
class Tools:
    """What every run works with."""

    settings: Callable[[], Config]
    database: Database
    engine: EngineClient
    records: Records
    spools: Spools


@dataclass(frozen=True)
class Shown:
    """What the model may be shown: the turns above a question, with the ids of their questions."""

    turns: tuple[history.Turn, ...]
    ids: tuple[int, ...]
    is_whole: bool  # nothing stands before them


class AnswerRun:
    """Makes one answer."""

    def __init__(
        self,
        tools: Tools,
        asker: Asker,
        turn: PendingTurn,
        shown: Shown,
        spool: Spool,
        cancel: Cancel,
        is_again: bool = False,
    ) -> None:
        self._tools = tools
        self._asker = asker
        self._turn = turn
        self._shown = shown
        self._spool = spool
        self._cancel = cancel
        self._sampling = ANOTHER if is_again and tools.engine.is_local else {}
        self._reader = Reader()
        self._pieces: list[str] = []
        self._first = 0
        self._prompt_bytes = 0
        self._is_told = False
        self._asked = 0
        self._state = "partial"
        self._saved_at = time.monotonic()
        self._is_decided = threading.Event()
        self._refusal: Refusal | None = None

    def start(self) -> None:
        """Begin, and wait until the engine has accepted the question. Raises: Refusal when it does not."""
        self._tools.records.begun()
        threading.Thread(target=self._run, daemon=True).start()
        self._is_decided.wait()
        if self._refusal is not None:
            raise self._refusal

    def _run(self) -> None:
        last = None
        try:
            last = line_of(self._write_or_withdraw())
        except Exception:
            log.exception("the answer %d could not be kept", self._turn.answer_id)
        finally:
            # The state is in the database by now: who reads the last line finds it there.
            self._tools.spools.end(self._turn.conversation_id, self._spool, last)
            self._is_decided.set()

    def _write_or_withdraw(self) -> dict[str, Any]:
        try:
            end = self._write()
            self._state = end["state"]
            self._save()
        except Refusal as refusal:
            self._refusal = refusal
            self._state = "refused"
            with self._tools.database.begin() as session:
                conversations.withdraw(session, self._turn)
            end = {"type": "end", "state": "failed", "message": refusal.message, "code": refusal.code}
        finally:
            self._record()
        return end

    def _write(self) -> dict[str, Any]:
        """Have the answer written. Returns the last event. Raises: Refusal."""
        self._asked = self._tools.records.asked(self._asker, self._turn.conversation_id, self._turn.question)
        try:
            with closing(self._accepted()) as answer:
                self._tell_start()
                for item in answer.events():
                    for event in self._reader.read(item):
                        self._tell(event)
        except (BrokenAnswer, EngineAway) as error:
            code = error.code if isinstance(error, BrokenAnswer) else ""
            return {"type": "end", "state": "failed", "message": str(error), **({"code": code} if code else {})}
        except Cancelled:
            self._tell_start()
            return {"type": "end", "state": "stopped", "figures": self._reader.figures}
        return {"type": "end", "state": self._reader.outcome, "figures": self._reader.figures}

    def _accepted(self) -> Answer:
        """Get an answer under way; while the history does not fit the model's context, show it less of it."""
        turns = self._shown.turns
        while True:
            answer = self._post(turns[self._first :])
            if answer.status == 200:
                return answer
            refusal = refusal_of(answer)
            if not (refusal.code == CONTEXT and self._first < len(turns)):
                raise refusal
            self._first = history.halved(self._first, len(turns))

    def _post(self, turns: tuple[history.Turn, ...]) -> Answer:
        settings = self._tools.settings().engine
        messages = history.compose(turns, self._turn.question)
        body = {
            "model": "default",
            "messages": history.with_system_prompt(messages, settings.system_prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": settings.max_new_tokens,
            **self._sampling,
        }
        self._prompt_bytes = sum(len(message["content"].encode("utf-8", "replace")) for message in messages)
        user, conversation = self._asker.quota_id, self._turn.conversation_id
        try:
            return self._tools.engine.post("chat/completions", body, user, self._cancel, conversation=conversation)
        except EngineAway as error:
            raise away(error) from error

    def _tell_start(self) -> None:
        if not self._is_told:
            self._is_told = True
            turn = self._turn
            is_whole = self._first == 0 and self._shown.is_whole
            self._spool.write(
                line_of(start_of(turn.question_id, turn.answer_id, turn.title, None if is_whole else self._first_id))
            )
            self._is_decided.set()

    def _tell(self, event: dict[str, Any]) -> None:
        self._spool.write(line_of(event))
        if event["type"] == "text":
            self._pieces.append(event["text"])
            if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
                self._save_meanwhile()

    @property
    def _first_id(self) -> int:
        return (*self._shown.ids, self._turn.question_id)[self._first]

    def _save_meanwhile(self) -> None:
        try:
            self._save()
        except SQLAlchemyError:  # it may be back when the answer ends
            log.exception("the answer %d could not be kept yet", self._turn.answer_id)
            self._saved_at = time.monotonic()

    def _save(self) -> None:
        # An UPDATE, not an object: the conversation may have been deleted meanwhile, and then there is nothing to do.
        statement = update(Message).where(Message.id == self._turn.answer_id)
        values = {"content": storable("".join(self._pieces)), "state": self._state, "first_id": self._first_id}
        with self._tools.database.begin() as session:
            session.execute(statement.values(**values, **columns_of(self._reader.figures)))
        self._saved_at = time.monotonic()

    def _record(self) -> None:
        turn, text = self._turn, "".join(self._pieces)
        facts = (self._asker, turn.conversation_id, turn.answer_id, turn.question, text, self._state)
        reason = self._refusal.code if self._refusal else ""
        self._tools.records.ended(Ended(*facts, self._counted(), self._reader.model, self._asked, reason))

    def _counted(self) -> dict[str, float]:
        """Return the figures, with about so many tokens where the server did not tell: it does at the end alone."""
        if not self._is_told:
            return {}
        # A piece is a token, or a few.
        about = {"prompt_tokens": self._prompt_bytes // BYTES_PER_TOKEN, "answer_tokens": len(self._pieces)}
        return {**about, **self._reader.figures}
