"""From a job's events to the client: one body, or OpenAI's server-sent events.

Everything that can fail with a status does so before the first byte. A client that goes away is noticed wherever its
request stands, waiting, starting or streaming, and frees the engine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.engine.errors import RequestError
from service.engine.jobs import Ended, Event, Failed, Finished, Piece, Waiting
from service.engine.replies import Reply, event

# nginx's status for a client that went away: nobody reads it.
CLIENT_GONE = 499


class Inbox:
    """Brings a job's events from the decoder's thread into the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, item: Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, item)

    async def get(self) -> Event:
        """Raises: RequestError when the job failed."""
        item = await self._events.get()
        if isinstance(item, Failed):
            raise item.error
        return item


class Answer:
    """One admitted request and the ways to deliver it; `withdraw` frees the engine of it."""

    def __init__(self, inbox: Inbox, withdraw: Callable[[], None], timeout_s: int) -> None:
        self._inbox = inbox
        self._withdraw = withdraw
        self._timeout_s = timeout_s

    async def whole(self, request: Request, reply: Reply) -> Response:
        return await self._while_connected(request, self._collect(reply))

    async def stream(self, request: Request, reply: Reply) -> Response:
        async def begin() -> Response:
            await self._wait_for_start()
            return EventStream(self._events(reply), self._withdraw)

        return await self._while_connected(request, begin())

    async def _while_connected(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        """Wait for `work` as long as the client does."""
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
        response: Response | None = None
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            response = task.result() if task.done() else Response(status_code=CLIENT_GONE)
        finally:
            task.cancel()
            gone.cancel()
            if not isinstance(response, EventStream):
                self._withdraw()
        return response

    async def _wait_for_start(self) -> None:
        while isinstance(await self._inbox.get(), Waiting):
            pass

    async def _collect(self, reply: Reply) -> Response:
        await self._wait_for_start()
        pieces = []
        while isinstance(item := await self._inbox.get(), Piece):
            pieces.append(item.text)
        assert isinstance(item, Ended)
        end = await self._inbox.get()
        assert isinstance(end, Finished)
        return JSONResponse(reply.whole("".join(pieces), item.reason, end.usage))

    async def _events(self, reply: Reply) -> AsyncIterator[bytes]:
        """OpenAI's stream: the role, the pieces, the reason, the counts where asked for, and the end mark."""
        if first := reply.first():
            yield event(first)
        try:
            while isinstance(item := await self._inbox.get(), Piece):
                yield event(reply.piece(item.text))
        except RequestError as error:
            # Too late for a status. No end mark either: what came is not an answer.
            yield event(error.body)
            return
        assert isinstance(item, Ended)
        yield event(reply.last(item.reason))
        end = await self._inbox.get()
        assert isinstance(end, Finished)
        if reply.include_usage:
            yield event(reply.counts(end.usage))
        yield event("[DONE]")


class EventStream(StreamingResponse):
    """A stream of events that calls `on_end` however it ends, also when it never began."""

    def __init__(self, content: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
