"""The operator's settings: the text of ferry.toml comes in, a frozen `Config` goes out.

Strict on purpose: a misspelt key would otherwise be a setting that silently does nothing. Every problem of the file is
reported at once.
What the settings mean is left to the modules that use them.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from service.config_rules import (
    DATABASE,
    DIRECTORY,
    FILE,
    FILTER,
    HEADER,
    LISTEN,
    NETWORKS,
    SWITCH,
    TEXT,
    URL,
    WITH_NAME,
    Rule,
    toml,
    whole_rule,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ConfigError(Exception):
    """ferry.toml cannot be used; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


def _whole(default: int, low: int, high: int) -> Any:
    return _setting(default, whole_rule(low, high))


def _one_of(default: str, *others: str) -> Any:
    values = (default, *others)
    return _setting(default, Rule(str, " or ".join(map(toml, values)), lambda value: value in values))


@dataclass(frozen=True)
class Web:
    listen: str = _setting("0.0.0.0:8080", LISTEN)
    tls_certificate: str = _setting("", FILE)
    tls_key: str = _setting("", FILE)
    auth: str = _one_of("accounts", "proxy", "none")
    trusted_proxies: tuple[str, ...] = _setting((), NETWORKS)
    proxy_header: str = _setting("", HEADER)
    workers: int = _whole(2, 1, 32)
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
    url: str = _setting("", DATABASE)
    password_file: str = _setting("", FILE)


@dataclass(frozen=True)
class Ldap:
    url: str = _setting("", DIRECTORY)
    start_tls: bool = _setting(False, SWITCH)
    ca_file: str = _setting("", FILE)
    user_dn: str = _setting("", WITH_NAME)
    base: str = _setting("", TEXT)
    filter: str = _setting("(uid={name})", FILTER)
    bind_dn: str = _setting("", TEXT)
    bind_password_file: str = _setting("", FILE)
    administrator_group: str = _setting("", TEXT)
    auditor_group: str = _setting("", TEXT)
    timeout_s: int = _whole(5, 1, 60)


@dataclass(frozen=True)
class Engine:
    url: str = _setting("", URL)
    api_key_file: str = _setting("", FILE)
    ca_file: str = _setting("", FILE)
    forward_user: bool = _setting(False, SWITCH)
    precision: str = _one_of("float32", "int8")
    threads: int = _whole(0, 0, 1024)
    context_tokens: int = _whole(2048, 128, 1_048_576)
    slots: int = _whole(1, 1, 64)
    max_new_tokens: int = _whole(512, 1, 1_048_576)
    system_prompt: str = _setting("", TEXT)


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
    enabled: bool = _setting(True, SWITCH)
    content: str = _one_of("none", "digest", "full")
    retain_days: int = _whole(180, 0, 36_500)
    rotate_mib: int = _whole(64, 1, 4096)


@dataclass(frozen=True)
class Trust:
    threshold: int = _whole(1, 1, 16)


@dataclass(frozen=True)
class Config:
    """All settings."""

    web: Web = Web()
    data: Data = Data()
    engine: Engine = Engine()
    queue: Queue = Queue()
    quota: Quota = Quota()
    history: History = History()
    audit: Audit = Audit()
    trust: Trust = Trust()
    ldap: Ldap = Ldap()


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
        else:
            yield from _section_problems(name, table)
    yield from _web_problems(tables.get("web"))
    yield from _ldap_problems(tables.get("ldap"))


def _web_problems(table: object) -> Iterator[str]:
    """Yield what does not go together in [web]."""
    web = table if isinstance(table, dict) else {}
    if web.get("auth") == "proxy" and not (web.get("proxy_header") and web.get("trusted_proxies")):
        yield '[web] auth = "proxy": needs proxy_header, and trusted_proxies: whose word is taken for who somebody is'
    if bool(web.get("tls_certificate")) != bool(web.get("tls_key")):
        yield "[web] tls_certificate and tls_key: one does not work without the other"


def _ldap_problems(table: object) -> Iterator[str]:
    """Yield what does not go together in [ldap]."""
    ldap = table if isinstance(table, dict) else {}
    if ldap.get("url") and not (ldap.get("user_dn") or ldap.get("base")):
        yield "[ldap] url: needs user_dn, or base: where people are in the directory"
    if ldap.get("start_tls") and str(ldap.get("url")).startswith("ldaps:"):
        yield "[ldap] start_tls: is for ldap:// addresses; ldaps:// has TLS from its start"
    if bool(ldap.get("bind_dn")) != bool(ldap.get("bind_password_file")):
        yield "[ldap] bind_dn and bind_password_file: one does not work without the other"


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
    return _SECTIONS[section](**{key: _frozen(value) for key, value in table.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(f"[{name}]" for name in names)


_SECTIONS: dict[str, Any] = {
    "web": Web,
    "data": Data,
    "ldap": Ldap,
    "engine": Engine,
    "queue": Queue,
    "quota": Quota,
    "history": History,
    "audit": Audit,
    "trust": Trust,
}
