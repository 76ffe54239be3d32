"""What an answer has to look like, where a request says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GrammarSpec:
    """`kind` is "json_object" (then `text` is empty) or "json_schema" (then it is the schema, as JSON)."""

    kind: str
    text: str
