"""The events of an answer as lines of JSON. Pure: events go in, lines come out, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from service.web.models import MAX_ID, Message

END = b'{"type": "end"'
FIGURES = ("prompt_tokens", "cached_tokens", "answer_tokens", "tokens_per_s")


def line_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


def start_of(question_id: int | None, answer_id: int, title: str, remembers_from: int | None) -> dict[str, Any]:
    """Return the first event; `remembers_from` is the first question that the model was shown, None for all of them."""
    ids = {"question_id": question_id, "answer_id": answer_id}
    return {"type": "start", **ids, "title": title, "remembers_from": remembers_from}


def has_end(lines: bytes) -> bool:
    """Tell whether the last of some whole lines is an answer's last event."""
    return lines.startswith(END, lines.rfind(b"\n", 0, -1) + 1)


def text_of(lines: bytes) -> str:
    """Return the text that some lines bring."""
    return storable("".join(event["text"] for event in _events(lines) if event.get("type") == "text"))


def left_by(spooled: bytes) -> tuple[int, str]:
    """Return which answer a process that was killed was writing, and how far it had come; 0 where there is none."""
    head, _, lines = spooled.partition(b"\n")
    return (int(head), text_of(lines)) if head.isdigit() else (0, "")


def figures_of(answer: Message) -> dict[str, float]:
    """Return the figures that are kept of an answer, as far as they are known."""
    found = {name: getattr(answer, name) for name in FIGURES}
    return {name: number for name, number in found.items() if number is not None}


def columns_of(figures: dict[str, float]) -> dict[str, float]:
    """Return an answer's figures as the database keeps them."""
    return {name: value if name == "tokens_per_s" else min(int(value), MAX_ID) for name, value in figures.items()}


def storable(text: str) -> str:
    """Replace what a database cannot hold: lone surrogates, and the zero byte that PostgreSQL refuses."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _events(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:  # the last one of a writer that was killed, or what a disk that lost power has left
            continue
        if isinstance(event, dict):
            yield event
