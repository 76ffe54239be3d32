"""An engine's stand-in for `python -m benchmarks web`: so many tokens a second for each stream, each with its moment.

In: the path of a unix socket; of a request only its `stream_options` and its last question, a number of tokens. Out:
server-sent events as the engine sends them. One process, cheap enough that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

RATE = 20.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ABOUT = b'"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stand-in"'
EVENT = b"data: {" + ABOUT + b', "choices": [%s]}\n\n'
CHOICE = b'{"index": 0, "delta": %s, "finish_reason": %s}'
TOKEN = CHOICE % (b'{"content": "@%.6f "}', b"null")
FIRST = EVENT % (CHOICE % (b'{"role": "assistant", "content": ""}', b"null"))
LAST = EVENT % (CHOICE % (b"{}", b'"stop"')) + b"data: [DONE]\n\n"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"


class Stream(asyncio.Protocol):
    """One connection: one request."""

    def __init__(self) -> None:
        self._data = b""
        self._handle: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        if self._handle:
            self._handle.cancel()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not found or (length and len(body) < int(length[1])):
            return
        self._data = b""
        if head.startswith(b"GET"):
            self._tell(head)
            return
        self._left = int(json.loads(body)["messages"][-1]["content"])
        self._due = self._loop.time()
        self._transport.write(HEAD + _chunk(FIRST))
        self._next()

    def _tell(self, head: bytes) -> None:
        known = {"status": "ok", "model": "stand-in"} if b"/health" in head else {"data": [{"id": "stand-in"}]}
        body = json.dumps(known).encode()
        self._transport.write(JSON % (len(body), body))
        self._transport.close()

    def _next(self) -> None:
        if not self._left:
            self._transport.write(_chunk(LAST) + _chunk(b""))
            return
        self._left -= 1
        self._transport.write(_chunk(EVENT % (TOKEN % time.monotonic())))
        self._due += 1 / RATE
        self._handle = self._loop.call_at(self._due, self._next)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(path: str) -> None:
    """Serve until this process is ended."""
    server = await asyncio.get_running_loop().create_unix_server(Stream, path, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
