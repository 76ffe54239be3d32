"""What the page at /api/docs shows of the API's description: the document comes in, rows of tables go out.

Drawn by the server, with nothing that only a script shows: it has to run under the service's content security policy,
in browsers of 2020, in both themes, and for screen readers (docs/decisions/0021).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A row of a table: `link` names the schema that says more."""

    name: str
    kind: str
    link: str
    is_needed: bool
    words: str


@dataclass(frozen=True)
class Operation:
    """What the page shows of one operation."""

    method: str
    address: str
    summary: str
    words: str
    needs: tuple[str, ...]
    fields: tuple[Field, ...]
    answers: tuple[Field, ...]
    example: str


def translated(part: Any, texts: Mapping[str, str]) -> Any:
    """Return a part of the document with every text that has a translation in that language."""
    if isinstance(part, dict):
        return {name: translated(each, texts) for name, each in part.items()}
    if isinstance(part, list):
        return [translated(each, texts) for each in part]
    return texts.get(part, part) if isinstance(part, str) else part


def groups(described: Json, known: Sequence[tuple[str, str, Json]]) -> list[tuple[Json, list[Operation]]]:
    """Return each tag with its operations."""
    return [
        (tag, [_operation(described, *each) for each in known if tag["name"] in each[2]["tags"]])
        for tag in described["tags"]
    ]


def schemas(described: Json) -> list[tuple[str, list[Field]]]:
    """Return what the operations refer to, by name."""
    found = described["components"]["schemas"]
    return [(name, list(fields(found[name]))) for name in sorted(found)]


def fields(schema: Json) -> Iterator[Field]:
    """Yield what an object holds, what it holds itself included."""
    needed = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        kind, link = _kind(each)
        yield Field(name, kind, link, name in needed, each.get("description", ""))
        inner = each.get("items", each)
        if "properties" in inner:
            yield from (Field(f"{name}.{more.name}", *_rest(more)) for more in fields(inner))
    if "enum" in schema:
        yield Field(" | ".join(schema["enum"]), "", "", False, schema.get("description", ""))


def _rest(field: Field) -> tuple[str, str, bool, str]:
    return field.kind, field.link, field.is_needed, field.words


def _operation(described: Json, address: str, method: str, operation: Json) -> Operation:
    shared = described["paths"][address].get("parameters", [])
    parameters = [_resolved(described, each) for each in (*shared, *operation.get("parameters", ()))]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    rows = [_parameter(each) for each in parameters]
    answers = [_answer(status, _resolved(described, each)) for status, each in operation["responses"].items()]
    words = operation.get("description", "")
    needs = tuple(sorted({name for each in operation["security"] for name in each}))
    example = _example(address, method, parameters, body, needs)
    return Operation(
        method.upper(), address, operation["summary"], words, needs, (*rows, *fields(body)), tuple(answers), example
    )


def _parameter(parameter: Json) -> Field:
    kind, link = _kind(parameter["schema"])
    is_needed = parameter.get("required", False)
    return Field(parameter["name"], f"{parameter['in']}: {kind}", link, is_needed, parameter.get("description", ""))


def _answer(status: str, answer: Json) -> Field:
    content = answer.get("content", {})
    links = [_kind(each["schema"])[1] for each in content.values()]
    return Field(status, ", ".join(content), next(filter(None, links), ""), False, answer["description"])


def _kind(schema: Json) -> tuple[str, str]:
    """Return the words for a type, and the name of the schema that says more."""
    if "$ref" in schema:
        name = posixpath.basename(schema["$ref"])
        return name, name
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"])), ""
    if "const" in schema:
        return json.dumps(schema["const"]), ""
    kind = schema.get("type", "")
    if kind == "array":
        inner, link = _kind(schema["items"])
        return f"{inner}[]", link
    return " | ".join(kind) if isinstance(kind, list) else kind, ""


def _resolved(described: Json, part: Json) -> Json:
    if "$ref" not in part:
        return part
    found: Any = described
    for name in part["$ref"].split("/")[1:]:
        found = found[name]
    return dict(found)


def _example(address: str, method: str, parameters: list[Json], body: Json, needs: Sequence[str]) -> str:
    """Return a command line that asks for it."""
    for each in parameters:
        address = address.replace(f"{{{each['name']}}}", str(each.get("example", "")))
    is_told = method != "get" and not (method == "post" and body)  # curl knows these two by itself
    words = ["curl", f"-X {method.upper()}"] if is_told else ["curl"]
    if "key" in needs:
        words.append('-H "Authorization: Bearer $KEY"')
    if "login" in needs:
        words.append('-b "ferry_session=$COOKIE"')
    if "token" in needs:
        words.append('-H "X-CSRF-Token: $TOKEN"')
    if body:
        values = {name: each["example"] for name, each in body["properties"].items() if "example" in each}
        words += ['-H "Content-Type: application/json"', f"-d '{json.dumps(values, ensure_ascii=False)}'"]
    return " ".join([*words, f"$SERVER{address}"])
