"""The benchmarks' clients vanish without a trace: what they leave open would be taken for the engine's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

from benchmarks.http_load import Load

CLIENTS, EVERY_S = 300, 1e-5


def test_who_vanishes_while_connecting_leaves_no_connection_open(tmp_path: Path) -> None:
    assert asyncio.run(left_open(tmp_path / "socket")) == 0


async def left_open(path: Path) -> int:
    """Let clients vanish at each of many moments; return how many connections a server that never answers still has."""
    connected: set[asyncio.StreamWriter] = set()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.add(writer)
        while await reader.read(1 << 16):
            pass
        connected.discard(writer)
        writer.close()

    async with await asyncio.start_unix_server(hear, path):
        load = Load(SimpleNamespace(socket=path))  # type: ignore[arg-type]  # a Load needs nothing else of an engine
        seen = [await load.ask("user", "Hello", 4, gone_after_s=number * EVERY_S) for number in range(CLIENTS)]
        assert all(one.is_cancelled for one in seen)
        for _ in range(100):
            if not connected:
                break
            await asyncio.sleep(0.01)
        left = len(connected)
        for writer in connected:
            writer.close()
    return left
