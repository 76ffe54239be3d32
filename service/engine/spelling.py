"""The bytes of each token: a tokenizer comes in, what a single token stands for goes out.

A tokenizer's own `decode` gives text, in which a part of a character can only be shown as a replacement.
"""

import json
import re
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Spelling:
    """Spells the tokens of one tokenizer. Safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._added = tokenizer.get_added_tokens_decoder()
        self._decoder_kinds = _kinds(json.loads(tokenizer.to_str()).get("decoder"))

    def spell(self, token: int) -> bytes:
        """Return the bytes of one token; none for a number that is no token."""
        if token in self._added:
            return str(self._added[token].content).encode()
        name = self._tokenizer.id_to_token(token)
        if name is None:
            return b""
        if "ByteLevel" in self._decoder_kinds and all(letter in _letters() for letter in name):
            return bytes(_letters()[letter] for letter in name)
        if found := _BYTE_TOKEN.fullmatch(name):
            return bytes([int(found[1], 16)])
        return name.replace("\u2581", " ").encode()


def _kinds(decoder: dict[str, Any] | None) -> set[str]:
    parts = [decoder, *decoder.get("decoders", ())] if decoder else []
    return {part["type"] for part in parts}


@lru_cache(1)
def _letters() -> dict[str, int]:
    """GPT-2's alphabet (bytes_to_unicode): printable bytes stand for themselves, others from U+0100 on."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + index): byte for index, byte in enumerate(hidden)}
