"""How an answer travels: what fails before the first event has a status, what fails later ends the stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starlette.requests import Request

from service.engine.choices import Choices
from service.engine.delivery import CLIENT_GONE, Answer
from service.engine.errors import RequestError, unavailable
from service.engine.jobs import Ended, Event, Finished, Piece, Started, Timings, Usage, Waiting
from service.engine.replies import Reply

FINISHED = Finished(Usage(3, 4), Timings(0, 3, 0.1, 4, 0.1))
WHOLE = [Started(), Piece(0, "text"), Ended(0, "stop"), FINISHED]
LATE = unavailable("the request has waited 5 s in the queue", "queue_timeout")


async def told(events: Sequence[Event | RequestError]) -> AsyncIterator[Event]:
    for item in events:
        if isinstance(item, RequestError):
            raise item
        yield item


class Client:
    """One client of one answer: what was sent to it, and how often the engine was freed of it."""

    def __init__(self, is_stream: bool = True, is_gone: bool = False) -> None:
        self.sent: list[Any] = []
        self.withdrawn = 0
        self._is_stream = is_stream
        self._is_gone = is_gone

    async def ask(self, events: AsyncIterator[Event]) -> int:
        """Deliver an answer. Returns: the status."""
        messages: asyncio.Queue[Any] = asyncio.Queue()
        if self._is_gone:
            messages.put_nowait({"type": "http.disconnect"})
        request = Request({"type": "http", "headers": []}, messages.get)
        answer = Answer(events, self._withdraw)
        deliver = answer.stream if self._is_stream else answer.whole
        response = await deliver(request, Reply("name", is_chat=True), Choices(1))
        await response({"type": "http", "headers": []}, messages.get, self._send)
        return response.status_code

    def ask_of(self, events: Sequence[Event | RequestError]) -> int:
        return asyncio.run(self.ask(told(events)))

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    def _withdraw(self) -> None:
        self.withdrawn += 1

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


def test_a_stream_ends_with_its_mark() -> None:
    client = Client()
    assert client.ask_of(WHOLE) == 200
    assert client.body.endswith("data: [DONE]\n\n")
    assert client.withdrawn == 1


@pytest.mark.parametrize("is_stream", [True, False])
def test_what_fails_before_the_first_event_fails_with_its_status(is_stream: bool) -> None:
    client = Client(is_stream)
    with pytest.raises(RequestError) as caught:
        client.ask_of([LATE])
    assert (caught.value, client.sent, client.withdrawn) == (LATE, [], 1)


def test_who_waits_gets_the_head_and_its_place_at_once() -> None:
    client = Client()
    assert client.ask_of([Waiting(2, 9.6), *WHOLE]) == 200
    comment, first = client.body.split("\n\n")[:2]
    assert comment == ': waiting {"position": 2, "wait_s": 10}'
    assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"


@pytest.mark.parametrize("before", [[Waiting(1, 5.0)], WHOLE[:2]])
def test_what_fails_after_the_head_ends_the_stream_with_an_error_and_no_mark(before: list[Event]) -> None:
    client = Client()
    assert client.ask_of([*before, LATE]) == 200
    last = client.body.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "queue_timeout"
    assert "[DONE]" not in client.body
    assert client.withdrawn == 1


def test_a_whole_answer_says_nothing_of_waiting() -> None:
    client = Client(is_stream=False)
    assert client.ask_of([Waiting(1, 5.0), *WHOLE]) == 200
    assert json.loads(client.body)["choices"][0]["message"]["content"] == "text"


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_is_gone_while_it_waits_frees_the_engine(is_stream: bool) -> None:
    async def never() -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Started()

    client = Client(is_stream, is_gone=True)
    assert asyncio.run(client.ask(never())) == CLIENT_GONE
    assert client.withdrawn == 1


def test_a_client_that_is_gone_in_mid_stream_frees_the_engine() -> None:
    async def stuck() -> AsyncIterator[Event]:
        yield Waiting(1, 5.0)
        await asyncio.Event().wait()

    async def leave(client: Client) -> None:
        answer = Answer(stuck(), client._withdraw)
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        request = Request({"type": "http", "headers": []}, inbox.get)
        response = await answer.stream(request, Reply("name", is_chat=True), Choices(1))
        going = asyncio.ensure_future(response({"type": "http", "headers": []}, inbox.get, client._send))
        while not client.body:
            await asyncio.sleep(0)
        inbox.put_nowait({"type": "http.disconnect"})
        await going

    client = Client()
    asyncio.run(leave(client))
    assert client.withdrawn == 1
