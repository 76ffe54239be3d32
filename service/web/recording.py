"""What the audit log is told of a question and its answer: two events, the first before the model is asked.

So nothing is asked that is not recorded, and a process that is killed in between leaves the question there. How much of
the texts stands in them, `[audit] content` says: nothing, their SHA-256, or all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from service.web.audit import Audit

MAX_CODE = 100
MODEL = re.compile(rb'"model" ?: ?"([^"\\]{1,200})"')


def shown(content: str, name: str, text: str) -> dict[str, str]:
    """Return a text as the log may hold it."""
    if content == "full":
        return {name: text}
    return {f"{name}_sha256": sha256(text)} if content == "digest" else {}


def why(code: str) -> dict[str, str]:
    """Return the code of a refusal as the log holds it; an engine's own may be of any length."""
    return {"reason": code[:MAX_CODE]} if code else {}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


class Recording:
    """One request of a program, whose answer is handed on: `feed` or `read` it here too, and `end` it once."""

    def __init__(self, audit: Audit, endpoint: str, body: dict[str, Any], **who: Any) -> None:
        """Record the question. `who` is user, address and key. Raises: AuditUnavailable."""
        self._audit = audit
        self._who = {name: value for name, value in who.items() if value is not None}
        self._endpoint = endpoint
        self._rest = b""
        self._pieces: list[str] = []
        self._model = str(body.get("model", ""))
        texts = _question(audit.content, body)
        self._seq = audit.write("question", **self._who, endpoint=endpoint, model=self._model, **texts)

    def feed(self, chunk: bytes) -> None:
        """Look at a piece of a stream."""
        if not self._pieces and (found := MODEL.search(chunk)):
            self._model = found[1].decode("utf-8", "replace")
        if self._audit.content == "none":
            return
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            if line.startswith(b"data:") and line[5:].strip().startswith(b"{"):
                self._take(line[5:])

    def read(self, body: dict[str, Any]) -> None:
        """Look at an answer that is no stream."""
        self._model = str(body.get("model") or self._model)
        self._pieces += _texts(body)

    def end(self, outcome: str, prompt_tokens: int = 0, answer_tokens: int = 0, reason: str = "") -> None:
        """Record how it ended; `reason` is the code of what refused it."""
        facts: dict[str, Any] = {"endpoint": self._endpoint, "model": self._model, "outcome": outcome}
        facts |= {"prompt_tokens": prompt_tokens, "answer_tokens": answer_tokens, **why(reason), "asked": self._seq}
        texts = shown(self._audit.content, "answer", "".join(self._pieces))
        self._audit.write_late("completion", **self._who, **facts, **texts)

    def _take(self, data: bytes) -> None:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict):
            self._pieces += _texts(event)


def _question(content: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the last thing that was said, and where more was sent, all of it."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        prompt = body.get("prompt", "")
        return shown(content, "question", prompt if isinstance(prompt, str) else _canonical(prompt))
    last = next((each for each in reversed(messages) if isinstance(each, dict) and each.get("role") == "user"), {})
    said = last.get("content", "")
    facts: dict[str, Any] = dict(shown(content, "question", said if isinstance(said, str) else _canonical(said)))
    if len(messages) > 1 and content == "full":
        facts["messages"] = messages
    elif len(messages) > 1 and content == "digest":
        facts["messages_sha256"] = sha256(_canonical(messages))
    return facts


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _texts(event: dict[str, Any]) -> Iterator[str]:
    """Yield the text of an answer, or of a piece of one; of several choices, one after the other."""
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        parts = (choice, choice.get("delta"), choice.get("message")) if isinstance(choice, dict) else ()
        for part in parts:
            if isinstance(part, dict):
                yield from (part[name] for name in ("content", "text") if isinstance(part.get(name), str))
