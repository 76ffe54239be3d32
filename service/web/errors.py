"""What can go wrong in the web tier, grouped by who has to act.

`Refusal` answers a request with a status code; `AdminError` ends an admin command. How they look is left to
service.web.app and service.web.admin.
"""

from __future__ import annotations

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
}


class Refusal(Exception):
    """An answer with an error status, in the shape that OpenAI's clients understand."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.param = param

    def body(self) -> dict[str, object]:
        """Return the error object: https://platform.openai.com/docs/guides/error-codes."""
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class AdminError(Exception):
    """An admin command cannot be done: what is wrong, and what to do next."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
