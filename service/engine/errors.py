"""What goes wrong with a request, in OpenAI's words: a status, and the error object of the body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


# Not frozen: contextlib sets the traceback of an exception that passes through it.
@dataclass(eq=False)
class RequestError(Exception):
    """A request that is answered with an error instead of a completion."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        kind = _KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


_KINDS = {429: "rate_limit_error"}


def invalid(message: str, param: str | None = None, code: str | None = None) -> RequestError:
    return RequestError(400, message, code, param)


def unavailable(message: str, code: str, retry_after_s: int = 5) -> RequestError:
    return RequestError(503, message, code, headers={"Retry-After": str(retry_after_s)})


class EngineError(Exception):
    """The engine cannot start; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Cancelled(Exception):
    """Nobody waits for this answer any more."""
