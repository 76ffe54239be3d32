"""What of logs and settings may leave the building: texts come in, only what has a known shape goes out.

Nothing is hidden by looking for secrets alone: a line of a log is shown when it is one of those that Ferry, gunicorn,
Python or systemd are known to write, and then only its known parts; a setting is shown when its value can be no
secret. What is known to be secret is taken out of the whole once more.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator

NUMBER, WORD, YES_NO = r"[0-9]{1,9}", r'"[a-z0-9]{0,12}"', r"true|false"
ADDRESS = r'"(?:[0-9.]{7,15}|\[[0-9a-fA-F:]{2,39}\]|localhost):[0-9]{1,5}"'
# Every key of ferry.toml, and what its value looks like where it may be shown.
SETTINGS: dict[str, dict[str, str | None]] = {
    "web": {
        "listen": ADDRESS, "tls_certificate": None, "tls_key": None, "auth": WORD, "trusted_proxies": None,
        "proxy_header": None, "workers": NUMBER, "session_hours": NUMBER, "max_body_kib": NUMBER,
        "requests_per_minute": NUMBER,
    },
    "data": {"url": None, "password_file": None},
    "ldap": {
        "url": None, "start_tls": YES_NO, "ca_file": None, "user_dn": None, "base": None, "bind_dn": None,
        "filter": r'"\(uid=\{name\}\)"', "bind_password_file": None, "administrator_group": None, "auditor_group": None,
        "timeout_s": NUMBER,
    },
    "engine": {
        "url": None, "api_key_file": None, "ca_file": None, "forward_user": YES_NO,
        "precision": WORD, "threads": NUMBER, "context_tokens": NUMBER, "slots": NUMBER,
        "max_new_tokens": NUMBER, "system_prompt": None,
    },
    "queue": {"per_user": NUMBER, "total": NUMBER, "timeout_s": NUMBER},
    "quota": {"tokens_per_day": NUMBER},
    "history": {"turns": NUMBER},
    "audit": {"enabled": YES_NO, "content": WORD, "retain_days": NUMBER, "rotate_mib": NUMBER},
    "trust": {"threshold": NUMBER},
}  # fmt: skip
SECTION = re.compile(r"[ \t]*\[([a-z]+)\][ \t]*(?:#.*)?")
SETTING = re.compile(r"[ \t]*([a-z_]+)[ \t]*=[ \t]*(.*?)[ \t]*")
COMMENT = re.compile(r"""("[^"]*"|'[^']*'|[^"'\[#]*?)[ \t]*#.*""")
EMPTY = frozenset({'""', "''", "[]", ""})
# What a value may hold that is secret by itself: a text in quotes, user and password in an address.
PIECES = (r'"([^"]*)"', r"'([^']*)'", r"://([^:/@]*):[^@]*@", r"://[^:/@]*:([^@]*)@")
# Shorter ones would tear words out of everything; nobody's secret is one.
MIN_SECRET = 6

# Who wrote it, before the message itself: gunicorn's and the engine's own, and Python's logging.
PREFIX = r"(?P<prefix>(?:\[[0-9:+ -]{19,26}\] \[\d+\] \[[A-Z]+\] |ferry-engine: [A-Z]+: |[A-Z]+(?: in [a-z_.]+)?: )?)"
PATH = r"/[\w./+@-]+"
ERRNO = "|".join(sorted({re.escape(os.strerror(number)) for number in errno.errorcode}, key=len, reverse=True))
SHAPES = (
    r"Starting gunicorn [\d.]+",
    r"Listening at: https?://[0-9a-f.:\[\]]+ \(\d+\)",
    r"Using worker: [A-Za-z.]+",
    r"(?:Booting worker with pid: |Worker exiting \(pid: )\d+\)?",
    r"Handling signal: [a-z]+",
    r"Shutting down: Master",
    r"Worker \(pid:\d+\) (?:was sent SIG[A-Z]+!|exited with code \d+)",
    r"WORKER TIMEOUT \(pid:\d+\)",
    r"Ferry serves on [0-9a-f.:\[\]]+",
    rf"loaded {PATH} with \d+ threads, \d+ tokens of context",
    r"ready after [\d.]+ s, of them [\d.]+ s imports",
    r"(?:the engine|a request) failed",
    r"Traceback \(most recent call last\):",
    rf'  File "(?:{PATH}\.py|<frozen [\w.]+>)", line \d+, in [\w.<>]+',
    rf"error: {PATH}: (?:another process answers there|{ERRNO})",
    r"hint: run: ferry verify",
    r"hint: stop it first: systemctl stop ferry, or: ferry stop",
    rf"hint: (?:edit {PATH}, then start Ferry again|look at the owner and mode of {PATH})",
)
# Shown up to the group, the rest is not.
BEGINNINGS = (
    r"(?P<shown>(?:error: )?(?:ferry\.toml: )?\[[a-z]{1,12}\] [a-z_]{1,20})",
    r"(?P<shown>error: ferry\.toml:)",
    rf"(?P<shown>{PATH}: (?:the weights|the tokenizer) cannot be loaded)",
    r"(?P<shown>(?:GET|POST|PUT|PATCH|DELETE) /(?:api|v1|admin|login)?)",
    r"(?P<shown>(?:[A-Za-z_]+\.)*[A-Z]\w+(?:Error|Exception|Warning|Interrupt|Exit)"
    rf"(?:: \[Errno \d+\] (?:{ERRNO})|: DefaultCPUAllocator: can't allocate memory"
    r"|: No module named '[\w.]+'|: database is locked|: unable to open database file)?)",
)
# Of systemd's own lines, which hold nothing of the service's.
SYSTEMD = re.compile(r"[A-Z][a-z]+ [\w ./:,()'-]*ferry(?:-engine)?\.service.*|ferry(?:-engine)?\.service: .*")
_shape = re.compile(PREFIX + f"(?:{'|'.join(SHAPES)})")
_beginnings = [re.compile(PREFIX + beginning) for beginning in BEGINNINGS]
_journal = re.compile(
    r"(?P<time>[0-9T:+-]{19,26}) \S+ (?P<who>(?:ferry|ferry-engine|systemd)(?:\[\d+\])?): (?P<text>.*)"
)
_keys = re.compile(
    r"ferry-[A-Za-z0-9_-]{20,}|(?i:bearer)\s+\S+|(?<=://)[^\s/@]+@|-----BEGIN [^-]+ PRIVATE KEY-----[^-]*"
)


def log_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield what may be shown of a log; how many lines are not stands in their place."""
    hidden = 0
    for line in lines:
        shown = _shown(line)
        if shown is None:
            hidden += 1
            continue
        if hidden:
            yield f"({hidden} {'line' if hidden == 1 else 'lines'} not shown)"
        hidden = 0
        yield shown
    if hidden:
        yield f"({hidden} {'line' if hidden == 1 else 'lines'} not shown)"


def settings(text: str) -> Iterator[str]:
    """Yield the settings of a ferry.toml, and of those that could be secret only whether they are set."""
    section, unknown = "", 0
    for line in _outside_long_texts(text):
        if header := SECTION.fullmatch(line):
            section = header[1] if header[1] in SETTINGS else ""
            yield f"[{section or '(a section that is not known)'}]"
        elif found := SETTING.fullmatch(line):
            known = SETTINGS.get(section, {})
            if found[1] not in known:
                unknown += 1
                continue
            yield f"{found[1]} = {_value(found[2], known[found[1]])}"
    if unknown:
        yield f"({unknown} other {'key' if unknown == 1 else 'keys'} not shown)"


def secrets(text: str) -> set[str]:
    """Return every text of a ferry.toml that is not shown, to be taken out of whatever else is."""
    shown = "\n".join(settings(text))
    found = set()
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        value = line.partition("=")[2] or line
        words = [value.strip().strip("\"'").strip()]
        words += [word for pattern in PIECES for word in re.findall(pattern, value)]
        found |= {word for word in words if len(word) >= MIN_SECRET and word not in shown}
    return found


def without(text: str, known: Iterable[str]) -> str:
    """Take every known secret, and what looks like a key or a password in an address, out of a text."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "(removed)")
    return _keys.sub("(removed)", text)


def _shown(line: str) -> str | None:
    journal = _journal.fullmatch(line)
    before, text = (f"{journal['time']} {journal['who']}: ", journal["text"]) if journal else ("", line)
    if not text.isprintable():
        return None
    is_systemds = journal is not None and journal["who"].startswith("systemd[")
    if _shape.fullmatch(text) or (is_systemds and SYSTEMD.fullmatch(text)):
        return before + text
    for beginning in _beginnings:
        if found := beginning.match(text):
            rest = "" if found.end() == len(text) else " (the rest is not shown)"
            return f"{before}{found['prefix']}{found['shown']}{rest}"
    return None


def _value(raw: str, pattern: str | None) -> str:
    comment = COMMENT.fullmatch(raw)
    bare = comment[1] if comment else raw
    if bare in EMPTY:
        return "(empty)"
    return bare if pattern and re.fullmatch(pattern, bare) else "(set, not shown)"


def _outside_long_texts(text: str) -> Iterator[str]:
    """Yield the lines that are no part of a text over several lines."""
    quote = ""
    for line in text.splitlines():
        marks = re.findall(r'"""|' + "'''", line)
        if not quote:
            yield line
        for mark in marks:
            quote = mark if not quote else "" if mark == quote else quote
