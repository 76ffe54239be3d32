"""One request on its way through the engine: the `Work` to decode, and the events its client hears of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from service.engine.errors import Cancelled, RequestError
from service.engine.grammar import GrammarSpec
from service.engine.sampling import Sampling


@dataclass(frozen=True)
class Waiting:
    """The job's place in the queue, from 1 on, and how long it may take until it starts."""

    position: int
    wait_s: float


@dataclass(frozen=True)
class Started:
    """The job left the queue."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token, how likely it was, and which others were; `raw` are its bytes."""

    text: str
    logprob: float
    raw: bytes
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True)
class Piece:
    """A piece of one of the answers."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Ended:
    """One of the answers is whole: `reason` is OpenAI's finish_reason."""

    index: int
    reason: str


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """What the work took: tokens found in the cache, tokens read, and tokens written."""

    cached_tokens: int
    prompt_tokens_processed: int
    prompt_s: float
    predicted_tokens: int
    predicted_s: float


@dataclass(frozen=True)
class Finished:
    """All answers are whole."""

    usage: Usage
    timings: Timings


@dataclass(frozen=True)
class Failed:
    """There will be no more of these answers."""

    error: RequestError


Event = Waiting | Started | Piece | Ended | Finished | Failed


@dataclass(frozen=True)
class Work:
    """What is to be decoded: `choices` answers to one prompt."""

    prompt: tuple[int, ...]
    sampling: Sampling
    max_tokens: int
    stops: tuple[str, ...] = ()
    choices: int = 1
    grammar: GrammarSpec | None = None


class Job:
    """One request on its way: `emit` is called with its events, from the decoder's thread."""

    def __init__(self, work: Work, user: str, conversation: str, emit: Callable[[Event], None]) -> None:
        self.work = work
        self.user = user
        self.conversation = conversation
        self.emit = emit
        self._is_withdrawn = threading.Event()
        self._error: RequestError | None = None

    def withdraw(self, error: RequestError | None = None) -> None:
        """End the work before its next step; `error` tells a client who is still there why."""
        self._error = error
        self._is_withdrawn.set()

    def check(self) -> None:
        """Raises: Cancelled when the work is to end."""
        if self._is_withdrawn.is_set():
            raise Cancelled

    def give_up(self) -> None:
        """Tell the client, once, why the work ended, if it was not the client who ended it."""
        error, self._error = self._error, None
        if error:
            self.emit(Failed(error))
