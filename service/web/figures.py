"""What an answer cost, for whoever wants to know. Pure: a server's usage and timings come in, a few numbers go out.

Usage is OpenAI's, timings are llama-server's. Servers leave out what they like; so does the result.
"""

from __future__ import annotations

from typing import Any


def figures(usage: object, timings: object, seconds: float) -> dict[str, float]:
    """Return prompt_tokens, cached_tokens, answer_tokens and tokens_per_s as far as they are known.

    `seconds` passed between the first piece of the answer and its end: for servers that do not tell their speed.
    """
    used, timed = _table(usage), _table(timings)
    answer = _number(used.get("completion_tokens"), timed.get("predicted_n"))
    speed = _number(timed.get("predicted_per_second"))
    if speed is None and answer and seconds > 0:
        speed = (answer - 1) / seconds
    cached = _number(_table(used.get("prompt_tokens_details")).get("cached_tokens"), timed.get("cache_n"))
    found = {"prompt_tokens": _number(used.get("prompt_tokens")), "cached_tokens": cached}
    found |= {"answer_tokens": answer, "tokens_per_s": round(speed, 1) if speed else None}
    return {name: number for name, number in found.items() if number is not None}


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(*values: object) -> float | None:
    """Return the first that is a number of something."""
    for value in values:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
            return value
    return None
