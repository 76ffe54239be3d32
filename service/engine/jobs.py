"""One request on its way through the engine: the `Work` to decode, and the events its client hears of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from service.engine.errors import Cancelled, RequestError
from service.engine.replies import Usage
from service.engine.sampling import Sampling


@dataclass(frozen=True)
class TokenLogprob:
    """How likely a token was; `raw` are its bytes, which may be a part of a character, and `top` the likeliest ones."""

    text: str
    logprob: float
    raw: bytes
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True)
class Started:
    """The job left the queue."""


@dataclass(frozen=True)
class Piece:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The answer is whole: `reason` is OpenAI's finish_reason."""

    reason: str
    usage: Usage


@dataclass(frozen=True)
class Failed:
    """There will be no more of this answer."""

    error: RequestError


Event = Started | Piece | Finished | Failed


@dataclass(frozen=True)
class Work:
    """What is to be decoded."""

    prompt: tuple[int, ...]
    sampling: Sampling
    max_tokens: int
    stops: tuple[str, ...] = ()


class Job:
    """One request on its way: `emit` is called with its events, from the decoder's thread."""

    def __init__(self, work: Work, user: str, emit: Callable[[Event], None]) -> None:
        self.work = work
        self.user = user
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
