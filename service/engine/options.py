"""How an answer is to be made: a request's fields come in, frozen `Options` go out.

A parameter that this engine does not have is refused unless it asks for nothing. Parameters that no sampling depends
on (`user`, `metadata`, …) are passed over.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.engine.errors import invalid
from service.engine.fields import flag, is_number, number, typed, unsupported, wanted, whole, whole_text
from service.engine.grammar import GrammarSpec

MAX_STOPS = 16
MAX_CHOICES = 16
MAX_BIASES = 1024
MAX_TOP_LOGPROBS = 20
# OpenAI's own limit for plain completions.
MAX_TOP_LOGPROBS_PLAIN = 5
# The names that OpenAI allows for schemas and functions.
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# What OpenAI, vLLM and llama-server know beyond this engine, and the values that ask for nothing.
_INERT: dict[str, tuple[object, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "typical_p": (1,),
    "mirostat": (0,),
    "grammar": ("",),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "prompt_logprobs": (),
}
_INSTEAD = {"functions": "tools", "function_call": "tool_choice"}


@dataclass(frozen=True)
class Options:
    """How the answer is to be made; None where the request is silent.

    `top_logprobs` is None where no logprobs are wanted; 0 asks for those of the chosen tokens alone.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    top_logprobs: int | None = None
    grammar: GrammarSpec | None = None
    stream: bool = False
    include_usage: bool = False


def read_options(fields: Mapping[str, Any], is_chat: bool) -> Options:
    """Read what chats and plain completions have in common. Raises: RequestError."""
    _refuse_unsupported(fields)
    stream = flag(fields, "stream")
    return Options(
        temperature=number(fields, "temperature", 0, 2),
        top_p=number(fields, "top_p", 0, 1, above=True),
        top_k=whole(fields, "top_k", -1, 1_000_000),
        min_p=number(fields, "min_p", 0, 1),
        repetition_penalty=number(fields, "repetition_penalty", 0, 10, above=True),
        presence_penalty=number(fields, "presence_penalty", -2, 2),
        frequency_penalty=number(fields, "frequency_penalty", -2, 2),
        logit_bias=_logit_bias(fields),
        seed=whole(fields, "seed", -(2**63), 2**63 - 1),
        max_tokens=_max_tokens(fields),
        stop=_stop(fields.get("stop")),
        n=whole(fields, "n", 1, MAX_CHOICES) or 1,
        top_logprobs=_chat_logprobs(fields) if is_chat else whole(fields, "logprobs", 0, MAX_TOP_LOGPROBS_PLAIN),
        grammar=_response_format(fields),
        stream=stream,
        include_usage=_include_usage(fields, stream),
    )


def _refuse_unsupported(fields: Mapping[str, Any]) -> None:
    for name, inert in _INERT.items():
        value = fields.get(name)
        if value is None or any(_is_same(value, other) for other in inert):
            continue
        if name in _INSTEAD:
            message = f"{name}: is no longer a part of this interface; use {_INSTEAD[name]}"
            raise invalid(message, name, "unsupported_parameter")
        raise unsupported(name, ", ".join(["null", *(json.dumps(other) for other in inert)]))


def _is_same(value: object, other: object) -> bool:
    # To Python True is 1 and False is 0: to the API they are not.
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _logit_bias(fields: Mapping[str, Any]) -> dict[int, float]:
    biases = typed(fields, "logit_bias", dict, "an object of token numbers and biases") or {}
    if len(biases) > MAX_BIASES:
        raise wanted("logit_bias", f"an object of at most {MAX_BIASES} biases")
    for token, bias in biases.items():
        if not re.fullmatch("[0-9]{1,9}", token) or not is_number(bias, -100, 100):
            raise wanted("logit_bias", "for every token number a bias from -100 to 100")
    return {int(token): float(bias) for token, bias in biases.items()}


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    newer = whole(fields, "max_completion_tokens", 1, 2**31)
    older = whole(fields, "max_tokens", 1, 2**31)
    return older if newer is None else newer


def _chat_logprobs(fields: Mapping[str, Any]) -> int | None:
    is_wanted = flag(fields, "logprobs")
    top = whole(fields, "top_logprobs", 0, MAX_TOP_LOGPROBS)
    if not is_wanted:
        if top:
            raise invalid("top_logprobs: only with logprobs = true", "top_logprobs")
        return None
    return top or 0


def _include_usage(fields: Mapping[str, Any], stream: bool) -> bool:
    options = typed(fields, "stream_options", dict, "an object") or {}
    if options and not stream:
        raise invalid("stream_options: only with stream = true", "stream_options")
    return flag(options, "include_usage", "stream_options.include_usage")


def _stop(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or len(texts) > MAX_STOPS:
        raise wanted("stop", f"a text or a list of at most {MAX_STOPS} texts")
    if not all(isinstance(text, str) and text for text in texts):
        raise wanted("stop", "a text or a list of texts that are not empty")
    return tuple(whole_text(text, "stop") for text in texts)


def _response_format(fields: Mapping[str, Any]) -> GrammarSpec | None:
    """https://platform.openai.com/docs/guides/structured-outputs."""
    wish = typed(fields, "response_format", dict, "an object with a type")
    if wish is None:
        return None
    kind = wish.get("type")
    if kind == "json_schema":
        return GrammarSpec("json_schema", _schema(wish))
    if kind not in ("text", "json_object"):
        raise wanted("response_format.type", "text, json_object or json_schema")
    return GrammarSpec("json_object", "") if kind == "json_object" else None


def _schema(wish: Mapping[str, Any]) -> str:
    where = "response_format.json_schema"
    described = wish.get("json_schema")
    if not isinstance(described, dict):
        raise wanted(where, "an object with name and schema")
    name = described.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise wanted(f"{where}.name", "a name of at most 64 letters, digits, - and _")
    flag(described, "strict", f"{where}.strict")
    return schema_text(described.get("schema"), f"{where}.schema")


def schema_text(schema: object, where: str) -> str:
    """Spell a JSON schema as a grammar takes it. Raises: RequestError when it is no object."""
    if not isinstance(schema, dict):
        raise wanted(where, "a JSON schema, which is an object,")
    return whole_text(json.dumps(schema, ensure_ascii=False), where)
