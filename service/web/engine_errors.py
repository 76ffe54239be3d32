"""What an engine's error answer means to our client. Pure: a status and a body come in, a Refusal goes out.

Our own engine speaks OpenAI's error object. vLLM, llama-server and what stands in front of them have shapes, codes and
words of their own; here they become the few codes that the page and OpenAI's clients know.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from service.web.errors import Refusal

log = logging.getLogger(__name__)
CONTEXT = "context_length_exceeded"
# vLLM: "maximum context length is 2048 tokens", "longer than the maximum model length"; llama-server: "exceeds the
# available context size", and a type of its own.
CONTEXT_WORDS = re.compile(r"context (?:length|size|window)|maximum model length", re.IGNORECASE)
# Between us and the engine; to our client they are a bad gateway.
PASSED_ON = frozenset({400, 404, 413, 422, 429, 503})
CODES = {404: "model_not_found", 429: "busy", 503: "engine_away"}
MAX_WORDS = 1000


def refusal_of(status: int, body: bytes, retry_after: str | None) -> Refusal:
    """Turn an error answer into ours, with its words where it has some."""
    error = error_of(body)
    if status in (401, 403):
        log.error("the engine refuses the key of [engine] api_key_file: status %d", status)
        return Refusal(502, "engine_refused", "The model's server does not accept this service's key.")
    # 502 and 504 are a proxy's words for an engine that is away.
    answered = status if status in PASSED_ON else 503 if status in (502, 504) else 502
    retry_after = retry_after or ("5" if answered == 503 else None)
    message = words_of(error) or f"The engine answered with status {status}."
    param = error.get("param") if isinstance(error.get("param"), str) else None
    return Refusal(answered, _code(error, answered, message), message, param=param, retry_after=retry_after)


def error_of(body: bytes) -> dict[str, Any]:
    """Find the error object of a body: under "error", or the body itself; {} in one that is no JSON object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return inner_error(found) if isinstance(found, dict) else {}


def inner_error(found: dict[str, Any]) -> dict[str, Any]:
    error = found.get("error", found)
    return error if isinstance(error, dict) else {"message": error}


def words_of(error: dict[str, Any]) -> str:
    """Return what an error says: OpenAI and vLLM have a message, FastAPI a detail."""
    for name in ("message", "detail"):
        if isinstance(words := error.get(name), str) and words.strip():
            return words[:MAX_WORDS]
    return ""


def _code(error: dict[str, Any], status: int, message: str) -> str:
    code, kind = error.get("code"), error.get("type")
    if status in (400, 413, 422) and (
        code == CONTEXT or kind == "exceed_context_size_error" or CONTEXT_WORDS.search(message)
    ):
        return CONTEXT
    return code if isinstance(code, str) and code else CODES.get(status, "engine_error")
