"""What a value of ferry.toml may be: each rule says whether it accepts a value, and in words what it accepts."""

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Rule:
    """What a key accepts: a type, a test, and the words for it in an error message."""

    kind: type
    allowed: str
    accepts: Callable[[Any], bool] = lambda _: True
    refusal: str = "cannot be used"
    is_secret: bool = False
    low: int | None = None
    high: int | None = None

    def holds(self, value: object) -> bool:
        # bool is an int to Python and not to an operator: `threads = true` is a mistake.
        return type(value) is self.kind and self.accepts(value)


def _is_address(value: str) -> bool:
    host, colon, port = value.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        return False
    if host.startswith("[") and host.endswith("]"):
        return _is_ip(host[1:-1], 6)
    return _is_ip(host, 4) or bool(re.fullmatch(r"(?!\d+$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]*[A-Za-z-][A-Za-z0-9-]*)*", host))


def _is_url_or_empty(value: str) -> bool:
    try:
        return value == "" or (bool(re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value)) and urlsplit(value).port != 0)
    except ValueError:  # no port, or brackets without an address of IPv6
        return False


def _is_database_or_empty(value: str) -> bool:
    found = re.fullmatch(r"sqlite:////[^\s?#]+|postgresql://([^\s/?#@]+@)?[^\s/?#@]*/[^\s/?#]+(\?[^\s#]*)?", value)
    return value == "" or bool(found)


def _is_absolute_or_empty(value: str) -> bool:
    return value == "" or (value.startswith("/") and "\0" not in value)


def _are_networks(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, str) and _is_network(value) for value in values)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_header_or_empty(value: str) -> bool:
    # What identifies a request or a client to others cannot also be what names its user.
    taken = {"authorization", "cookie", "host", "x-forwarded-for", "x-forwarded-proto", "x-csrf-token"}
    return value == "" or (bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value)) and value.lower() not in taken)


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def toml(value: object) -> str:
    """Write a value as it stands in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def whole_rule(low: int, high: int) -> Rule:
    """Return the rule of a number within limits."""
    words = f"a whole number from {low} to {high}"
    return Rule(int, words, lambda value: low <= value <= high, low=low, high=high)


LISTEN = Rule(str, 'an address and a port, such as "0.0.0.0:8080" or "[::1]:8080"', _is_address)
URL = Rule(str, 'an http:// or https:// address, or ""', _is_url_or_empty)
DATABASE = Rule(
    str,
    'an address such as "postgresql://ferry@db.example.org/ferry" or "sqlite:////srv/ferry.db", or ""',
    _is_database_or_empty,
    is_secret=True,  # people write a password into it
)
FILE = Rule(str, 'the absolute path of a file, or ""', _is_absolute_or_empty)
TEXT = Rule(str, "a text")
DIRECTORY = Rule(
    str,
    'an address such as "ldaps://ldap.example.org" or "ldap://10.0.0.7:389", or ""',
    lambda value: value == "" or bool(re.fullmatch(r"ldaps?://[^\s/?#@]+", value)),
)
WITH_NAME = Rule(str, 'a text with {name} in it, or ""', lambda value: value == "" or "{name}" in value)
FILTER = Rule(
    str, "a filter with {name} in it, in brackets", lambda value: bool(re.fullmatch(r"\(.*\{name\}.*\)", value))
)
SWITCH = Rule(bool, "true or false")
NETWORKS = Rule(tuple, 'addresses and networks, such as ["127.0.0.1", "10.1.0.0/16"]', _are_networks)
HEADER = Rule(str, 'the name of a header, such as "X-Remote-User", or ""', _is_header_or_empty)
