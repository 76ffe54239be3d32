"""From messages to the tokens the model sees: the model's own template and tokenizer, and user text that stays text.

A message that contains a control token such as `<|im_start|>` could otherwise begin a turn of its own. So each control
token that stands in a message is taken out before the template is filled in, and put back afterwards in tokens that
spell it as ordinary text. Everything else is tokenised in one go, exactly as transformers does it.
"""

import json
import re
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import jinja2
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.engine.errors import EngineError, invalid
from service.engine.protocol import Message


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

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Fill in the model's chat template, up to where the answer begins.

        Raises: RequestError when the template cannot take these messages.
        """
        if self._template.chat_template is None:
            raise invalid("this model has no chat template: use /v1/completions", code="no_chat_template")
        if messages[0].role != "system":
            messages = [*self._system, *messages]
        # Nobody can guess the mark, so nobody can write one.
        mark = f"\ue000{secrets.token_hex(8)}:"
        taken: list[str] = []
        rendered = self._render([self._take_out(message, mark, taken) for message in messages])
        return self._put_back(rendered, mark, taken)

    def encode_text(self, prompt: str) -> list[int]:
        """Tokenise a plain completion's prompt. It is the whole prompt, so control tokens in it are meant."""
        ids: list[int] = self._tokenizer.encode(prompt).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Spell tokens as text, control tokens left out."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def _take_out(self, message: Message, mark: str, taken: list[str]) -> dict[str, str]:
        def take(match: re.Match[str]) -> str:
            taken.append(match.group())
            return f"{mark}{len(taken) - 1}\ue001"

        pattern = self._control["assistant" if message.role == "assistant" else "user"]
        return {"role": message.role, "content": pattern.sub(take, message.content)}

    def _render(self, messages: list[dict[str, str]]) -> str:
        try:
            text: str = self._template.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise invalid(f"messages: the model's chat template says: {error}", "messages") from error
        return text

    def _put_back(self, rendered: str, mark: str, taken: Sequence[str]) -> list[int]:
        parts = re.split(re.escape(mark) + "([0-9]+)\ue001", rendered)
        tokens: list[int] = []
        for index, part in enumerate(parts):
            is_control = index % 2 == 1
            text = taken[int(part)] if is_control else part
            tokens += (self._plain if is_control else self._tokenizer).encode(text, add_special_tokens=False).ids
        return tokens


def _load(folder: Path) -> AutoTokenizer:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"{folder}: the tokenizer cannot be loaded: {error}", "run: ferry verify") from error


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The same vocabulary, to which a control token's name is only a text."""
    fields = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps({**fields, "added_tokens": [], "post_processor": None}))


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    # Longest first, as the tokenizer reads them; with no control token at all, a pattern that never matches.
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)")
