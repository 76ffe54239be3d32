"""`python -m benchmarks.engine_ours WORKLOAD`: Ferry's own decoder, step by step; one line of JSON comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import own_decoder
from benchmarks.workload import Workload, drive, report
from service.engine.decoding import Decoder, Feed

CONTEXT_TOKENS = 2048
# Room for all sequences of a workload; memory is judged in the serving process, with its own settings.
SLOTS = 2


class Steps:
    """What the scheduler would feed, without the scheduler."""

    def __init__(self, decoder: Decoder, sequences: int) -> None:
        self._decoder = decoder
        self._pages = own_decoder.pages(decoder, sequences)
        self._lengths = [0] * sequences

    def prefill(self, sequence: int, tokens: list[int]) -> None:
        own_decoder.prefill(self._decoder, self._pages[sequence], tokens)
        self._lengths[sequence] = len(tokens)

    def decode(self, tokens: list[int]) -> None:
        fed = zip(self._pages, self._lengths, tokens, strict=True)
        self._decoder.step([Feed(pages, length, [token], True) for pages, length, token in fed])
        self._lengths = [length + 1 for length in self._lengths]

    def forget(self) -> None:
        self._lengths = [0] * len(self._lengths)


def load(workload: Workload) -> Callable[[], dict[str, Any]]:
    """Load the weights, and give what runs them."""
    folder = Path(workload.model)
    decoder = own_decoder.load(folder, workload.precision, workload.threads, CONTEXT_TOKENS, SLOTS)
    steps = Steps(decoder, workload.sequences)
    return lambda: drive(workload, steps) | {"decoder": type(decoder).__name__, "max_rows": decoder.max_rows}


if __name__ == "__main__":
    given = Workload.from_arguments()
    report("this checkout", lambda: load(given))
