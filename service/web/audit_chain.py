"""The lines of the audit log, each holding the SHA-256 over the one before. Pure: facts come in, bytes go out.

`prev` stands first, so that a reader finds it at the same place in every line: checking a line takes the line before it
and nothing else, and a file can be checked from any line on. `seq` counts the lines from 1, over all files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PREV = slice(9, 73)
SHAPE = re.compile(rb'\{"prev":"[0-9a-f]{64}","seq":([1-9][0-9]{0,17}),"')
# What some readers take for the end of a line, and what UTF-8 cannot hold.
UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
CURRENT = "audit.jsonl"
ROTATED = re.compile(r"audit-([0-9]{8})-([0-9]{12,})\.jsonl")


@dataclass(frozen=True)
class Head:
    """The end of a chain: the number of its last line, and the SHA-256 over that line, its newline included."""

    seq: int
    hash: str


START = Head(0, "0" * 64)


def render(head: Head, facts: Mapping[str, Any]) -> tuple[bytes, Head]:
    """Return the line that follows `head`, and the head that it makes."""
    text = json.dumps(dict(facts), ensure_ascii=False, separators=(",", ":"), default=str)
    text = UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    line = f'{{"prev":"{head.hash}","seq":{head.seq + 1},{text[1:]}\n'.encode()
    return line, Head(head.seq + 1, digest(line))


def digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def seq_of(line: bytes) -> int | None:
    """Return the number of a line, None for one that has not the form of a chained line."""
    found = SHAPE.match(line)
    return int(found[1]) if found else None


def follows(line: bytes, head: Head) -> bool:
    return line.endswith(b"\n") and seq_of(line) == head.seq + 1 and line[PREV] == head.hash.encode()


def take(data: bytes, head: Head) -> tuple[Head, int]:
    """Follow the chain through some bytes. Returns the head it comes to, and how many bytes belong to it."""
    used = 0
    for line in lines_of(data):
        if not follows(line, head):
            break
        head = Head(head.seq + 1, digest(line))
        used += len(line)
    return head, used


def lines_of(data: bytes) -> Iterator[bytes]:
    """Yield lines with their newlines; the last one may have none."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def rotated_name(day: str, first: int) -> str:
    """Return what a file is called when it is full: by the day it began, and the number of its first line."""
    return f"audit-{day}-{first:012d}.jsonl"
