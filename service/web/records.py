"""What is recorded of an answer once it has ended, however it ended. The one place: audit log, counters, usage.

Called by the thread that made the answer, outside of any request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.web.audit import Audit, AuditUnavailable
from service.web.metrics import Metrics
from service.web.recording import shown, why
from service.web.refusals import unaudited
from service.web.usage import Usage

FIGURES = ("prompt_tokens", "cached_tokens", "answer_tokens")


@dataclass(frozen=True)
class Asker:
    """Who asks, and from where."""

    user_id: int
    name: str
    quota_id: str
    address: str = ""
    key_id: None = None  # on the page nobody asks with a key


@dataclass(frozen=True)
class Ended:
    """An answer that has ended. `figures` are what the engine told, and about so many tokens where it did not tell."""

    asker: Asker
    conversation_id: str
    answer_id: int
    question: str
    answer: str
    state: str
    figures: dict[str, float] = field(default_factory=dict)
    model: str = ""
    asked: int = 0  # the line of the audit log that has the question
    reason: str = ""  # the code of what refused it

    @property
    def tokens(self) -> int:
        """What prompt and answer took together."""
        return int(self.figures.get("prompt_tokens", 0) + self.figures.get("answer_tokens", 0))


class Records:
    """Keeps account of the answers of this process."""

    def __init__(self, audit: Audit, metrics: Metrics, usage: Usage) -> None:
        self._audit = audit
        self._metrics = metrics
        self._usage = usage

    def begun(self) -> None:
        self._metrics.add("ferry_web_streams")

    def asked(self, asker: Asker, conversation_id: str, question: str) -> int:
        """Record a question before the model is asked. Returns: the number of its line. Raises: Refusal 503."""
        texts = shown(self._audit.content, "question", question)
        facts = {"user": asker.name, "address": asker.address, "conversation": conversation_id}
        try:
            return self._audit.write("question", **facts, **texts)
        except AuditUnavailable as error:
            raise unaudited() from error

    def ended(self, ended: Ended) -> None:
        """Record an answer. The state "refused" is that of one never begun: the engine did not take the question."""
        self._metrics.add("ferry_web_streams", by=-1)
        self._record(ended)
        if ended.state == "refused":
            return
        self._metrics.add("ferry_web_chats_total", f'outcome="{ended.state}"')
        self._usage.charge(ended.asker, ended.tokens)

    def _record(self, ended: Ended) -> None:
        if not ended.asked and self._audit.is_enabled:
            return  # it could not be recorded, and so was not asked
        figures = {name: ended.figures[name] for name in FIGURES if name in ended.figures}
        facts: dict[str, Any] = {
            "conversation": ended.conversation_id,
            "model": ended.model,
            "outcome": ended.state,
            **figures,
            **why(ended.reason),
        }
        texts = shown(self._audit.content, "answer", ended.answer)
        who = {"user": ended.asker.name, "address": ended.asker.address}
        self._audit.write_late("chat", **who, **facts, asked=ended.asked, **texts)
