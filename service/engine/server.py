"""One engine's life: it listens, loads, serves, and ends within seconds when it is told to.

Paths and settings come in, an exit status goes out: 0 after SIGTERM or SIGINT, 1 when the engine itself ended.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from service.config import Config
from service.engine.app import create_app
from service.engine.scheduler import Scheduler
from service.engine.worker import Worker
from service.notify import notify
from service.paths import Paths, model_name
from service.sockets import listen

# Within the 5 s that a stop may take: first the running answer may end, then the last bytes may leave.
ANSWER_GRACE_S = 2.0
CONNECTION_GRACE_S = 1


class Server(uvicorn.Server):  # type: ignore[misc]  # mypy is told to skip uvicorn
    """uvicorn without its signal handling, which ends the process by the signal again instead of with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(paths: Paths, config: Config) -> int:
    """Serve until a signal comes or the engine fails. Raises: PathsError, SocketError."""
    name = model_name(paths)
    with listen(paths.socket) as server_socket:
        try:
            return asyncio.run(_serve(name, paths, config, server_socket))
        finally:
            with suppress(FileNotFoundError):
                paths.socket.unlink()


async def _serve(name: str, paths: Paths, config: Config, server_socket: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    scheduler = Scheduler(config.queue, config.engine.slots)
    worker = Worker(paths.model, paths.cache, config.engine, scheduler, lambda: _tell(loop, stop))
    server = _make_server(name, config, scheduler, worker)
    set_on_signals(stop)
    serving = asyncio.create_task(server.serve([server_socket]))
    worker.start()
    await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    is_failed = bool(worker.failure)
    notify("STOPPING=1")
    await asyncio.to_thread(scheduler.close, ANSWER_GRACE_S)
    server.should_exit = True
    await serving
    return int(is_failed)


def set_on_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set what the running loop waits for.

    The loop's own handlers would lose them: they hear of a signal through the pipe by which each token wakes the loop,
    and while that is full nothing gets in. A loop that sleeps looks at signals when it wakes: uvicorn's does so ten
    times a second.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _tell(loop, stop))


def _make_server(name: str, config: Config, scheduler: Scheduler, worker: Worker) -> Server:
    return Server(
        uvicorn.Config(
            create_app(name, config, scheduler, worker),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=CONNECTION_GRACE_S,
        )
    )


def _tell(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # The loop may have ended before the worker did.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stop.set)
