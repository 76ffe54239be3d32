"""What of logs and settings may go into a report: known shapes and harmless values; everything else is only counted."""

from __future__ import annotations

import re

import pytest
import small_bundle
from hypothesis import given
from hypothesis import strategies as st

from installer import redaction
from service.config import _SECTIONS as sections
from service.config import _settings as keys_of

PROMPT = "How do I tell my boss that I am ill?"
KEY = "ferry-Zr8q1Xw_0aLkTnY3dV5bC7eF9gH2iJ4kM6nP8qR0sTu"

SHOWN = [
    "[2026-11-24 17:09:09 +0000] [6441] [INFO] Starting gunicorn 27.0.1",
    "[2026-11-24 17:09:09 +0000] [6441] [INFO] Listening at: http://127.0.0.1:18471 (6441)",
    "[2026-11-24 17:09:10 +0000] [6596] [INFO] Ferry serves on 127.0.0.1:18471",
    "[2026-11-24 17:09:10 +0000] [6596] [CRITICAL] WORKER TIMEOUT (pid:6596)",
    "ferry-engine: INFO: loaded /opt/ferry/current/model with 2 threads, 2048 tokens of context",
    "ferry-engine: INFO: ready after 8.9 s, of them 4.5 s imports",
    "ferry-engine: ERROR: a request failed",
    "Traceback (most recent call last):",
    '  File "/opt/ferry/current/app/service/web/chat.py", line 61, in stream',
    "OSError: [Errno 28] No space left on device",
    "sqlalchemy.exc.OperationalError",
    "ModuleNotFoundError: No module named 'torch'",
    "error: /etc/ferry/ferry.toml: Permission denied",
    "hint: run: ferry verify",
]
CUT = {
    "2026-11-24T17:09:10+0000 server systemd[1]: Started ferry.service - Ferry: private LLM chat.": (
        "2026-11-24T17:09:10+0000 systemd[1]: Started ferry.service - Ferry: private LLM chat."
    ),
    "2026-11-24T17:09:10+0000 server systemd[1]: ferry.service: Failed with result 'exit-code'.": (
        "2026-11-24T17:09:10+0000 systemd[1]: ferry.service: Failed with result 'exit-code'."
    ),
    f"2026-11-24T17:09:10+0000 server ferry[77]: KeyError: {PROMPT}": (
        "2026-11-24T17:09:10+0000 ferry[77]: KeyError (the rest is not shown)"
    ),
    f"ValueError: {PROMPT}": "ValueError (the rest is not shown)",
    f"OSError: [Errno 5] Input/output error: '{PROMPT}'": (
        "OSError: [Errno 5] Input/output error (the rest is not shown)"
    ),
    'error: ferry.toml: [data] url = "postgresql://u:pw@h/d": not available': (
        "error: ferry.toml: [data] url (the rest is not shown)"
    ),
    f"ferry-engine: ERROR: /opt/x/model: the weights cannot be loaded: {PROMPT}": (
        "ferry-engine: ERROR: /opt/x/model: the weights cannot be loaded (the rest is not shown)"
    ),
    f"[2026-11-24 17:09:10 +0000] [1] [ERROR] POST /v1/chat?q={PROMPT}": (
        "[2026-11-24 17:09:10 +0000] [1] [ERROR] POST /v1 (the rest is not shown)"
    ),
    "GET /secretpath failed": "GET / (the rest is not shown)",
}
HIDDEN = [
    PROMPT,
    f"    {PROMPT}",
    f'{{"role": "user", "content": "{PROMPT}"}}',
    f"Authorization: Bearer {KEY}",
    f"ferry-engine: INFO: {PROMPT}",
    f"Traceback (most recent call last): {PROMPT}",
    f'  File "/a.py", line 1, in f {PROMPT}',
    "password: cqnz-p87f-44km-vx8g   (shown this once)",
    "Starting gunicorn 27.0.1\x1b[2J",
    "",
]


@pytest.mark.parametrize("line", SHOWN)
def test_a_line_of_a_known_shape_is_shown_whole(line: str) -> None:
    assert list(redaction.log_lines([line])) == [line]


@pytest.mark.parametrize("line", CUT)
def test_of_a_line_with_a_known_beginning_only_that_is_shown(line: str) -> None:
    assert list(redaction.log_lines([line])) == [CUT[line]]


@pytest.mark.parametrize("line", HIDDEN)
def test_any_other_line_is_only_counted(line: str) -> None:
    assert list(redaction.log_lines([SHOWN[0], line, line, SHOWN[1], line])) == [
        SHOWN[0], "(2 lines not shown)", SHOWN[1], "(1 line not shown)"
    ]  # fmt: skip


BEFORE = [
    "", "    ", "  File ", "hint: ", "hint: run: ", "error: ", "error: /etc/ferry: ",
    "error: ferry.toml: [data] url = ",
    "ValueError: ", "OSError: [Errno 28] ", "ferry-engine: INFO: ", "ferry-engine: ERROR: a request failed: ",
    "ferry-engine: INFO: loaded ", "[2026-11-24 17:09:09 +0000] [1] [INFO] ", "POST /v1/", "Traceback: ",
    "[2026-11-24 17:09:09 +0000] [1] [INFO] Ferry serves on ", "ferry.service: ", "Started ferry.service: ",
    "2026-11-24T17:09:10+0000 server ferry[77]: ", "2026-11-24T17:09:10+0000 server ferry-engine[77]: ferry.service: ",
]  # fmt: skip


@given(
    before=st.sampled_from(BEFORE), words=st.lists(st.from_regex(r"[A-Za-z0-9,.'?!-]{1,8}", fullmatch=True), min_size=4)
)
def test_whatever_somebody_wrote_is_shown_nowhere(before: str, words: list[str]) -> None:
    text = "q " + " ".join(words)
    assert text not in "\n".join(
        redaction.log_lines([before + text, f"{before}'{text}'", f'{before}"{text}", line 1, in f'])
    )


TOML = f"""\
# password of old: commented
[web]
listen = "10.0.0.5:8443"   # where
tls_key = "/etc/ssl/secret-name.key"
session_hours = 12
surprise = "value of surprise"
[engine]
url = "http://me:tok3n-of-engine@10.0.0.7/v1"
threads = 4
system_prompt = \"\"\"
{PROMPT}
threads = 99
[ldap]
\"\"\"
[data]
url = "postgresql://ferry:hunter2-db@db/ferry"
[ldap]
bind_password = 'ldap-S3cret!'
[nonsense]
key = "deep secret"
"""


def test_settings_show_what_can_be_no_secret_and_of_the_rest_whether_it_is_set() -> None:
    assert list(redaction.settings(TOML)) == [
        "[web]",
        'listen = "10.0.0.5:8443"',
        "tls_key = (set, not shown)",
        "session_hours = 12",
        "[engine]",
        "url = (set, not shown)",
        "threads = 4",
        "system_prompt = (set, not shown)",
        "[data]",
        "url = (set, not shown)",
        "[ldap]",
        "[(a section that is not known)]",
        "(3 other keys not shown)",
    ]


def test_the_settings_that_come_with_a_release_are_shown_whole() -> None:
    text = (small_bundle.ROOT / "service" / "ferry.toml").read_text()
    plain = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert list(redaction.settings(text)) == [re.sub(r'""|\[\]$', "(empty)", line) for line in plain]
    assert redaction.secrets(text) == set()


def test_every_setting_of_the_service_is_known_here() -> None:
    assert {name: set(keys_of(name)) for name in sections} == {
        name: set(keys) for name, keys in redaction.SETTINGS.items()
    }


def test_what_the_settings_keep_secret_is_taken_out_of_everything() -> None:
    known = redaction.secrets(TOML)
    for secret in ("hunter2-db", "tok3n-of-engine", "ldap-S3cret!", PROMPT, "deep secret", "value of surprise"):
        assert secret not in redaction.without(f"before {secret} after", known)
    assert redaction.without("session_hours = 12, threads = 4", known) == "session_hours = 12, threads = 4"


@pytest.mark.parametrize(
    "text", [KEY, f"Bearer {KEY[:12]}", "http://me:pw@host/", "-----BEGIN OPENSSH PRIVATE KEY-----\nA"]
)
def test_keys_and_passwords_in_addresses_are_taken_out_wherever_they_are(text: str) -> None:
    cleaned = redaction.without(f"x {text} y", ())
    assert "(removed)" in cleaned and KEY[:12] not in cleaned and "me:pw" not in cleaned
