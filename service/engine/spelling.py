"""How single tokens are spelled: a token id comes in, its bytes go out, also where they are a part of a character."""

import re
from functools import cached_property

from tokenizers import Tokenizer

SPACE = "\u2581"
BYTE = re.compile("<0x([0-9A-F]{2})>")


class Spelling:
    """The vocabulary of one tokenizer, by bytes (Qwen, Llama 3, SmolLM) or by SentencePiece's pieces (Llama 2)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._added = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}

    def spell(self, token: int) -> bytes:
        """Return a token's bytes; nothing for a number that is no token."""
        if token in self._added:
            return self._added[token].encode()
        piece = self._tokenizer.id_to_token(token) or ""
        if self._is_by_bytes and all(letter in BYTES for letter in piece):
            return bytes(BYTES[letter] for letter in piece)
        if found := BYTE.fullmatch(piece):
            return bytes([int(found[1], 16)])
        return piece.replace(SPACE, " ").encode()

    @cached_property
    def _is_by_bytes(self) -> bool:
        return b"ByteLevel" in self._tokenizer.decoder.__getstate__()


def _letters() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for the letters from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


BYTES = _letters()
