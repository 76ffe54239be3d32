"""What the model is shown of a conversation. Pure: messages go in, the request's messages come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    question: str
    answer: str


def compose(turns: Sequence[Turn], question: str) -> list[dict[str, str]]:
    """Return the request's messages: the turns, then the question."""
    messages = []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    messages.append({"role": "user", "content": question})
    return messages


def with_system_prompt(messages: list[dict[str, str]], prompt: str) -> list[dict[str, str]]:
    """Put the operator's prompt in front, unless the conversation brings instructions of its own."""
    if not prompt or any(message.get("role") in {"system", "developer"} for message in messages):
        return messages
    return [{"role": "system", "content": prompt}, *messages]


def first_kept(count: int, limit: int) -> int:
    """Return the index of the first of `count` turns that is shown, where at most `limit` are.

    It moves by half the limit at once: in between the messages only grow at their end, so that the engine finds what
    it has already computed.
    """
    step = (limit + 1) // 2
    return max(-(-(count - limit) // step), 0) * step


def halved(first: int, count: int) -> int:
    """Return the first turn to show when those from `first` on are too much: their older half goes, at least one."""
    return first + (count - first + 1) // 2
