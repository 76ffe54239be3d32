"""What an answer has to look like, where a request says so."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class GrammarSpec:
    """What form an answer has to have: any JSON object, JSON by a schema (its JSON text), or text by a regex."""

    kind: Literal["json_object", "json_schema", "regex"]
    text: str = ""

    @classmethod
    def of_tools(cls, tools: Mapping[str, Mapping[str, Any]]) -> "GrammarSpec":
        """Describe a call of one of the tools, given as name -> schema of its arguments."""
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": name}, "arguments": schema},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for name, schema in tools.items()
        ]
        return cls("json_schema", json.dumps({"anyOf": calls}))
