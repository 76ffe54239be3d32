"""From messages to the tokens the model sees: the model's own template and tokenizer, and user text that stays text.

A message that contains a control token such as `<|im_start|>` could otherwise begin a turn of its own, and so could a
tool's description or its result. So each control token that stands in what a request brings is taken out before the
template is filled in, and put back afterwards in tokens that spell it as ordinary text. Everything else is tokenised in
one go, exactly as transformers does it.
"""

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.engine.errors import EngineError, RequestError, invalid
from service.engine.fields import wanted
from service.engine.model_config import read_config
from service.engine.protocol import NO_TOOLS, ChatRequest, CompletionRequest, Message, ToolUse
from service.engine.tool_calls import OPENING


class Prompts:
    """The tokenizer of one model: prompts into tokens, tokens into text. Safe to use from several threads."""

    def __init__(self, folder: Path, system_prompt: str = "") -> None:
        self._template = _load(folder)
        self._tokenizer: Tokenizer = self._template.backend_tokenizer
        added = self._tokenizer.get_added_tokens_decoder().values()
        # A reasoning model's own turns come back with <think> and the like: added tokens, but not special ones.
        self._control = {
            "assistant": _any_of([token.content for token in added if token.special]),
            "user": _any_of([token.content for token in added]),
        }
        self._system = [Message("system", system_prompt)] if system_prompt else []

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def stop_tokens(self) -> frozenset[int]:
        """The token that ends a turn, where the tokenizer names one."""
        identity = self._template.eos_token_id
        return frozenset() if identity is None else frozenset([identity])

    @cached_property
    def _plain(self) -> Tokenizer:
        # Made when the first control token turns up in a message: it takes as much memory as the tokenizer itself.
        return _without_added_tokens(self._tokenizer)

    @cached_property
    def vocabulary(self) -> int:
        """Count the tokens that have a name."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @cached_property
    def has_tools(self) -> bool:
        """Whether the model's template shows tools, and asks for calls in the form that tool_calls.py reads."""
        name = secrets.token_hex(8)
        function = {"name": name, "description": "", "parameters": {"type": "object", "properties": {}}}
        try:
            shown = self._render([{"role": "user", "content": ""}], [{"type": "function", "function": function}], {})
        except RequestError:
            return False
        return name in shown and OPENING in shown and '"arguments"' in shown

    def encode(self, request: ChatRequest | CompletionRequest) -> list[int]:
        """Turn a request into tokens. Raises: RequestError where this model cannot take it."""
        if any(token >= self.vocabulary for token in request.options.logit_bias):
            raise wanted("logit_bias", f"for every token a number below {self.vocabulary}")
        if isinstance(request, ChatRequest):
            return self.encode_chat(request.messages, request.tool_use, dict(request.template_flags))
        if isinstance(request.prompt, str):
            return self.encode_text(request.prompt)
        if not all(0 <= token < self.vocabulary for token in request.prompt):
            raise wanted("prompt", f"for every token a number below {self.vocabulary}")
        return list(request.prompt)

    def encode_chat(
        self,
        messages: Sequence[Message],
        tool_use: ToolUse = NO_TOOLS,
        flags: Mapping[str, bool] = MappingProxyType({}),
    ) -> list[int]:
        """Fill in the model's chat template, up to where the answer begins: a forced call's opening is in it already.

        Raises: RequestError when the template cannot take these messages.
        """
        if self._template.chat_template is None:
            raise invalid("this model has no chat template: use /v1/completions", code="no_chat_template")
        self._refuse_tools_without_template(messages, tool_use)
        if messages[0].role != "system":
            messages = [*self._system, *messages]
        taken = _Taken()
        rendered = self._render(
            [self._show(message, taken) for message in messages],
            [taken.out_of_all(tool.definition, self._control["user"]) for tool in tool_use.tools],
            flags,
        )
        return self._put_back(rendered + (f"{OPENING}\n" if tool_use.is_forced else ""), taken)

    def encode_text(self, prompt: str) -> list[int]:
        """Tokenise a plain completion's prompt. It is the whole prompt, so control tokens in it are meant."""
        ids: list[int] = self._tokenizer.encode(prompt).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Spell tokens as text, control tokens left out."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def _refuse_tools_without_template(self, messages: Sequence[Message], tool_use: ToolUse) -> None:
        is_used = any(message.tool_calls or message.role == "tool" for message in messages)
        if (tool_use.tools or is_used) and not self.has_tools:
            param = "tools" if tool_use.tools else "messages"
            raise invalid(f"{param}: this model has no tools", param, "unsupported_parameter")

    def _show(self, message: Message, taken: "_Taken") -> dict[str, Any]:
        """A message as templates take it, without its control tokens."""
        pattern = self._control["assistant" if message.role == "assistant" else "user"]
        shown: dict[str, Any] = {"role": message.role, "content": taken.out_of(message.content, pattern)}
        if message.tool_calls:
            calls = [{"name": call.name, "arguments": _object_of(call.arguments)} for call in message.tool_calls]
            marked = taken.out_of_all(calls, self._control["user"])
            shown["tool_calls"] = [{"type": "function", "function": call} for call in marked]
        return shown

    def _render(self, messages: list[dict[str, Any]], tools: list[Any], flags: Mapping[str, bool]) -> str:
        try:
            text: str = self._template.apply_chat_template(
                messages, tools=tools or None, tokenize=False, add_generation_prompt=True, **flags
            )
        except (jinja2.TemplateError, TypeError) as error:
            raise invalid(f"messages: the model's chat template says: {error}", "messages") from error
        return text

    def _put_back(self, rendered: str, taken: "_Taken") -> list[int]:
        tokens: list[int] = []
        for text, is_control in taken.split(rendered):
            tokens += (self._plain if is_control else self._tokenizer).encode(text, add_special_tokens=False).ids
        return tokens


class _Taken:
    """The control tokens that were taken out of one conversation, each with a mark in its place."""

    def __init__(self) -> None:
        # Nobody can guess the mark, so nobody can write one.
        self._mark = f"\ue000{secrets.token_hex(8)}:"
        self._texts: list[str] = []

    def out_of(self, text: str, pattern: re.Pattern[str]) -> str:
        return pattern.sub(self._take, text)

    def out_of_all(self, value: Any, pattern: re.Pattern[str]) -> Any:
        """Take them out of every text of a JSON value, names of fields too."""
        if isinstance(value, str):
            return self.out_of(value, pattern)
        if isinstance(value, list):
            return [self.out_of_all(item, pattern) for item in value]
        if isinstance(value, Mapping):
            return {self.out_of(key, pattern): self.out_of_all(item, pattern) for key, item in value.items()}
        return value

    def split(self, rendered: str) -> Iterator[tuple[str, bool]]:
        """Yield the parts of a filled-in template, and of each whether it is a control token that stays text."""
        for index, part in enumerate(re.split(re.escape(self._mark) + "([0-9]+)\ue001", rendered)):
            yield (self._texts[int(part)], True) if index % 2 else (part, False)

    def _take(self, match: re.Match[str]) -> str:
        self._texts.append(match.group())
        return f"{self._mark}{len(self._texts) - 1}\ue001"


def _object_of(arguments: str) -> Any:
    """Most templates write arguments as JSON themselves; what is none stays the text that it is."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def _load(folder: Path) -> AutoTokenizer:
    try:
        config = read_config(folder)
        return AutoTokenizer.from_pretrained(folder, config=config, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"{folder}: the tokenizer cannot be loaded: {error}", "run: ferry verify") from error


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The same vocabulary, to which a control token's name is only a text."""
    fields = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps({**fields, "added_tokens": [], "post_processor": None}))


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    # Longest first, as the tokenizer reads them; with no control token at all, a pattern that never matches.
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)")
