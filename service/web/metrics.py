"""A handful of counters in Prometheus' text format, added up over all worker processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from service.web.board import Board

HELP = {
    "ferry_web_chats_total": ("counter", "Questions and completions by how they ended."),
    "ferry_web_logins_total": ("counter", "Attempts to log in by how they ended."),
    "ferry_web_streams": ("gauge", "Answers that are being streamed now."),
    "ferry_web_workers": ("gauge", "Processes that serve."),
    "ferry_web_memory_bytes": ("gauge", "Memory that they have in use."),
    "ferry_web_engine_ready": ("gauge", "1 when the engine can answer."),
}
PROCESS = "process"  # under this name each worker leaves its process id
_shared: tuple[Board, int] | None = None


def share(board: Board, region: int) -> None:
    """Make this process count on a board that it shares; to be called before its Metrics are made."""
    global _shared
    _shared = (board, region)


def is_momentary(name: str) -> bool:
    """Tell what ends with the process that counted it."""
    return name == PROCESS or HELP.get(name.partition("{")[0], ("",))[0] == "gauge"


class Metrics:
    """The counters of this process, and those of its siblings to read."""

    def __init__(self) -> None:
        self._board, region = _shared or (Board(1), 0)
        self._page = self._board.page(region)
        self._page.put(PROCESS, os.getpid())
        self._lock = threading.Lock()

    def add(self, name: str, labels: str = "", by: int = 1) -> None:
        """Change a value; `labels` are as they stand between the braces."""
        with self._lock:
            self._page.add(f"{name}{{{labels}}}" if labels else name, by)

    def values(self) -> dict[str, int]:
        """Return every value of all workers, by its name with its labels."""
        processes = [process for process in self._board.values(PROCESS) if process]
        memory = sum(map(_memory_bytes, processes))
        found = {name: value for name, value in self._board.sums().items() if name != PROCESS}
        return {**found, "ferry_web_workers": len(processes), "ferry_web_memory_bytes": memory}

    def render(self, **gauges: int) -> str:
        """Return the text, with the values of some gauges that are only known when asked."""
        values = {**self.values(), **gauges}
        lines = []
        for name, (kind, words) in HELP.items():
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
            lines += [f"{known} {values[known]}" for known in sorted(values) if known.partition("{")[0] == name]
        return "\n".join(lines) + "\n"


def _memory_bytes(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
