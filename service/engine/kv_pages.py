"""Who owns which page of keys and values: a request comes in, the cache that its sequence runs on goes out.

A cache belongs to one conversation of one user and to nobody else, ever; without a conversation's id a request may
continue what the same user sent without one. At admission a sequence gets every page that it may come to need, so it
never runs out in mid-answer; what is lent out is never taken away. After an answer the pages that hold its tokens stay
with the conversation, until others need them: those used longest ago go first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from service.engine.decoding import PAGE_TOKENS, Pages


def count_pages(tokens: int) -> int:
    """Return how many pages so many tokens fill."""
    return -(-tokens // PAGE_TOKENS)


@dataclass(eq=False)
class Cache:
    """One conversation's pages, and the tokens whose keys and values lie in them from the first on."""

    user: str
    conversation: str
    pages: Pages = field(default_factory=Pages)
    tokens: list[int] = field(default_factory=list)


class Caches:
    """All pages of a decoder. Used from the decoder's thread alone."""

    def __init__(self, page_count: int) -> None:
        self._page_count = page_count
        self._free = list(range(page_count))
        # In the order of their last use, the oldest first.
        self._idle: list[Cache] = []

    @property
    def usage(self) -> float:
        """The share of all pages that running sequences hold, from 0 to 1; idle ones count as free, as in vLLM."""
        idle = sum(len(cache.pages.numbers) for cache in self._idle)
        return 1 - (len(self._free) + idle) / self._page_count

    def lend(self, user: str, conversation: str, prompt: Sequence[int], tokens: int) -> Cache | None:
        """Hand out a cache with room for so many tokens; what it holds already is a beginning of the prompt.

        At least the prompt's last token is left to be fed: its scores choose the first token of the answer.
        Returns: None while running sequences hold too many pages.
        """
        cache = self._find(user, conversation, prompt)
        needed = count_pages(tokens)
        if needed > len(self._free) + sum(len(idle.pages.numbers) for idle in self._idle):
            return None
        if cache is None:
            cache = Cache(user, conversation)
        else:
            self._idle.remove(cache)
        del cache.tokens[min(_common(cache.tokens, prompt), len(prompt) - 1) :]
        self._resize(cache, needed)
        return cache

    def give_back(self, cache: Cache) -> None:
        """Take back a lent cache; the pages with tokens stay with its conversation."""
        self._resize(cache, count_pages(len(cache.tokens)))
        if cache.tokens:
            self._idle.append(cache)

    def drop(self, cache: Cache) -> None:
        """Take back a lent cache whose content cannot be trusted."""
        cache.tokens.clear()
        self._resize(cache, 0)

    def _find(self, user: str, conversation: str, prompt: Sequence[int]) -> Cache | None:
        own = [idle for idle in self._idle if (idle.user, idle.conversation) == (user, conversation)]
        best = max(own, key=lambda idle: _common(idle.tokens, prompt), default=None)
        # Two requests without a conversation often share no more than their instructions: they are two conversations.
        if best and not conversation and 2 * _common(best.tokens, prompt) < len(best.tokens):
            return None
        return best

    def _resize(self, cache: Cache, count: int) -> None:
        numbers = cache.pages.numbers
        self._free += numbers[count:]
        del numbers[count:]
        missing = count - len(numbers)
        while len(self._free) < missing:
            self.drop(self._idle.pop(0))
        taken = self._free[len(self._free) - missing :]
        del self._free[len(self._free) - missing :]
        numbers += taken

    def held(self) -> Iterator[int]:
        """Yield the pages that lie free or idle, for those who check that none is lost."""
        yield from self._free
        for idle in self._idle:
            yield from idle.pages.numbers


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the tokens that both begin with."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
