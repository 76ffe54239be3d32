"""Whether nobody reads another's words: conversations with secrets are held alone, then all at once, and compared.

In: a way to ask, which a test or `ferry selftest --privacy` gives. Out: a report. Each answer has to be the one given
alone, greedy or sampled, while others join, leave in mid-answer and push each other's caches out; and no secret may
turn up in a conversation that it does not belong to.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from service.config import Web
from service.web import selftest
from service.web.errors import AdminError
from service.web.selftest import HINT, message_of

CONVERSATIONS = 24
USERS = 4
TURNS = ("My code word is {secret}. Repeat the code word.", "What is my code word? Answer with the code word alone.")
MAX_TOKENS = 16
AT_ONCE = 8
# One in so many requests is left after its first piece.
LEAVING = 4
BUSY_S = 300
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "jetty", "kayak", "lagoon")


class Ask(Protocol):
    """Sends a request for one of the users in one of the conversations; a client that leaves gives no text."""

    def __call__(self, user: int, conversation: int, body: Mapping[str, Any], leave: bool, /) -> str: ...


@dataclass
class Conversation:
    """One user's talk: the same questions each time, so that its answers can be compared."""

    number: int
    secret: str = field(default_factory=lambda: f"{secrets.choice(WORDS)}-{secrets.randbelow(10**6):06}")
    alone: list[str] = field(default_factory=list)

    @property
    def user(self) -> int:
        return self.number % USERS

    def body(self, turn: int) -> dict[str, Any]:
        """Write the request of a turn; the turns before it stand in it with the answers given alone."""
        messages = []
        for index, text in enumerate(TURNS[: turn + 1]):
            messages.append({"role": "user", "content": text.format(secret=self.secret)})
            if index < turn:
                messages.append({"role": "assistant", "content": self.alone[index]})
        sampled = {"temperature": 1.0, "seed": self.number} if self.number // USERS % 2 else {"temperature": 0}
        return {"model": "default", "messages": messages, "max_tokens": MAX_TOKENS, **sampled}


@dataclass
class Report:
    """What was found: `leaked` and `differing` name conversations."""

    answers: int = 0
    left: int = 0
    repeated: int = 0
    leaked: set[int] = field(default_factory=set)
    differing: set[int] = field(default_factory=set)

    @property
    def is_ok(self) -> bool:
        return self.answers > 0 and not self.leaked and not self.differing


def examine(ask: Ask, go_on: Callable[[int], bool]) -> Report:
    """Hold the conversations alone once, then all at once, again while `go_on` says so of the rounds that are over."""
    conversations = [Conversation(number) for number in range(CONVERSATIONS)]
    report = Report()
    for conversation in conversations:
        for turn in range(len(TURNS)):
            text = ask(conversation.user, conversation.number, conversation.body(turn), False)
            conversation.alone.append(text)
            _judge(report, conversation, text, text, conversations)
    rounds = 0
    while rounds == 0 or go_on(rounds):
        _round(ask, conversations, report)
        rounds += 1
    return report


def _round(ask: Ask, conversations: Sequence[Conversation], report: Report) -> None:
    turns = [(conversation, turn) for conversation in conversations for turn in range(len(TURNS))]
    random.shuffle(turns)
    lock = threading.Lock()

    def hold(at: int, conversation: Conversation, turn: int) -> None:
        leave = at % LEAVING == 0
        text = ask(conversation.user, conversation.number, conversation.body(turn), leave)
        with lock:
            report.left += leave
            if not leave:
                _judge(report, conversation, text, conversation.alone[turn], conversations)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(hold, at, *one) for at, one in enumerate(turns)]
        for one in waiting:
            one.result()


def _judge(
    report: Report, conversation: Conversation, text: str, alone: str, conversations: Sequence[Conversation]
) -> None:
    report.answers += 1
    report.repeated += conversation.secret in text
    if text != alone:
        report.differing.add(conversation.number)
    if any(other.secret in text for other in conversations if other is not conversation):
        report.leaked.add(conversation.number)


class Service:
    """Asks this machine's web tier, each user with a key of its own."""

    def __init__(self, web: Web, keys: Sequence[str]) -> None:
        self._web = web
        self._keys = keys

    def __call__(self, user: int, _conversation: int, body: Mapping[str, Any], leave: bool, /) -> str:
        """Ask, and again while the queue is full. Raises: AdminError when the service is away or refuses."""
        deadline = time.monotonic() + BUSY_S
        try:
            with selftest.client(self._web) as client:
                while (text := self._try(client, user, body, leave)) is None:
                    if time.monotonic() > deadline:
                        raise AdminError("the queue stays full", "try again when fewer people ask")
                    time.sleep(1)
                return text
        except httpx.HTTPError as error:
            raise AdminError(
                f"{selftest.url_of(self._web)} does not answer: {error or type(error).__name__}", HINT
            ) from error

    def _try(self, client: httpx.Client, user: int, body: Mapping[str, Any], leave: bool) -> str | None:
        headers = {"Authorization": f"Bearer {self._keys[user]}", "Accept-Encoding": "identity"}
        address = "/v1/chat/completions"
        with client.stream("POST", address, json={**body, "stream": leave}, headers=headers) as response:
            if response.status_code == 429:
                return None
            if response.status_code != 200:
                raise AdminError(
                    f"the service answered with status {response.status_code}: {message_of(response)}", HINT
                )
            if leave:
                next(response.iter_raw(), b"")
                return ""
            response.read()
            return str(response.json()["choices"][0]["message"]["content"] or "")
