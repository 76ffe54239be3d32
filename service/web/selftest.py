"""Ask the running service one question, the way a client would: HTTP to the web tier, a key of its own, streamed.

In: the settings, a key, a prompt. Out: what came, piece by piece through a callback, and the whole at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from service.config import Web
from service.web import sse, tls
from service.web.errors import AdminError
from service.web.sse import BrokenStream

PROMPT = "What is the capital of France?"
MAX_TOKENS = 64
TIMEOUT_S = 120
HINT = "look at the state and the log with: ferry status; journalctl -u ferry -u ferry-engine"


@dataclass(frozen=True)
class Result:
    answer: str
    chunks: int
    seconds: float

    @property
    def is_ok(self) -> bool:
        return bool(self.answer.strip())


def url_of(web: Web) -> str:
    """Return the address that this machine itself reaches the service by."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)
    scheme = "https" if web.tls_certificate else "http"
    return f"{scheme}://[{host}]:{web.port}" if ":" in host else f"{scheme}://{host}:{web.port}"


def client(web: Web) -> httpx.Client:
    """Return a client for this machine's own service: no proxy from the environment, no certificate but ours.

    Raises: ConfigError where that cannot be read.
    """
    verify = tls.own_context(web) if web.tls_certificate else True
    return httpx.Client(base_url=url_of(web), timeout=TIMEOUT_S, trust_env=False, verify=verify)


def ask(web: Web, key: str, prompt: str, on_piece: Callable[[str], None]) -> Result:
    """Stream one answer. Raises: AdminError when the service is away, refuses, or breaks off."""
    start = time.monotonic()
    body = {"model": "default", "messages": [{"role": "user", "content": prompt}], "stream": True}
    pieces = []
    try:
        with (
            client(web) as asking,
            asking.stream(
                "POST",
                "/v1/chat/completions",
                json={**body, "max_tokens": MAX_TOKENS, "temperature": 0},
                headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"},
            ) as response,
        ):
            for piece in _pieces(response):
                pieces.append(piece)
                on_piece(piece)
    except httpx.HTTPError as error:
        raise AdminError(f"{url_of(web)} does not answer: {error or type(error).__name__}", HINT) from error
    return Result("".join(pieces), len(pieces), round(time.monotonic() - start, 3))


def _pieces(response: httpx.Response) -> Iterator[str]:
    if response.status_code != 200:
        raise AdminError(f"the service answered with status {response.status_code}: {message_of(response)}", HINT)
    try:
        for event in sse.events(response.iter_raw()):
            if "error" in event:
                raise AdminError(f"the answer broke off: {event['error'].get('message', '')}", HINT)
            yield from _text(event)
    except BrokenStream as error:
        raise AdminError(str(error), HINT) from error


def _text(event: dict[str, Any]) -> Iterator[str]:
    for choice in event.get("choices", ()):
        if text := choice.get("delta", {}).get("content"):
            yield text


def message_of(response: httpx.Response) -> str:
    """Return what a refusal says."""
    try:
        return str(json.loads(response.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
