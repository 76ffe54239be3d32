"""OpenAI's replies: a piece of text, a reason and counts come in, the JSON objects of the API go out.

How they travel (one body, or server-sent events) is left to app.py; `event` only frames one.
"""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.engine.jobs import Usage


@dataclass(frozen=True)
class Reply:
    """The shape of one answer: a chat's or a plain completion's."""

    model: str
    is_chat: bool
    include_usage: bool = False
    identity: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, reason: str, usage: Usage) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        kind = "chat.completion" if self.is_chat else "text_completion"
        content = (
            {"message": {"role": "assistant", "content": text, "refusal": None}} if self.is_chat else {"text": text}
        )
        return {**self._head(kind), "choices": [_choice(content, reason)], "usage": _counts(usage)}

    def first(self) -> dict[str, Any] | None:
        """The chunk that opens a chat's stream and only names the role."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}) if self.is_chat else None

    def piece(self, text: str) -> dict[str, Any]:
        """The chunk that carries one decoded piece."""
        return self._chunk({"delta": {"content": text}} if self.is_chat else {"text": text})

    def last(self, reason: str) -> dict[str, Any]:
        """The chunk that says why the answer ended."""
        return self._chunk({"delta": {}} if self.is_chat else {"text": ""}, reason)

    def counts(self, usage: Usage) -> dict[str, Any]:
        """The chunk without choices that `stream_options.include_usage` asks for."""
        return {**self._head(self._chunk_kind), "choices": [], "usage": _counts(usage)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    def _chunk(self, content: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
        chunk = {**self._head(self._chunk_kind), "choices": [_choice(content, reason)]}
        return {**chunk, "usage": None} if self.include_usage else chunk

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        return {"id": f"{prefix}-{self.identity}", "object": kind, "created": self.created, "model": self.model}


def _choice(content: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, **content, "logprobs": None, "finish_reason": reason}


def _counts(usage: Usage) -> dict[str, Any]:
    total = usage.prompt_tokens + usage.completion_tokens
    counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    return {**counts, "total_tokens": total, "prompt_tokens_details": {"cached_tokens": usage.cached_tokens}}


def event(data: Mapping[str, Any] | str) -> bytes:
    """Frame one server-sent event; JSON keeps line ends out of the data."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()
