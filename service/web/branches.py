"""A conversation as a tree: which messages stand above one, and which are shown below. Pure: ids go in and come out.

A question's parent is the answer before it, an answer's parent is its question. A parent is older than its children, so
its id is smaller; what says otherwise is not followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """A message without its text. Of an answer: the first question it was shown, and what it and its prompt took."""

    id: int
    parent_id: int | None
    role: str
    has_text: bool
    first_id: int | None = None
    tokens: int = 0


@dataclass(frozen=True)
class Pair:
    """A question and the answer it got."""

    question_id: int
    answer: Node


class Tree:
    """The messages of one conversation."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._newest: dict[int, int] = {}
        for node in self._nodes.values():
            if node.parent_id is not None and node.parent_id < node.id:
                self._newest[node.parent_id] = max(node.id, self._newest.get(node.parent_id, 0))

    def get(self, message_id: int | None) -> Node | None:
        return None if message_id is None else self._nodes.get(message_id)

    def path(self, message_id: int | None) -> list[Node]:
        """Return the messages from the first one down to this one."""
        path = []
        node = self.get(message_id)
        while node is not None:
            path.append(node)
            above = self.get(node.parent_id)
            node = above if above is not None and above.id < node.id else None
        return path[::-1]

    def leaf_below(self, message_id: int) -> int:
        """Return the end of the branch that goes on below: everywhere the newest."""
        while (below := self._newest.get(message_id)) is not None:
            message_id = below
        return message_id


def pairs_of(path: Sequence[Node]) -> list[Pair]:
    """Pair questions with answers. A question that never got a word of an answer is left out."""
    pairs = []
    question = None
    for node in path:
        if node.role == "user":
            question = node
        elif question is not None and node.has_text:
            pairs.append(Pair(question.id, node))
            question = None
    return pairs
