"""What an answer has to look like, where a request says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GrammarSpec:
    """One kind of grammar and its text: a JSON schema, for example."""

    kind: str
    text: str = ""
