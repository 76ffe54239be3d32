"""OpenAI's requests: the bytes of a body come in, a frozen `ChatRequest` or `CompletionRequest` goes out.

Whatever is not as the API has it is refused here with the parameter's name, before anything is tokenised or queued.
What the fields mean is left to options.py and messages.py.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from service.engine.errors import invalid
from service.engine.fields import typed, wanted, whole_text
from service.engine.messages import NO_TOOLS, Message, Tool, ToolCall, ToolUse, read_messages, read_tools
from service.engine.options import Options, read_options

__all__ = ["NO_TOOLS", "ChatRequest", "CompletionRequest", "Message", "Options", "Tool", "ToolCall", "ToolUse"]
MAX_PROMPTS = 16
CALL_END = "</tool_call>"


@dataclass(frozen=True)
class ChatRequest:
    model: str
    messages: tuple[Message, ...]
    options: Options
    tool_use: ToolUse = NO_TOOLS
    template_flags: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True)
class CompletionRequest:
    """`prompt` is a text, or tokens."""

    model: str
    prompt: str | tuple[int, ...]
    options: Options


def parse_chat(body: bytes) -> ChatRequest:
    """Read the body of /v1/chat/completions. Raises: RequestError."""
    fields = _object(body)
    messages, options, tool_use = read_messages(fields), read_options(fields, is_chat=True), read_tools(fields)
    if tool_use.tools and options.grammar:
        raise invalid("response_format: not together with tools, unless tool_choice = none", "response_format")
    if tool_use.is_forced:
        options = replace(options, grammar=tool_use.grammar)
    elif tool_use.tools and not tool_use.is_parallel:
        options = replace(options, stop=(*options.stop, CALL_END))
    return ChatRequest(_model(fields), messages, options, tool_use, _template_flags(fields))


def parse_completion(body: bytes) -> tuple[CompletionRequest, ...]:
    """Read the body of /v1/completions: one request for each of its prompts. Raises: RequestError."""
    fields = _object(body)
    if fields.get("tools"):
        raise invalid("tools: only in /v1/chat/completions", "tools")
    model, options = _model(fields), read_options(fields, is_chat=False)
    return tuple(CompletionRequest(model, prompt, options) for prompt in _prompts(fields.get("prompt")))


def _prompts(prompt: object) -> list[str | tuple[int, ...]]:
    """https://platform.openai.com/docs/api-reference/completions/create: a text, texts, tokens, or lists of them."""
    listed = prompt if isinstance(prompt, list) and not _is_tokens(prompt) else [prompt]
    if not 1 <= len(listed) <= MAX_PROMPTS:
        raise wanted("prompt", f"a list of 1 to {MAX_PROMPTS} prompts")
    return [_prompt(item) for item in listed]


def _prompt(prompt: object) -> str | tuple[int, ...]:
    if isinstance(prompt, list) and _is_tokens(prompt):
        return tuple(prompt)
    if not isinstance(prompt, str) or not prompt:
        raise wanted("prompt", "a text that is not empty, a list of token numbers, or a list of these")
    return whole_text(prompt, "prompt")


def _is_tokens(items: list[object]) -> bool:
    return bool(items) and all(type(item) is int for item in items)


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
    return typed(fields, "model", str, "a text") or "default"


def _template_flags(fields: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    """What vLLM and llama-server hand to the chat template: here only switches, such as Qwen3's enable_thinking."""
    flags = typed(fields, "chat_template_kwargs", dict, "an object") or {}
    for name, value in flags.items():
        if not name.startswith("enable_") or not isinstance(value, bool):
            raise wanted("chat_template_kwargs", "an object of switches (enable_…) that are true or false")
    return tuple(flags.items())
