"""From a request's events to the client: one body, or OpenAI's server-sent events.

Everything that can fail with a status does so before the first byte. A client that goes away is noticed wherever its
request stands, waiting, starting or streaming, and frees the engine. One that waits hears its place in comments:
they are no events, so that every client passes over them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.engine.choices import Choices
from service.engine.errors import RequestError
from service.engine.jobs import Ended, Event, Finished, Started, Waiting
from service.engine.replies import Reply, comment, event

# nginx's status for a client that went away: nobody reads it.
CLIENT_GONE = 499


class Answer:
    """One admitted request and the ways to deliver it; `withdraw` frees the engine of it."""

    def __init__(self, events: AsyncIterator[Event], withdraw: Callable[[], None]) -> None:
        self._events = events
        self._withdraw = withdraw

    async def whole(self, request: Request, reply: Reply, choices: Choices) -> Response:
        return await self._while_connected(request, self._collect(reply, choices))

    async def stream(self, request: Request, reply: Reply, choices: Choices) -> Response:
        async def begin() -> Response:
            # What fails before this fails with a status.
            first = await anext(self._events)
            return EventStream(self._lines(first, Frames(reply, choices)), self._withdraw)

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

    async def _collect(self, reply: Reply, choices: Choices) -> Response:
        async for item in self._events:
            if isinstance(item, Finished):
                return JSONResponse(reply.whole(choices.all, item))
            for _ in choices.note(item):
                pass
        raise AssertionError("events end with Finished or an error")

    async def _lines(self, first: Event, frames: "Frames") -> AsyncIterator[bytes]:
        """Frame the events as OpenAI's stream, with an end mark after a whole answer."""
        try:
            for line in frames.of(first):
                yield line
            async for item in self._events:
                for line in frames.of(item):
                    yield line
        except RequestError as error:
            # Too late for a status. No end mark either: what came is not an answer.
            yield event(error.body)
            return
        yield event("[DONE]")


class Frames:
    """The events of one stream as they go over the wire."""

    def __init__(self, reply: Reply, choices: Choices) -> None:
        self._reply = reply
        self._choices = choices
        self._held: dict[str, Any] = {}

    def of(self, item: Event) -> Iterator[bytes]:
        if isinstance(item, Waiting):
            yield comment("waiting", {"position": item.position, "wait_s": round(item.wait_s)})
        elif isinstance(item, Started):
            yield from map(event, self._reply.opening(self._choices.all))
        elif isinstance(item, Finished):
            yield from map(event, self._reply.closing(self._held, item))
        else:
            yield from map(event, self._chunks(item))

    def _chunks(self, item: Event) -> Iterator[dict[str, Any]]:
        for choice, part in self._choices.note(item):
            chunk = self._reply.part(choice, part)
            if isinstance(part, Ended):
                # The last end is told together with what only Finished knows, which follows at once.
                self._held, chunk = chunk, self._held
            if chunk:
                yield chunk


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
