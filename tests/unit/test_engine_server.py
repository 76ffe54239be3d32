"""A signal ends the engine, whatever else its event loop has to do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from service.engine.server import set_on_signals

# More than the pipe holds by which other threads wake the loop.
WAKE_UPS = 5000


@pytest.fixture
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("handlers")
def test_no_signal_is_lost_behind_a_flood_of_tokens(number: signal.Signals) -> None:
    async def flooded() -> bool:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        set_on_signals(stop)
        for _ in range(WAKE_UPS):
            loop.call_soon_threadsafe(lambda: None)
        signal.raise_signal(number)
        return await asyncio.wait_for(stop.wait(), 30)

    assert asyncio.run(flooded())
