"""The fields of a JSON object, read with their types: a value or None comes out, anything else is refused by its name.

`null` is the same as silence everywhere. Raises: RequestError 400.
"""

from collections.abc import Mapping
from typing import Any

from service.engine.errors import RequestError, invalid


def typed(fields: Mapping[str, Any], name: str, kind: type, words: str, where: str = "") -> Any:
    value = fields.get(name)
    if value is not None and type(value) is not kind:
        raise wanted(where or name, words)
    return value


def flag(fields: Mapping[str, Any], name: str, where: str = "") -> bool:
    return typed(fields, name, bool, "true or false", where) or False


def number(fields: Mapping[str, Any], name: str, low: float, high: float, above: bool = False) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if not is_number(value, low, high) or (above and value == low):
        raise wanted(name, f"a number {'above' if above else 'from'} {low} to {high}")
    return float(value)


def is_number(value: object, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]


def whole(fields: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise wanted(name, f"a whole number from {low} to {high}")
    return value


def whole_text(text: str, where: str) -> str:
    """Give a text back. JSON can spell half of a surrogate pair, which no UTF-8 and so no tokenizer can."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid(f"{where}: holds half of a surrogate pair", where)
    return text


def wanted(where: str, words: str) -> RequestError:
    return invalid(f"{where}: {words} is needed", where)


def unsupported(where: str, words: str) -> RequestError:
    return invalid(f"{where}: not available in this release; allowed: {words}", where, "unsupported_parameter")
