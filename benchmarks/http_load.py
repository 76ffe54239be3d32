"""Many clients of one engine at once, over HTTP: a request comes in, what its client saw and when comes out."""

import asyncio
import json
import ssl
import time
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from tests.engine_process import EngineProcess

PATIENCE_S = 600


@dataclass
class Seen:
    """What one client saw; seconds since the beginning of the run, None for what never happened."""

    user: str
    asked_s: float
    status: int = 0
    first_s: float | None = None
    ended_s: float | None = None
    pieces: int = 0
    is_whole: bool = False
    is_cancelled: bool = False
    error: str = ""
    text: str = ""

    @property
    def seconds(self) -> float:
        """How long it took from the question to the end, whatever the end was."""
        return (self.ended_s or 0.0) - self.asked_s

    def row(self) -> dict[str, Any]:
        """Return it as it is recorded: without the text."""
        found = {name: value for name, value in asdict(self).items() if name != "text"}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


class Load:
    """Clients of one engine; each request has a connection of its own, and no pool.

    A pool loses a connection whose client vanishes while it is made, and leaves it open to the engine for good.
    """

    def __init__(self, engine: EngineProcess) -> None:
        self._socket = str(engine.socket)
        # Nothing is encrypted; httpx would make one of these for each client, at 40 ms.
        self._context = ssl.create_default_context()
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    async def ask(
        self, user: str, prompt: str, tokens: int, gone_after_s: float | None = None, gone_after_pieces: int = 0
    ) -> Seen:
        """Stream an answer to its end, or vanish after some seconds or pieces of text."""
        seen = Seen(user, self.now())
        body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0}
        async with self._client() as http:
            try:
                asked = {"model": "default", "stream": True, **body}
                await asyncio.wait_for(self._stream(http, seen, asked, gone_after_pieces), gone_after_s)
            except TimeoutError:
                seen.is_cancelled = not seen.is_whole
            except httpx.HTTPError as error:
                seen.error = f"{type(error).__name__}: {error}"
        seen.ended_s = self.now()
        return seen

    def _client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=self._socket, verify=self._context)
        return httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=PATIENCE_S, trust_env=False)

    async def _stream(self, http: httpx.AsyncClient, seen: Seen, body: dict[str, Any], gone_after_pieces: int) -> None:
        headers = {"X-Ferry-User": seen.user}
        async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            seen.status = response.status_code
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    seen.is_whole = True
                elif line.startswith("data: ") and (text := _text(json.loads(line.removeprefix("data: ")))):
                    seen.first_s = self.now() if seen.first_s is None else seen.first_s
                    seen.pieces += 1
                    seen.text += text
                    if seen.pieces == gone_after_pieces:
                        raise TimeoutError

    async def metrics(self) -> str:
        """Return what the engine counts."""
        async with self._client() as http:
            return (await http.get("/metrics")).text


def _text(chunk: dict[str, Any]) -> str:
    return "".join(choice.get("delta", {}).get("content") or "" for choice in chunk.get("choices", ()))
