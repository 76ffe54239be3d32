"""A small engine without a model: a real HTTP server on a unix socket that speaks the engine's protocol.

What it does is chosen by the question's first word:

    echo TEXT     answers TEXT, a word at a time            slow N       N pieces, one every 50 ms
    die           three pieces, then the socket closes      fail         three pieces, then an error event
    busy          429 with Retry-After                      long         400 context_length_exceeded, unless alone
    prefill       the head of the answer, then nothing      wait N       waits N places of the queue, then one word
    tale N        N paragraphs in two pieces each, one every 50 ms
    flood N       N pieces of 64 KiB at once
    anything      "The answer to … is 42."

It counts the clients that left before their answer had ended.
"""

from __future__ import annotations

import json
import re
import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from service import sockets

MODEL = "fake-model"
SLOW_S = 0.05
FLOOD = 65_535 * "x" + " "
METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="fake-model"} 2
vllm:num_requests_waiting{model_name="fake-model"} 1
vllm:generation_tokens_total{model_name="fake-model"} 1200
vllm:prompt_tokens_total{model_name="fake-model"} 3400
vllm:kv_cache_usage_perc{model_name="fake-model"} 0.25
process_resident_memory_bytes 1073741824
"""


class ClientGone(Exception):
    pass


class FakeEngine:
    """The engine's state as a test sees and sets it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = METRICS
        self.health: tuple[int, dict[str, str]] = (200, {"status": "ok", "model": MODEL})
        self.answers: dict[str, str] = {}  # to questions that are to have one of their own
        self.requests: list[dict[str, Any]] = []
        self.users: list[str] = []
        self.conversations: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.gone_at: list[float] = []
        self.finished = 0
        self._server: _Server | None = None

    def start(self) -> None:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Go away like a process that ends: no listener, no socket file, every connection closed."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.drop_clients()
            self.path.unlink(missing_ok=True)
            self._server = None

    def wait_until_gone(self, count: int = 1, timeout_s: float = 10) -> float:
        """Wait until so many clients have left early. Returns when the last one did (time.monotonic)."""
        deadline = time.monotonic() + timeout_s
        while len(self.gone_at) < count:
            assert time.monotonic() < deadline, f"{len(self.gone_at)} of {count} clients left"
            time.sleep(0.01)
        return self.gone_at[count - 1]


@contextmanager
def running(path: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(path)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


class _Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__(str(engine.path), _Handler)
        self.engine = engine
        self.socket = sockets.listen(engine.path)
        self._clients: set[socket.socket] = set()

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> tuple[socket.socket, str]:
        client, _ = self.socket.accept()
        self._clients.add(client)
        return client, "local"

    def shutdown_request(self, request: socket.socket) -> None:
        self._clients.discard(request)
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)
        request.close()

    def drop_clients(self) -> None:
        for client in list(self._clients):
            self.shutdown_request(client)

    def server_close(self) -> None:
        self.socket.close()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that left, or a test that stopped us


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            status, body = self.server.engine.health
            self._json(status, body)
        elif self.path == "/metrics":
            self._send(200, self.server.engine.metrics.encode(), {"Content-Type": "text/plain; version=0.0.4"})
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "ferry"}]})
        else:
            self._error(404, "not_found", "no such path")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        engine = self.server.engine
        engine.requests.append(body)
        engine.users.append(self.headers.get("X-Ferry-User", ""))
        engine.conversations.append(self.headers.get("X-Ferry-Conversation", ""))
        engine.headers.append(dict(self.headers))
        try:
            self._answer(body)
            engine.finished += 1
        except (ClientGone, BrokenPipeError, ConnectionResetError):
            engine.gone_at.append(time.monotonic())
            self.close_connection = True

    def _answer(self, body: dict[str, Any]) -> None:
        question = question_of(body)
        if question is None:
            return self._error(400, "invalid_request", "messages or prompt: not what a request may have")
        word, _, rest = question.partition(" ")
        if question in self.server.engine.answers:
            word, rest = "echo", self.server.engine.answers[question]
        if word == "busy":
            return self._error(429, "queue_full", "The engine is busy.", {"Retry-After": "7"})
        if word == "long" and len(body.get("messages", ())) > 1:
            return self._error(400, "context_length_exceeded", "9000 tokens do not fit the context of 2048.")
        if body.get("model") not in (MODEL, "default"):
            return self._error(404, "model_not_found", f"no such model: {body.get('model')}")
        if not body.get("stream"):
            return self._whole(word, rest, question)
        options = body.get("stream_options")
        return self._stream(word, rest, question, isinstance(options, dict) and options.get("include_usage") is True)

    def _stream(self, word: str, rest: str, question: str, include_usage: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for place in range(int(rest), 0, -1) if word == "wait" else ():
            self._chunk(b': waiting {"position": %d, "wait_s": %.1f}\n\n' % (place, 2.5 * place))
            self._pause(SLOW_S)
        self._event({"role": "assistant", "content": ""})
        if word == "prefill":
            self._pause(60)
        for number, piece in enumerate(pieces(word, rest, question)):
            if word == "die" and number == 3:
                self.close_connection = True
                return
            if word == "fail" and number == 3:
                self._chunk(b'data: {"error": {"message": "out of memory", "type": "server_error"}}\n\n')
                break
            self._event({"content": piece})
            self._pause(SLOW_S if word in {"slow", "tale", "die"} else 0)
        timings = {"cache_n": 64, "prompt_n": 36, "predicted_n": 20, "predicted_per_second": 12.34}
        told = {} if include_usage else {"timings": timings}
        self._event({}, "length" if word == "slow" and rest == "3" else "stop", **told)
        if include_usage:
            cached = {"prompt_tokens_details": {"cached_tokens": 64}}
            usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **cached}
            chunk = {"choices": [], "usage": usage, "timings": timings}
            self._chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _whole(self, word: str, rest: str, question: str) -> None:
        text = ""
        self._pause(60 if word == "prefill" else 0)
        for piece in pieces(word, rest, question):
            self._pause(SLOW_S if word in {"slow", "tale", "die"} else 0)
            text += piece
        if word == "die":
            self.close_connection = True
            return
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
        self._json(200, {**head, "choices": [choice], "usage": usage})

    def _event(self, delta: dict[str, str], finish_reason: str | None = None, **told: object) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        self._chunk(
            b"data: " + json.dumps({**head, "choices": [choice], **told}, ensure_ascii=False).encode() + b"\n\n"
        )

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _pause(self, seconds: float) -> None:
        """Wait, and notice a client that leaves meanwhile."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ClientGone

    def _error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self._json(status, {"error": {"message": message, "type": "error", "param": None, "code": code}}, headers)

    def _json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def question_of(body: object) -> str | None:
    """Return what is asked, None where that is no text."""
    try:
        found = body["messages"][-1]["content"] if "messages" in body else body["prompt"]  # type: ignore[index,operator]
    except (LookupError, TypeError):
        return None
    return found if isinstance(found, str) else None


def pieces(word: str, rest: str, question: str) -> Iterator[str]:
    """Yield the answer to a question in the pieces that a model would."""
    if word == "echo":
        yield from re.findall(r"\s*\S+|\s+$", rest)
    elif word == "slow":
        yield from (f"piece {number} " for number in range(int(rest)))
    elif word == "tale":
        yield from (
            f"{name} {number}.{gap}" for number in range(int(rest)) for name, gap in (("Line", " "), ("End", "\n\n"))
        )
    elif word == "flood":
        yield from (FLOOD for _ in range(int(rest)))
    elif word == "wait":
        yield "here"
    elif word in {"die", "fail"}:
        yield from ("one ", "two ", "three ", "four ")
    else:
        yield from ("The answer ", "to ", f"**{question}** ", "is ", "42.")
