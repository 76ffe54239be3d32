"""A handful of counters in Prometheus' text format, for one worker process."""

from __future__ import annotations

import threading
from collections import Counter

HELP = {
    "ferry_web_chats_total": ("counter", "Questions and completions by how they ended."),
    "ferry_web_logins_total": ("counter", "Attempts to log in by how they ended."),
    "ferry_web_streams": ("gauge", "Answers that are being streamed now."),
    "ferry_web_engine_ready": ("gauge", "1 when the engine can answer."),
}


class Metrics:
    def __init__(self) -> None:
        self._values: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, labels: str = "", by: int = 1) -> None:
        """Change a value; `labels` are as they stand between the braces."""
        with self._lock:
            self._values[name, labels] += by

    def render(self, **gauges: int) -> str:
        """Return the text, with the values of some gauges that are only known when asked."""
        with self._lock:
            values = dict(self._values)
        values.update({(name, ""): value for name, value in gauges.items()})
        lines = []
        for name, (kind, words) in HELP.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
            found = sorted((labels, value) for (known, labels), value in values.items() if known == name)
            lines += [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in found]
        return "\n".join(lines) + "\n"
