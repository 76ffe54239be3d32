"""OpenAI's requests: the bytes of a body come in, a frozen `ChatRequest` or `CompletionRequest` goes out.

Whatever is not as the API has it is refused here with the parameter's name, before anything is tokenised or queued.
A parameter that this engine does not have is refused unless it asks for nothing. Parameters that no sampling depends
on (`user`, `metadata`, …) are passed over.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from service.engine.errors import RequestError, invalid

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MAX_STOPS = 16
# Values that ask for nothing, by parameter: anything else would be silently ignored, so it is refused.
_INERT: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "min_p": (0,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Options:
    """How the answer is to be made; None where the request is silent."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None


@dataclass(frozen=True)
class ChatRequest:
    model: str
    messages: tuple[Message, ...]
    options: Options


@dataclass(frozen=True)
class CompletionRequest:
    model: str
    prompt: str
    options: Options


def parse_chat(body: bytes) -> ChatRequest:
    """Read the body of /v1/chat/completions. Raises: RequestError."""
    fields = _object(body)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: a list with at least one message is needed", "messages")
    parsed = tuple(_message(message, f"messages[{index}]") for index, message in enumerate(messages))
    return ChatRequest(_model(fields), parsed, _options(fields))


def parse_completion(body: bytes) -> CompletionRequest:
    """Read the body of /v1/completions. Raises: RequestError."""
    fields = _object(body)
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise invalid("prompt: one text that is not empty is needed", "prompt")
    return CompletionRequest(_model(fields), _text(prompt, "prompt"), _options(fields))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise invalid("the body is not a JSON object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _model(fields: Mapping[str, Any]) -> str:
    return _typed(fields, "model", str, "a text") or "default"


def _message(message: object, where: str) -> Message:
    if not isinstance(message, dict):
        raise invalid(f"{where}: an object with role and content is needed", where)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid(f"{where}.role: allowed: {', '.join(ROLES)}", f"{where}.role")
    return Message(ROLES[role], _content(message.get("content"), f"{where}.content"))


def _content(content: object, where: str) -> str:
    """A text, or a list of text parts; what else the API knows (images, audio) this engine does not."""
    if isinstance(content, str):
        return _text(content, where)
    if isinstance(content, list) and content:
        return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))
    raise invalid(f"{where}: a text or a list of text parts is needed", where)


def _part(part: object, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return _text(part["text"], where)
    raise invalid(f'{where}: only parts of type "text" are possible with this model', where)


def _text(text: str, where: str) -> str:
    # JSON can spell half of a surrogate pair, which no UTF-8 and so no tokenizer can.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid(f"{where}: holds half of a surrogate pair", where)
    return text


def _options(fields: Mapping[str, Any]) -> Options:
    _refuse_unsupported(fields)
    stream = _typed(fields, "stream", bool, "true or false") or False
    return Options(
        temperature=_number(fields, "temperature", 0, 2),
        top_p=_number(fields, "top_p", 0, 1, above=True),
        top_k=_whole(fields, "top_k", -1, 1_000_000),
        repetition_penalty=_number(fields, "repetition_penalty", 0, 10, above=True),
        seed=_whole(fields, "seed", -(2**63), 2**63 - 1),
        max_tokens=_max_tokens(fields),
        stop=_stop(fields.get("stop")),
        stream=stream,
        include_usage=_include_usage(fields, stream),
    )


def _refuse_unsupported(fields: Mapping[str, Any]) -> None:
    for name, inert in _INERT.items():
        value = fields.get(name)
        if value is not None and not any(value == other for other in inert):
            allowed = ", ".join(json.dumps(other) for other in inert)
            raise invalid(f"{name}: not available in this release; allowed: {allowed}", name, "unsupported_parameter")


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    newer = _whole(fields, "max_completion_tokens", 1, 2**31)
    older = _whole(fields, "max_tokens", 1, 2**31)
    return older if newer is None else newer


def _include_usage(fields: Mapping[str, Any], stream: bool) -> bool:
    options = _typed(fields, "stream_options", dict, "an object") or {}
    if options and not stream:
        raise invalid("stream_options: only with stream = true", "stream_options")
    return _typed(options, "include_usage", bool, "true or false") or False


def _stop(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or len(texts) > MAX_STOPS:
        raise invalid(f"stop: a text or a list of at most {MAX_STOPS} texts is needed", "stop")
    if not all(isinstance(text, str) and text for text in texts):
        raise invalid("stop: every stop text is a text that is not empty", "stop")
    return tuple(_text(text, "stop") for text in texts)


def _typed(fields: Mapping[str, Any], name: str, kind: type, words: str) -> Any:
    value = fields.get(name)
    if value is not None and type(value) is not kind:
        raise invalid(f"{name}: {words} is needed", name)
    return value


def _number(fields: Mapping[str, Any], name: str, low: float, high: float, above: bool = False) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not (low < value if above else low <= value) or value > high:
        raise _out_of_range(name, "a number", f"{'above' if above else 'from'} {low} to {high}")
    return float(value)


def _whole(fields: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise _out_of_range(name, "a whole number", f"from {low} to {high}")
    return value


def _out_of_range(name: str, kind: str, limits: str) -> RequestError:
    return invalid(f"{name}: {kind} {limits} is needed", name)
