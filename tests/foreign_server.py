"""Another OpenAI-compatible server over TCP, as small as it can be: each test says what it answers.

`replies` are looked up by path: the bytes of a whole HTTP answer, or a function that writes to the connection. So a
test can send what no well-behaved library would. vLLM's and llama-server's own shapes are below.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Reply = bytes | Callable[[socket.socket], None]
CHAT = "/v1/chat/completions"


class ForeignServer:
    """What a test sets and sees."""

    def __init__(self, model: str = "Qwen/Qwen2.5-7B") -> None:
        self.replies: dict[str, Reply] = {"/v1/models": answer(200, models(model))}
        self.asked: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""


@contextmanager
def running(certificate: tuple[Path, Path] | None = None) -> Iterator[ForeignServer]:
    """Serve on a free port until the block ends; with `certificate` (its file, its key's) over TLS."""
    foreign = ForeignServer()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.foreign = foreign
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        foreign.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}/v1"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield foreign
        server.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32
    foreign: ForeignServer

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that left, or trusts nobody


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        foreign = self.server.foreign
        foreign.asked.append(self.path)
        foreign.headers.append(dict(self.headers))
        reply = foreign.replies.get(self.path, answer(404, {"detail": "Not Found"}))
        self.close_connection = True
        if isinstance(reply, bytes):
            self.connection.sendall(reply)
        else:
            reply(self.connection)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.foreign.requests.append(json.loads(self.rfile.read(length)))
        self.do_GET()


def models(name: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "vllm", "max_model_len": 2048}]}


def answer(status: int, body: object, **headers: str) -> bytes:
    """A whole HTTP answer: JSON, or a text as HTML."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    lines = [f"HTTP/1.1 {status} Words", f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + data


def stream(*events: object, is_cut: bool = False, end: str = "\n\n") -> bytes:
    """A chunked stream: dicts as data lines, texts as they are; a cut one has no last chunk."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines = [event if isinstance(event, str) else f"data: {json.dumps(event)}{end}" for event in events]
    chunks = [line.encode() for line in lines]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head.encode() + body + (b"" if is_cut else b"0\r\n\r\n")


def piece(text: str | None = None, reason: str | None = None, **delta: object) -> dict[str, Any]:
    """One chunk of a chat as vLLM sends it."""
    content = delta if text is None else {"content": text, **delta}
    choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": reason, "token_ids": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def error(status: int, message: str, kind: str = "BadRequestError") -> dict[str, Any]:
    """vLLM's error object: the code is the status."""
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def silence(connection: socket.socket) -> None:
    """Answer nothing, until the client leaves."""
    with suppress(OSError):
        connection.recv(1)
