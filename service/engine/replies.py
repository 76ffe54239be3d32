"""OpenAI's replies: pieces of text, reasons and counts come in, the JSON objects of the API go out.

How they travel (one body, or server-sent events) is left to delivery.py; `event` and `comment` only frame one.
"""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.engine.choices import Choice, NumberedCall, Part
from service.engine.jobs import Ended, Finished, Timings, Usage
from service.engine.logprobs import chat_logprobs, plain_logprobs
from service.engine.messages import ToolCall


@dataclass(frozen=True)
class Reply:
    """The shape of one answer: a chat's or a plain completion's."""

    model: str
    is_chat: bool
    include_usage: bool = False
    has_tools: bool = False
    fingerprint: str = ""
    identity: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Choice], finished: Finished) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        body = self._head("chat.completion" if self.is_chat else "text_completion")
        rendered = [self._choice(choice, self._content(choice), choice.reason) for choice in choices]
        return {**body, "choices": rendered, **_counts(finished)}

    def opening(self, choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
        """The chunks that open a chat's stream: they only name the role."""
        if self.is_chat:
            content = None if self.has_tools else ""
            yield from (self._chunk(choice, {"delta": {"role": "assistant", "content": content}}) for choice in choices)

    def part(self, choice: Choice, part: Part) -> dict[str, Any]:
        """The chunk that carries a piece of text, a call or an end, and the logprobs that have come by then."""
        if isinstance(part, Ended):
            return self._chunk(choice, {"delta": {}} if self.is_chat else {"text": ""}, part.reason)
        if isinstance(part, NumberedCall):
            return self._chunk(choice, {"delta": {"tool_calls": [{"index": part.number, **_call(part.call)}]}})
        return self._chunk(choice, {"delta": {"content": part}} if self.is_chat else {"text": part})

    def closing(self, last: dict[str, Any], finished: Finished) -> list[dict[str, Any]]:
        """The last chunks, of which `last` tells the last end: the usage has one of its own, but only where asked for.

        llama-server's timings are in the very last.
        """
        counts = _counts(finished)
        if self.include_usage:
            return [last, {**self._head(self._chunk_kind), "choices": [], **counts}]
        return [{**last, "timings": counts["timings"]}]

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    def _chunk(self, choice: Choice, content: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
        chunk = {**self._head(self._chunk_kind), "choices": [self._choice(choice, content, reason)]}
        choice.told, choice.told_length = len(choice.logprobs), choice.length
        return {**chunk, "usage": None} if self.include_usage else chunk

    def _content(self, choice: Choice) -> dict[str, Any]:
        if not self.is_chat:
            return {"text": choice.text}
        calls = {"tool_calls": [_call(call) for call in choice.calls]} if choice.calls else {}
        text = None if calls and not choice.text else choice.text
        return {"message": {"role": "assistant", "content": text, "refusal": None, **calls}}

    def _choice(self, choice: Choice, content: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
        return {"index": choice.index, **content, "logprobs": self._logprobs(choice), "finish_reason": reason}

    def _logprobs(self, choice: Choice) -> dict[str, Any] | None:
        tokens = choice.logprobs[choice.told :]
        if not tokens:
            return None
        return chat_logprobs(tokens) if self.is_chat else plain_logprobs(tokens, choice.told_length)

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        head = {"id": f"{prefix}-{self.identity}", "object": kind, "created": self.created, "model": self.model}
        return {**head, "system_fingerprint": self.fingerprint}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _counts(finished: Finished) -> dict[str, Any]:
    return {"usage": render_usage(finished.usage), "timings": render_timings(finished.timings)}


def render_usage(usage: Usage) -> dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/chat/object#chat/object-usage."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def render_timings(timings: Timings) -> dict[str, Any]:
    """llama-server's object: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md."""
    read, written = timings.prompt_tokens_processed, timings.predicted_tokens
    return {
        "cache_n": timings.cached_tokens,
        "prompt_n": read,
        "prompt_ms": _ms(timings.prompt_s),
        "prompt_per_token_ms": _ms(_ratio(timings.prompt_s, read)),
        "prompt_per_second": round(_ratio(read, timings.prompt_s), 3),
        "predicted_n": written,
        "predicted_ms": _ms(timings.predicted_s),
        "predicted_per_token_ms": _ms(_ratio(timings.predicted_s, written)),
        "predicted_per_second": round(_ratio(written, timings.predicted_s), 3),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _ratio(over: float, under: float) -> float:
    return over / under if under else 0.0


def event(data: Mapping[str, Any] | str) -> bytes:
    """Frame one server-sent event; JSON keeps line ends out of the data."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def comment(word: str, data: Mapping[str, Any]) -> bytes:
    """Frame what only those read who look for it: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    return f": {word} {json.dumps(data)}\n\n".encode()
