"""The way to the engine: a JSON request goes in, an answer whose body is still to come goes out.

Speaks to the unix socket of this server's engine, or to the OpenAI-compatible server that `[engine] url` names. What
the answers mean is left to service.web.chat and service.web.openai_api.

An answer can be cancelled from another thread (a greenlet under gevent) at any moment, also before its head has come:
that shuts the socket down, which the engine sees at once. So each request has a connection of its own.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import httpx

from service import sockets
from service.config import Config
from service.web import sse
from service.web.sse import BrokenStream

CONNECT_TIMEOUT_S = 5
HEALTH_TIMEOUT_S = 5
# On top of the queue's own limit: what a prefill of a full context may take until the first byte.
FIRST_BYTE_GRACE_S = 120


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
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # already closed

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Learn the connection's socket: https://www.python-httpx.org/advanced/extensions/#trace."""
        if event.startswith("connection.connect_") and event.endswith(".complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_set:
                self.set()

    def error(self) -> EngineAway | Cancelled:
        """Return what whoever waits for the answer is to be told."""
        return EngineAway(self._reason) if self._reason else Cancelled()


class Answer:
    """The engine's answer to one request: its head has come, its body is read once. Close it in any case."""

    def __init__(self, response: httpx.Response, cancel: Cancel) -> None:
        self._response = response
        self._cancel = cancel
        self.status = response.status_code
        self.headers = response.headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises: EngineAway, Cancelled."""
        with _failures(self._cancel):
            yield from self._response.iter_raw()
        if self._cancel.is_set:  # a body without a length ends as if it were whole
            raise self._cancel.error()

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON of each server-sent event up to [DONE]. Raises: EngineAway when that never comes."""
        try:
            yield from sse.events(self.chunks())
        except BrokenStream as error:
            raise EngineAway(f"the engine was lost: {error}") from error

    def close(self) -> None:
        self._response.close()


class EngineClient:
    """Requests to one engine."""

    def __init__(self, config: Config, socket_path: Path) -> None:
        self.is_local = not config.engine.url
        self._base = config.engine.url.rstrip("/") or "http://engine/v1"
        self._socket_path = socket_path
        # Those of answers that nobody holds any more leave by themselves.
        self._cancels: WeakSet[Cancel] = WeakSet()
        self._closing = ""
        timeout = config.queue.timeout_s + FIRST_BYTE_GRACE_S
        self._client = httpx.Client(
            transport=self._transport(),
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT_S),
            trust_env=False,  # a proxy in the environment has no business between these two
        )

    def post(self, path: str, body: dict[str, Any], user: str, cancel: Cancel) -> Answer:
        """Send a request and wait for the head of its answer. Raises: EngineAway, Cancelled."""
        if not self.is_local and body.get("model") == "default":
            body = {**body, "model": self._remote_model()}
        request = self._client.build_request(
            "POST",
            f"{self._base}/{path}",
            content=json.dumps(body).encode(),  # ASCII: a lone surrogate in somebody's question must not fail here
            headers={"Content-Type": "application/json", "X-Ferry-User": user, "Accept-Encoding": "identity"},
            extensions={"trace": cancel.trace},
        )
        if self._closing:
            raise EngineAway(self._closing)
        self._cancels.add(cancel)
        with _failures(cancel):
            return Answer(self._client.send(request, stream=True), cancel)

    def models(self) -> dict[str, Any]:
        """Return the engine's list of models. Raises: EngineAway."""
        response = self._get(f"{self._base}/models")
        if response.status_code != 200:
            raise EngineAway(_reason(response))
        try:
            return sse.json_object(response.content)
        except BrokenStream as error:
            raise EngineAway(str(error)) from error

    def health(self) -> Health:
        """Ask whether the engine can answer now."""
        try:
            if not self.is_local:
                return Health(True, model=self._remote_model())
            response = self._get("http://engine/health")
        except EngineAway as error:
            return Health(False, str(error))
        if response.status_code != 200:
            return Health(False, _reason(response))
        return Health(True, model=_told(response, "model"))

    def end_all(self, reason: str) -> None:
        """End what is being answered and begin nothing more; every client is told the reason."""
        self._closing = reason
        for cancel in list(self._cancels):
            cancel.set(reason)

    def close(self) -> None:
        self._client.close()

    def _get(self, url: str) -> httpx.Response:
        with _failures(Cancel()):
            return self._client.get(url, timeout=HEALTH_TIMEOUT_S)

    def _remote_model(self) -> str:
        """Ask another server what it has loaded: only our own engine knows the name `default`."""
        models = self.models().get("data")
        if not (isinstance(models, list) and models and isinstance(models[0], dict)):
            raise EngineAway("the engine lists no model")
        return str(models[0].get("id", ""))

    def _transport(self) -> httpx.HTTPTransport:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        if not self.is_local:
            return httpx.HTTPTransport(limits=limits)
        return httpx.HTTPTransport(limits=limits, uds=sockets.short(self._socket_path))


def _reason(response: httpx.Response) -> str:
    return _told(response, "reason") or f"the engine answered with status {response.status_code}"


def _told(response: httpx.Response, name: str) -> str:
    try:
        return str(sse.json_object(response.content).get(name) or "")
    except BrokenStream:
        return ""


@contextmanager
def _failures(cancel: Cancel) -> Iterator[None]:
    """Turn what the HTTP library raises into EngineAway or Cancelled."""
    try:
        yield
    except Exception as error:
        if cancel.is_set:  # whatever it was: its socket was shut down under it
            raise cancel.error() from error
        if isinstance(error, (httpx.HTTPError, OSError)):
            raise EngineAway(_words(error)) from error
        raise


def _words(error: Exception) -> str:
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return "the engine is not running"
    if isinstance(error, httpx.TimeoutException):
        return "the engine did not answer in time"
    return "the engine was lost"
