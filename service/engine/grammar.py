"""What an answer has to look like, where a request says so."""

from collections.abc import Collection
from dataclasses import dataclass

from tokenizers import Tokenizer

from service.engine.errors import invalid


@dataclass(frozen=True)
class GrammarSpec:
    """One kind of grammar and its text: a JSON schema, for example."""

    kind: str
    text: str = ""


class Grammar:
    """Follows one answer."""


class Grammars:
    """Compiles forms for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, stop_tokens: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._stop_tokens = frozenset(stop_tokens)

    def start(self, spec: GrammarSpec) -> Grammar:
        """Begin an answer of this form. Raises: RequestError that names what in it is not possible."""
        raise invalid(f"{spec.kind}: not available in this release; allowed: text", "response_format")
