"""A server under the conformance scenarios: what they ask it goes in, its answers and its streams' chunks come out.

Nothing here knows whose server it is: only OpenAI's interface over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

QUESTION = "What is the capital of France?"
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Switch a light on or off.",
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}, "room": {"enum": ["kitchen", "hall"]}},
            "required": ["on", "room"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Target:
    """One server: where it is, its key if it has any, the model that it serves, and how long an answer may take."""

    name: str
    root: str
    key: str
    model: str
    socket: str | None = None
    patience_s: float = 120

    def client(self, **headers: str) -> httpx.Client:
        """A client with connections of its own."""
        # Reading the certificates takes longer than most scenarios.
        transport = httpx.HTTPTransport(uds=self.socket, verify=self.root.startswith("https:"))
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(transport=transport, base_url=self.root, headers=headers | key, timeout=self.patience_s)

    def get(self, path: str) -> httpx.Response:
        with self.client() as client:
            return client.get(path)

    def send(self, content: bytes, path: str = CHAT, **headers: str) -> httpx.Response:
        """Post bytes, as they are."""
        with self.client() as client:
            return client.post(path, content=content, headers={"Content-Type": "application/json"} | headers)

    def ask(self, body: dict[str, Any], path: str = CHAT) -> httpx.Response:
        return self.send(json.dumps(body).encode(), path)

    def body(self, path: str = CHAT, **options: Any) -> dict[str, Any]:
        """A request for a short answer that is always the same, with options."""
        asked = {"messages": [{"role": "user", "content": QUESTION}]} if path == CHAT else {"prompt": QUESTION}
        return {"model": self.model, **asked, "max_tokens": 8, "temperature": 0, **options}

    def answer(self, path: str = CHAT, **options: Any) -> dict[str, Any]:
        """Ask for a whole answer, which has to come."""
        response = self.ask(self.body(path, **options), path)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def text(self, path: str = CHAT, **options: Any) -> str:
        return text_of(self.answer(path, **options)["choices"][0])

    def refusal(self, status: int, path: str = CHAT, **options: Any) -> dict[str, Any]:
        """Ask for what has to be refused with this status and OpenAI's error object, which is returned."""
        return error_of(self.ask(self.body(path, **options), path), status)

    @contextmanager
    def streaming(self, path: str = CHAT, **options: Any) -> Iterator[tuple[httpx.Response, Iterator[dict[str, Any]]]]:
        """Begin a stream; leaving the block hangs up."""
        body = self.body(path, stream=True, **options)
        with self.client() as client, client.stream("POST", path, json=body) as response:
            yield response, chunks_of(response)

    def chunks(self, path: str = CHAT, **options: Any) -> list[dict[str, Any]]:
        """Read a stream to its end mark."""
        with self.streaming(path, **options) as (response, chunks):
            assert response.status_code == 200, response.read()
            return list(chunks)


def chunks_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Read server-sent events of OpenAI's kind: comments are passed over, and the end mark has to come last."""
    is_ended = False
    for line in response.iter_lines():
        if not line or line.startswith(":"):
            continue
        assert line.startswith("data: ") and not is_ended, line
        data = line.removeprefix("data: ")
        is_ended = data == "[DONE]"
        if not is_ended:
            yield json.loads(data)
    assert is_ended, "the stream ended without its mark"


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice, whole or a chunk's, of a chat or of a plain completion."""
    if "text" in choice:
        return str(choice["text"])
    return str((choice.get("message") or choice.get("delta") or {}).get("content") or "")


def choices_of(chunks: list[dict[str, Any]], index: int = 0) -> list[dict[str, Any]]:
    return [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]


def joined(chunks: list[dict[str, Any]], index: int = 0) -> str:
    return "".join(map(text_of, choices_of(chunks, index)))


def reason_of(chunks: list[dict[str, Any]], index: int = 0) -> str:
    """The one reason that a stream gives for the end of a choice."""
    (reason,) = [choice["finish_reason"] for choice in choices_of(chunks, index) if choice["finish_reason"]]
    return str(reason)


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/json")
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and isinstance(error["message"], str) and isinstance(error["type"], str)
    return error
