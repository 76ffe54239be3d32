"""The pages of keys and values: none is lost or lent twice, none goes to another conversation with its tokens."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.engine.decoding import PAGE_TOKENS
from service.engine.kv_pages import Cache, Caches, count_pages

PROMPT = list(range(1000, 1300))


def use(caches: Caches, user: str, conversation: str, tokens: list[int]) -> int:
    """Have a conversation read all of these tokens; give how many of them it had already."""
    cache = caches.lend(user, conversation, tokens, len(tokens))
    assert cache
    found = len(cache.tokens)
    cache.tokens[:] = tokens
    caches.give_back(cache)
    return found


def test_a_conversation_finds_what_it_had_read_up_to_where_it_forks() -> None:
    caches = Caches(20)
    assert use(caches, "ann", "c", PROMPT[:200]) == 0
    assert use(caches, "ann", "c", PROMPT[:250]) == 200
    assert use(caches, "ann", "c", [*PROMPT[:90], 1, 2, 3]) == 90


def test_the_last_token_of_a_prompt_is_always_left_to_be_read() -> None:
    caches = Caches(20)
    use(caches, "ann", "c", PROMPT)
    assert use(caches, "ann", "c", PROMPT) == len(PROMPT) - 1
    assert use(caches, "ann", "c", PROMPT[:100]) == 99


def test_a_user_without_a_conversation_continues_only_what_it_mostly_repeats() -> None:
    caches = Caches(40)
    use(caches, "ann", "", PROMPT[:200])
    assert use(caches, "ann", "", [*PROMPT[:80], *range(100)]) == 0
    assert use(caches, "ann", "", PROMPT[:210]) == 200
    assert use(caches, "ann", "c", PROMPT[:210]) == 0


def test_a_cache_that_is_in_use_is_nobody_elses() -> None:
    caches = Caches(20)
    use(caches, "ann", "c", PROMPT)
    first = caches.lend("ann", "c", PROMPT, 300)
    second = caches.lend("ann", "c", PROMPT, 300)
    assert first and second
    assert not {*first.pages.numbers} & {*second.pages.numbers}
    assert (len(first.tokens), len(second.tokens)) == (299, 0)


def test_the_conversation_that_was_used_longest_ago_is_forgotten_first() -> None:
    caches = Caches(3)
    for name in "abc":
        use(caches, "ann", name, PROMPT[:60])
    use(caches, "ann", "a", PROMPT[:61])
    use(caches, "ann", "d", PROMPT[:60])
    assert use(caches, "ann", "a", PROMPT[:62]) == 61
    assert use(caches, "ann", "b", PROMPT[:62]) == 0


def test_an_answer_that_was_shorter_than_allowed_gives_the_rest_back() -> None:
    caches = Caches(10)
    cache = caches.lend("ann", "c", PROMPT[:10], 10 * PAGE_TOKENS)
    assert cache and caches.usage == 1
    cache.tokens[:] = PROMPT[: PAGE_TOKENS + 1]
    caches.give_back(cache)
    assert len(cache.pages.numbers) == 2
    assert caches.usage == 0


def test_what_running_sequences_hold_is_never_taken() -> None:
    caches = Caches(4)
    running = caches.lend("ann", "c", PROMPT[:10], 3 * PAGE_TOKENS)
    assert running
    use(caches, "bob", "c", PROMPT[:10])
    assert caches.lend("eve", "c", PROMPT[:10], 2 * PAGE_TOKENS) is None
    # Nobody was put out for nothing.
    assert use(caches, "bob", "c", PROMPT[:20]) == 10


class Bookkeeping(RuleBasedStateMachine):
    """Random lending against the plainest account of it: a table of what each page's tokens belong to."""

    def __init__(self) -> None:
        super().__init__()
        self.caches = Caches(12)
        self.lent: list[Cache] = []

    @rule(
        user=st.sampled_from(["ann", "bob", ""]),
        conversation=st.sampled_from(["", "c", "d"]),
        length=st.integers(1, 400),
        fork=st.integers(0, 400),
        room=st.integers(0, 300),
    )
    def lend(self, user: str, conversation: str, length: int, fork: int, room: int) -> None:
        prompt = [place if place < fork else -place for place in range(length)]
        held = sum(len(cache.pages.numbers) for cache in self.lent)
        cache = self.caches.lend(user, conversation, prompt, length + room)
        if cache is None:
            assert count_pages(length + room) > 12 - held
            return
        assert cache not in self.lent
        assert (cache.user, cache.conversation) == (user, conversation)
        assert cache.tokens == prompt[: len(cache.tokens)] and len(cache.tokens) < length
        assert len(cache.pages.numbers) == count_pages(length + room)
        cache.tokens[:] = prompt
        self.lent.append(cache)

    @precondition(lambda self: self.lent)
    @rule(place=st.integers(0, 11), kept=st.integers(0, 400), is_trusted=st.booleans())
    def give_back(self, place: int, kept: int, is_trusted: bool) -> None:
        cache = self.lent.pop(place % len(self.lent))
        del cache.tokens[kept:]
        if is_trusted:
            self.caches.give_back(cache)
        else:
            self.caches.drop(cache)

    @invariant()
    def every_page_is_in_one_place(self) -> None:
        lent = [number for cache in self.lent for number in cache.pages.numbers]
        assert sorted([*lent, *self.caches.held()]) == list(range(12))
        assert abs(self.caches.usage - len(lent) / 12) < 1e-9


Bookkeeping.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBookkeeping = Bookkeeping.TestCase
