"""The token generator: a prompt comes in, tokens go out one at a time, and it can be stopped between any two steps."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

from service.engine.chooser import Chooser
from service.engine.sampling import Sampling

# A prompt is read in pieces, so that a client who leaves frees the slot at the next boundary.
PREFILL_TOKENS = 128


class Decoding(Protocol):
    """What the generator needs of a model."""

    def restart(self) -> None: ...

    def feed(self, tokens: Sequence[int]) -> Any: ...


def generate(
    decoder: Decoding,
    prompt: Sequence[int],
    sampling: Sampling,
    stop_tokens: Collection[int],
    max_tokens: int,
    check: Callable[[], None],
) -> Iterator[int]:
    """Yield the tokens of one answer, a stop token included.

    `check` is called before every step and raises Cancelled to end the work.
    """
    chooser = Chooser(sampling, prompt)
    decoder.restart()
    for start in range(0, len(prompt), PREFILL_TOKENS):
        check()
        logits = decoder.feed(prompt[start : start + PREFILL_TOKENS])
    for count in range(1, max_tokens + 1):
        token = chooser.choose(logits.numpy()).token
        yield token
        if token in stop_tokens or count == max_tokens:
            return
        check()
        logits = decoder.feed([token])
