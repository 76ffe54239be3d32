"""An answer's events for one who follows it: from the process that writes it, and from the database once it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from service.web import conversations
from service.web.branches import pairs_of
from service.web.database import Database
from service.web.events import figures_of, has_end, line_of, start_of
from service.web.followers import FarFollower, Follower
from service.web.models import Conversation, Message

log = logging.getLogger(__name__)


class Following:
    """Iterate `lines` once, then `close` it, in any case. Nothing happens to the answer by either."""

    def __init__(self, database: Database, answer_id: int, running: Follower | FarFollower | None) -> None:
        """`running` is None when the answer is over."""
        self._database = database
        self._answer_id = answer_id
        self._running = running

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines: a start, what there is to tell while it waits, the pieces of text, and an end."""
        if self._running is not None:
            for chunk in self._running.chunks():
                yield chunk
                if has_end(chunk):
                    return
        # Over; or its writer was killed, or could not write its last line.
        events = self._saved()
        yield b"".join(map(line_of, events[-1:] if self._running else events))

    def close(self) -> None:
        if self._running is not None:
            self._running.close()

    def _saved(self) -> list[dict[str, Any]]:
        try:
            return self._read()
        except SQLAlchemyError:
            log.exception("the answer %d cannot be read", self._answer_id)
            return [{"type": "end", "state": "failed", "message": "The database cannot be used now."}]

    def _read(self) -> list[dict[str, Any]]:
        with self._database.begin() as session:
            answer = session.get(Message, self._answer_id)
            if answer is None:  # its conversation was deleted
                return [{"type": "end", "state": "stopped", "figures": {}}]
            conversation = session.get_one(Conversation, answer.conversation_id)
            pairs = pairs_of(conversations.tree_of(session, conversation).path(answer.id))
        is_whole = not pairs or answer.first_id == pairs[0].question_id
        start = start_of(answer.parent_id, answer.id, conversation.title, None if is_whole else answer.first_id)
        text = [{"type": "text", "text": answer.content}] if answer.content else []
        return [start, *text, {"type": "end", "state": answer.state, "figures": figures_of(answer)}]
