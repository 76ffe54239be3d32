"""The operator's settings: the text of ferry.toml comes in, a frozen `Config` goes out.

Strict on purpose: a misspelt key would otherwise be a setting that silently does nothing. Every problem of the file is
reported at once.
What the settings mean is left to the modules that use them.
"""

import ipaddress
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ConfigError(Exception):
    """ferry.toml cannot be used; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


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
    return value == "" or bool(re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value))


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


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


def _whole(default: int, low: int, high: int) -> Any:
    return _setting(default, whole_rule(low, high))


def whole_rule(low: int, high: int) -> Rule:
    words = f"a whole number from {low} to {high}"
    return Rule(int, words, lambda value: low <= value <= high, low=low, high=high)


def _one_of(default: str, *others: str) -> Any:
    values = (default, *others)
    return _setting(default, Rule(str, " or ".join(map(toml, values)), lambda value: value in values))


_LISTEN = Rule(str, 'an address and a port, such as "0.0.0.0:8080" or "[::1]:8080"', _is_address)
_URL = Rule(str, 'an http:// or https:// address, or ""', _is_url_or_empty)
_DATABASE = Rule(
    str,
    'an address such as "postgresql://ferry@db.example.org/ferry" or "sqlite:////srv/ferry.db", or ""',
    _is_database_or_empty,
    is_secret=True,  # people write a password into it
)
_FILE = Rule(str, 'the absolute path of a file, or ""', _is_absolute_or_empty)
_SWITCH = Rule(bool, "true or false")
_NETWORKS = Rule(tuple, 'addresses and networks, such as ["127.0.0.1", "10.1.0.0/16"]', _are_networks)
_HEADER = Rule(str, 'the name of a header, such as "X-Remote-User", or ""', _is_header_or_empty)


@dataclass(frozen=True)
class Web:
    listen: str = _setting("0.0.0.0:8080", _LISTEN)
    tls_certificate: str = _setting("", _FILE)
    tls_key: str = _setting("", _FILE)
    auth: str = _one_of("accounts", "proxy", "none")
    trusted_proxies: tuple[str, ...] = _setting((), _NETWORKS)
    proxy_header: str = _setting("", _HEADER)
    workers: int = _whole(1, 1, 32)
    session_hours: int = _whole(12, 1, 8760)
    max_body_kib: int = _whole(256, 16, 65536)
    requests_per_minute: int = _whole(6000, 0, 1_000_000)

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


@dataclass(frozen=True)
class Data:
    url: str = _setting("", _DATABASE)
    password_file: str = _setting("", _FILE)


@dataclass(frozen=True)
class Engine:
    url: str = _setting("", _URL)
    api_key_file: str = _setting("", _FILE)
    ca_file: str = _setting("", _FILE)
    forward_user: bool = _setting(False, _SWITCH)
    precision: str = _one_of("float32", "int8")
    threads: int = _whole(0, 0, 1024)
    context_tokens: int = _whole(2048, 128, 1_048_576)
    slots: int = _whole(1, 1, 64)
    max_new_tokens: int = _whole(512, 1, 1_048_576)
    system_prompt: str = _setting("", Rule(str, "a text"))


@dataclass(frozen=True)
class Queue:
    per_user: int = _whole(2, 1, 10_000)
    total: int = _whole(16, 1, 10_000)
    timeout_s: int = _whole(300, 1, 86_400)


@dataclass(frozen=True)
class Quota:
    tokens_per_day: int = _whole(0, 0, 2_000_000_000)


@dataclass(frozen=True)
class History:
    turns: int = _whole(8, 1, 1000)


@dataclass(frozen=True)
class Audit:
    enabled: bool = _setting(True, _SWITCH)
    content: str = _one_of("none", "digest", "full")
    retain_days: int = _whole(180, 0, 36_500)
    rotate_mib: int = _whole(64, 1, 4096)


@dataclass(frozen=True)
class Trust:
    threshold: int = _whole(1, 1, 16)


@dataclass(frozen=True)
class Config:
    """All settings. `ldap` is a free table until a release has LDAP."""

    web: Web = Web()
    data: Data = Data()
    engine: Engine = Engine()
    queue: Queue = Queue()
    quota: Quota = Quota()
    history: History = History()
    audit: Audit = Audit()
    trust: Trust = Trust()
    ldap: Mapping[str, Any] = field(default_factory=dict)


def load(path: Path) -> Config:
    """Read the operator's file.

    Raises: ConfigError when it cannot be read or says anything that this release does not know.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name the file in FERRY_CONFIG") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: is not UTF-8 text", f"save {path} as UTF-8") from error
    return parse(text, path.name, f"edit {path}, then start Ferry again")


def parse(text: str, name: str = "ferry.toml", hint: str = "") -> Config:
    """Turn the text of a settings file into a `Config`; `name` and `hint` go into the errors.

    Raises: ConfigError with one line for each problem.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}", hint) from error
    if problems := list(_problems(tables)):
        raise ConfigError("\n".join(f"{name}: {problem}" for problem in problems), hint)
    return Config(**{part: _build(part, table) for part, table in tables.items()})


def _problems(tables: Mapping[str, Any]) -> Iterator[str]:
    sections = {part.name: part.type for part in fields(Config)}
    for name, table in tables.items():
        if not isinstance(table, dict):
            yield f"{name}: stands in no section; sections: {_names(sections)}"
        elif name not in sections:
            yield f"[{name}]: no such section; allowed: {_names(sections)}"
        elif name != "ldap":
            yield from _section_problems(name, table)
    yield from _web_problems(tables.get("web"))


def _web_problems(table: object) -> Iterator[str]:
    """Yield what does not go together in [web]."""
    web = table if isinstance(table, dict) else {}
    if web.get("auth") == "proxy" and not (web.get("proxy_header") and web.get("trusted_proxies")):
        yield '[web] auth = "proxy": needs proxy_header, and trusted_proxies: whose word is taken for who somebody is'
    if bool(web.get("tls_certificate")) != bool(web.get("tls_key")):
        yield "[web] tls_certificate and tls_key: one does not work without the other"


def _section_problems(section: str, table: Mapping[str, Any]) -> Iterator[str]:
    settings = _settings(section)
    for key, value in table.items():
        if key not in settings:
            yield f"[{section}] {key}: no such key; allowed: {', '.join(settings)}"
        elif not settings[key].holds(_frozen(value)):
            rule = settings[key]
            shown = "(not shown)" if rule.is_secret else toml(value)
            yield f"[{section}] {key} = {shown}: {rule.refusal}; allowed: {rule.allowed}"


def rule_of(section: str, key: str) -> Rule:
    """Return what a key accepts, for whoever lets it be set elsewhere than in the file."""
    return _settings(section)[key]


def _settings(section: str) -> dict[str, Rule]:
    return {key.name: key.metadata["rule"] for key in fields(_SECTIONS[section])}


def _build(section: str, table: Mapping[str, Any]) -> Any:
    if section == "ldap":
        return dict(table)
    return _SECTIONS[section](**{key: _frozen(value) for key, value in table.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(f"[{name}]" for name in names)


_SECTIONS: dict[str, Any] = {
    "web": Web,
    "data": Data,
    "engine": Engine,
    "queue": Queue,
    "quota": Quota,
    "history": History,
    "audit": Audit,
    "trust": Trust,
}
