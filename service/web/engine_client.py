"""The way to the engine: a JSON request goes in, an answer whose body is still to come goes out.

Speaks to the unix socket of this server's engine, or to the OpenAI-compatible server that `[engine] url` names. What
the answers mean is left to service.web.chat and service.web.openai_api.

An answer can be cancelled from another thread (a greenlet under gevent) at any moment, also before its head has come:
that shuts the socket down, which the engine sees at once. So each request has a connection of its own.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from weakref import WeakSet

from service.config import Config
from service.web import engine_connection, sse
from service.web.engine_address import Address
from service.web.engine_connection import Reply, Unreachable
from service.web.engine_errors import error_of, words_of
from service.web.sse import BrokenStream, Waiting

log = logging.getLogger(__name__)
HEALTH_TIMEOUT_S = 5
# On top of the queue's own limit: what a prefill of a full context may take until the first byte.
FIRST_BYTE_GRACE_S = 120
# How long another server is taken to have the model that it named; a 404 ends that at once.
MODEL_KNOWN_S = 60


class EngineAway(Exception):
    """The engine cannot be reached, or was lost in the middle of an answer."""


class Cancelled(Exception):
    """The answer was cancelled from this side."""


@dataclass(frozen=True)
class Health:
    is_ready: bool
    reason: str = ""
    model: str = ""


class Cancel:
    """Ends one request. Safe to call from anywhere, at any time, more than once."""

    def __init__(self) -> None:
        self.is_set = False
        self._reason = ""
        self._socket: socket.socket | None = None

    def set(self, reason: str = "") -> None:
        """End it; a client that is still there is told the reason."""
        self.is_set = True
        self._reason = self._reason or reason
        if self._socket is not None:
            try:
                # Not a TLS socket's own shutdown: whoever reads from it meanwhile would go on without decrypting.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # already closed

    def watch(self, connected: socket.socket) -> None:
        """Learn the request's socket."""
        self._socket = connected
        if self.is_set:
            self.set()

    def error(self) -> EngineAway | Cancelled:
        """Return what whoever waits for the answer is to be told."""
        return EngineAway(self._reason) if self._reason else Cancelled()


class Answer:
    """The engine's answer to one request: its head has come, its body is read once. Close it in any case."""

    def __init__(self, reply: Reply, cancel: Cancel, is_local: bool) -> None:
        self._reply = reply
        self._cancel = cancel
        self._is_local = is_local
        self.status = reply.status
        self.headers = reply.headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises: EngineAway, Cancelled."""
        with _failures(self._cancel, self._is_local):
            yield from self._reply.chunks()
        if self._cancel.is_set:  # a body without a length ends as if it were whole
            raise self._cancel.error()

    def read(self) -> bytes:
        return b"".join(self.chunks())

    @property
    def is_stream(self) -> bool:
        return str(self.headers.get("Content-Type", "")).startswith("text/event-stream")

    def events(self) -> Iterator[dict[str, Any] | Waiting]:
        """Yield what the answer's stream tells, up to its end. Raises: EngineAway when that never comes."""
        try:
            yield from sse.told(self.chunks())
        except BrokenStream as error:
            raise EngineAway(f"the engine was lost: {error}") from error

    def close(self) -> None:
        self._reply.close()


class EngineClient:
    """Requests to one engine."""

    def __init__(self, config: Config, socket_path: Path) -> None:
        """Raises: ConfigError when the key or the certificates for another server cannot be used."""
        self._address = Address.of(config.engine)
        self.is_local = self._address.is_local
        # Those of answers that nobody holds any more leave by themselves.
        self._cancels: WeakSet[Cancel] = WeakSet()
        self._closing = ""
        # What the administration page says of the engine's queue; None leaves that to the engine.
        self.per_user: Callable[[], int | None] = lambda: None
        self._model: tuple[str, float] | None = None
        self._way = self._address.way(socket_path)
        self._timeout_s = config.queue.timeout_s + FIRST_BYTE_GRACE_S

    def post(self, path: str, body: dict[str, Any], user: str, cancel: Cancel, conversation: str = "") -> Answer:
        """Send a request and wait for the head of its answer. Raises: EngineAway, Cancelled.

        `user` and `conversation` are told to our own engines alone.
        """
        if self.is_local or body.get("model") != "default":
            return self._send(path, body, user, cancel, conversation)
        name, is_fresh = self._remote_model()
        answer = self._send(path, {**body, "model": name}, user, cancel, conversation)
        if answer.status == 404:
            self._model = None
            if not is_fresh:  # it has another model now
                answer.close()
                return self.post(path, body, user, cancel, conversation)
        return answer

    def models(self) -> dict[str, Any]:
        """Return the engine's list of models. Raises: EngineAway."""
        answer, content = self._get(f"{self._address.base}/models")
        if answer.status != 200:
            raise EngineAway(_reason(answer.status, content, self.is_local))
        try:
            return sse.json_object(content)
        except BrokenStream as error:
            raise EngineAway(str(error)) from error

    def health(self) -> Health:
        """Ask whether the engine can answer now."""
        try:
            return self._local_health() if self.is_local else self._remote_health()
        except EngineAway as error:
            return Health(False, str(error))

    def metrics(self) -> str:
        """Return the engine's numbers in Prometheus' text format, "" where it has none. Raises: EngineAway."""
        answer, content = self._get(f"{self._address.root}/metrics")
        is_text = answer.headers.get("Content-Type", "").startswith("text/plain")
        return content.decode(errors="replace") if answer.status == 200 and is_text else ""

    def end_all(self, reason: str) -> None:
        """End what is being answered and begin nothing more; every client is told the reason."""
        self._closing = reason
        for cancel in list(self._cancels):
            cancel.set(reason)

    def _send(self, path: str, body: dict[str, Any], user: str, cancel: Cancel, conversation: str) -> Answer:
        if self._closing:
            raise EngineAway(self._closing)
        self._cancels.add(cancel)
        headers = {
            "Content-Type": "application/json",
            **self._address.headers(user, conversation, self.per_user()),
        }
        # ASCII: a lone surrogate in somebody's question must not fail here.
        content = json.dumps(body).encode()
        return self._ask(f"{self._address.base}/{path}", headers, cancel, self._timeout_s, content)

    def _get(self, url: str) -> tuple[Answer, bytes]:
        answer = self._ask(url, self._address.authorization(), Cancel(), HEALTH_TIMEOUT_S)
        try:
            return answer, answer.read()
        finally:
            answer.close()

    def _ask(
        self, url: str, headers: dict[str, str], cancel: Cancel, timeout_s: float, content: bytes | None = None
    ) -> Answer:
        with _failures(cancel, self.is_local):
            reply = engine_connection.ask(url, self._way, timeout_s, cancel.watch, headers, content)
            return Answer(reply, cancel, self.is_local)

    def _local_health(self) -> Health:
        answer, content = self._get(f"{self._address.root}/health")
        if answer.status != 200:
            return Health(False, _reason(answer.status, content, self.is_local))
        return Health(True, model=_told(content, "model"))

    def _remote_health(self) -> Health:
        """Ask another server for its models, and then, where it knows the question, whether they are loaded.

        Our engine, vLLM and llama-server have /health, another Ferry has /readyz, and a gateway has neither.
        """
        name = self._first_model()
        for path in ("health", "readyz"):
            answer, content = self._get(f"{self._address.root}/{path}")
            if answer.status == 503:
                return Health(False, _reason(answer.status, content, self.is_local))
            if answer.status == 200:
                break
        return Health(True, model=name)

    def _remote_model(self) -> tuple[str, bool]:
        """Return what another server has loaded, and whether it said so just now."""
        if self._model and time.monotonic() - self._model[1] < MODEL_KNOWN_S:
            return self._model[0], False
        name = self._first_model()
        self._model = (name, time.monotonic())
        return name, True

    def _first_model(self) -> str:
        models = self.models().get("data")
        if not (isinstance(models, list) and models and isinstance(models[0], dict)):
            raise EngineAway("the engine lists no model")
        return str(models[0].get("id", ""))


def _reason(status: int, content: bytes, is_local: bool) -> str:
    if not is_local and status in (401, 403):
        return "the server at [engine] url does not accept the key in [engine] api_key_file"
    if not is_local and status == 404:
        return "the server at [engine] url has no list of models there: most addresses end in /v1"
    words = _told(content, "reason") or words_of(error_of(content))
    return words or f"the engine answered with status {status}"


def _told(content: bytes, name: str) -> str:
    try:
        return str(sse.json_object(content).get(name) or "")
    except BrokenStream:
        return ""


@contextmanager
def _failures(cancel: Cancel, is_local: bool) -> Iterator[None]:
    """Turn what a connection raises into EngineAway or Cancelled."""
    try:
        yield
    except Exception as error:
        if cancel.is_set:  # whatever it was: its socket was shut down under it
            raise cancel.error() from error
        if isinstance(error, (HTTPException, OSError)):
            raise EngineAway(_words(error, is_local)) from error
        raise


def _words(error: Exception, is_local: bool) -> str:
    if _is_distrust(error):
        log.error("the engine's server is not trusted: %s", error)
        return "the server at [engine] url shows a certificate that is not trusted: see [engine] ca_file"
    if isinstance(error, Unreachable):
        return "the engine is not running" if is_local else "the server at [engine] url cannot be reached"
    if isinstance(error, TimeoutError):
        return "the engine did not answer in time"
    return "the engine was lost"


def _is_distrust(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
