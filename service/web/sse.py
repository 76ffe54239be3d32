"""Server-sent events as chat servers use them: the bytes of a body come in, the JSON of its events goes out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

DONE = b"[DONE]"


class BrokenStream(Exception):
    """The body ended before [DONE], or held something that is no JSON object."""


def events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield each event up to [DONE]. Raises: BrokenStream."""
    for line in lines(chunks):
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == DONE:
            return
        yield json_object(data)
    raise BrokenStream("the answer broke off before its end")


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split at newlines only. httpx's iter_lines splits at U+2028 too, which JSON may contain as it is."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def json_object(data: bytes) -> dict[str, Any]:
    """Parse one object. Raises: BrokenStream."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BrokenStream("the answer is not JSON") from error
    if not isinstance(value, dict):
        raise BrokenStream("the answer is JSON, but no object")
    return value
