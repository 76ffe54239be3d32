"""One request on its way through the engine: the `Work` to decode, and the events its client hears of it.

They are told in this order: `Waiting` while queued, `Started`, for each choice its `Piece`s and its `Ended`, and at
last `Finished`; or `Failed` at any point.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.engine.errors import Cancelled, RequestError
from service.engine.grammar import GrammarSpec
from service.engine.sampling import Sampling


@dataclass(frozen=True)
class Waiting:
    """The job is in the queue: as number `position`, 1 being the next, for another `wait_s` or so."""

    position: int
    wait_s: float


@dataclass(frozen=True)
class Started:
    """The job left the queue."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token and the natural logarithm of its chance; `top` are the likeliest in its place, where they were asked for.

    `raw` are the token's bytes: it may be a part of a character.
    """

    text: str
    logprob: float
    raw: bytes
    top: "tuple[TokenLogprob, ...]" = ()


@dataclass(frozen=True)
class Piece:
    """A piece of the choice `index`, and what is known of its tokens where that was asked for."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Ended:
    """The choice `index` is whole: `reason` is OpenAI's finish_reason."""

    index: int
    reason: str


@dataclass(frozen=True)
class Usage:
    """Tokens of the prompt (once, whatever the choices), of all choices, and of the prompt found in a cache."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """What took how long, in llama-server's terms: reading the prompt's new tokens, and writing the answer's."""

    cached_tokens: int
    prompt_tokens_processed: int
    prompt_s: float
    predicted_tokens: int
    predicted_s: float


@dataclass(frozen=True)
class Finished:
    """Every choice is whole."""

    usage: Usage
    timings: Timings


@dataclass(frozen=True)
class Failed:
    """There will be no more of this answer."""

    error: RequestError


Event = Waiting | Started | Piece | Ended | Finished | Failed


@dataclass(frozen=True)
class Work:
    """What is to be decoded: `choices` answers to one prompt, each of at most `max_tokens`."""

    prompt: tuple[int, ...]
    sampling: Sampling
    max_tokens: int
    stops: tuple[str, ...] = ()
    choices: int = 1
    grammar: GrammarSpec | None = None


class Job:
    """One request on its way: `emit` is called with its events, mostly from the decoder's thread.

    `user` and `conversation` are whose it is, "" where the request does not say; `per_user` is how many such requests
    that user may have at once, 0 for as many as the settings say.
    """

    def __init__(
        self, work: Work, user: str, conversation: str, emit: Callable[[Event], None], per_user: int = 0
    ) -> None:
        self.work = work
        self.user = user
        self.per_user = per_user
        self.conversation = conversation
        self.arrived_s = time.monotonic()
        self.withdrawn_s = 0.0
        self._emit = emit
        self._telling = threading.Lock()
        self._is_over = False
        self._is_withdrawn = threading.Event()
        self._error: RequestError | None = None

    def emit(self, event: Event) -> None:
        """Tell the client, unless it was told the end already."""
        with self._telling:
            if not self._is_over:
                self._is_over = isinstance(event, Finished | Failed)
                self._emit(event)

    @property
    def is_withdrawn(self) -> bool:
        return self._is_withdrawn.is_set()

    def withdraw(self, error: RequestError | None = None) -> None:
        """End the work before its next step; `error` tells a client who is still there why."""
        if not self.is_withdrawn:
            self._error = error
            self.withdrawn_s = time.monotonic()
            self._is_withdrawn.set()

    def check(self) -> None:
        """Raises: Cancelled when the work is to end."""
        if self.is_withdrawn:
            raise Cancelled

    def give_up(self) -> None:
        """Tell the client why the work ended, if it was not the client who ended it."""
        if self._error:
            self.emit(Failed(self._error))
