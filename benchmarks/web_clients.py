"""Hundreds of clients of the web in one process: requests come in, when each token arrived goes out.

A token carries the moment at which it was made (benchmarks.token_engine), by the clock that all processes of a machine
share. Beside those that read there are clients that only sit there, that send their request a byte at a time, and that
never read what they asked for.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

STAMP = re.compile(rb"@(\d+\.\d{6}) ")
PATIENCE_S = 120


@dataclass
class Seen:
    """What one stream brought: how late each token was, in seconds, and whether it ended as it should."""

    delays: list[float] = field(default_factory=list)
    is_whole: bool = False


class Reading(asyncio.Protocol):
    """Sends a request and reads its answer until `mark` stands in it."""

    def __init__(self, request: bytes, mark: bytes, is_over: asyncio.Future[None]) -> None:
        self.seen = Seen()
        self._request = request
        self._mark = mark
        self._is_over = is_over
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._rest + data
        end = 0
        for found in STAMP.finditer(data):
            self.seen.delays.append(now - float(found[1]))
            end = found.end()
        self._rest = data[max(end, len(data) - 400) :]
        if self._mark in self._rest:
            self.seen.is_whole = True
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._is_over.done():
            self._is_over.set_result(None)


async def read_all(
    address: tuple[str, int] | str, requests: Sequence[bytes], mark: bytes, spread_s: float
) -> list[Seen]:
    """Send the requests within `spread_s` and read every answer to its end."""

    async def one(number: int, request: bytes) -> Seen:
        await asyncio.sleep(spread_s * number / len(requests))
        loop = asyncio.get_running_loop()
        is_over = loop.create_future()
        protocol = await _connect(address, lambda: Reading(request, mark, is_over))
        await asyncio.wait_for(is_over, PATIENCE_S)
        return protocol.seen

    return list(await asyncio.gather(*(one(number, request) for number, request in enumerate(requests))))


async def _connect(address: tuple[str, int] | str, factory: Callable[[], Reading]) -> Reading:
    loop = asyncio.get_running_loop()
    if isinstance(address, str):
        return (await loop.create_unix_connection(factory, address))[1]
    return (await loop.create_connection(factory, *address))[1]


class Idle:
    """Connections that stay open between two requests, as a browser's do."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self._address = address
        self._request = request
        self._pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self, count: int) -> int:
        """Open so many; return how many were answered."""
        for _ in range(count):
            self._pairs.append(await asyncio.open_connection(*self._address))
        return await self.ask()

    async def ask(self) -> int:
        """Ask on each, one after the other; return how many were answered with 200."""
        answered = 0
        for number, (reader, writer) in enumerate(self._pairs):
            try:
                answered += await _asked(reader, writer, self._request)
            except (OSError, EOFError):  # closed meanwhile; a browser opens another
                self._pairs[number] = reader, writer = await asyncio.open_connection(*self._address)
                answered += await _asked(reader, writer, self._request)
        return answered

    def close(self) -> None:
        for _, writer in self._pairs:
            writer.close()


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    await reader.readexactly(int(length[1]) if length else 0)
    return head.startswith(b"HTTP/1.1 200")


async def loris(address: tuple[str, int], request: bytes, every_s: float = 0.5) -> None:
    """Send a request a byte at a time, and begin anew when the server has had enough, until cancelled."""
    while True:
        _, writer = await asyncio.open_connection(*address)
        try:
            for byte in request:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(every_s)
        except OSError:
            continue
        finally:
            writer.close()


async def deaf(address: tuple[str, int], request: bytes) -> None:
    """Ask for an answer and read nothing of it, until cancelled."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, *address)
    transport.pause_reading()
    transport.write(request)
    try:
        await asyncio.sleep(3600)
    finally:
        transport.abort()
