"""What is recorded of an answer once it has ended, however it ended. The one place: audit log, counters, usage.

Called by the thread that made the answer, outside of any request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from service.web.audit import Audit
from service.web.metrics import Metrics
from service.web.usage import Usage


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
    """An answer that has ended. `figures` are what the engine told, `tokens` prompt and answer, or about so many."""

    asker: Asker
    conversation_id: str
    answer_id: int
    question: str
    answer: str
    state: str
    tokens: int = 0
    figures: dict[str, float] = field(default_factory=dict)


class Records:
    """Keeps account of the answers of this process."""

    def __init__(self, audit: Audit, metrics: Metrics, usage: Usage) -> None:
        self._audit = audit
        self._metrics = metrics
        self._usage = usage

    def begun(self) -> None:
        self._metrics.add("ferry_web_streams")

    def ended(self, ended: Ended) -> None:
        """Record an answer. The state "refused" is that of one never begun: the engine did not take the question."""
        self._metrics.add("ferry_web_streams", by=-1)
        if ended.state == "refused":
            return
        self._metrics.add("ferry_web_chats_total", f'outcome="{ended.state}"')
        self._usage.charge(ended.asker, ended.tokens)
        self._audit.write_late("chat", user=ended.asker.name, address=ended.asker.address, outcome=ended.state)
