"""How often, and after which pauses, something is asked again that a network or a server may refuse once."""

TRIES = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LONGEST_WISH_S = 60.0


class Tries:
    """Counts failures in a row; the pause between them doubles."""

    def __init__(self, tries: int = TRIES) -> None:
        self._tries = tries
        self._failures = 0

    def begin_again(self) -> None:
        """Forget the failures so far: since then something has worked."""
        self._failures = 0

    def pause_s(self, error: Exception, wish_s: float | None = None) -> float:
        """Return how long to wait before the next try; a server's own wish (Retry-After) counts within bounds.

        Raises:
            error: there is no next try.
        """
        self._failures += 1
        if self._failures >= self._tries:
            raise error
        doubled = FIRST_PAUSE_S * 2.0 ** (self._failures - 1)
        return min(max(wish_s or 0.0, doubled), LONGEST_WISH_S if wish_s else LONGEST_PAUSE_S)
