"""The first tokens of a decoder: they prove that it works, and tell its speed before anybody waits for it."""

import time

import numpy as np

from service.engine.chooser import Chooser
from service.engine.decoding import PAGE_TOKENS, Decoder, Feed, Pages
from service.engine.errors import EngineError
from service.engine.pace import Pace
from service.engine.sampling import Sampling


def prove(decoder: Decoder, pace: Pace) -> None:
    """Generate tokens, so that "ready" is a fact and the first user does not wait for the first run.

    Raises: EngineError when what comes are no numbers.
    """
    pages, chooser = Pages([0]), Chooser(Sampling(), [0], None)
    tokens = [0] * (PAGE_TOKENS - 2)
    # The first is not timed: it warms up caches and wakes the threads.
    for is_timed, start, count in ((False, 0, 1), (True, 0, len(tokens)), (True, len(tokens), 1)):
        began = time.monotonic()
        scores = decoder.step([Feed(pages, start, tokens[:count], True)])
        if is_timed:
            pace.observe(int(count == 1), count if count > 1 else 0, time.monotonic() - began)
        if not np.isfinite(scores).all():
            raise EngineError("the decoder's scores are no numbers", "run: ferry verify")
        tokens[0] = chooser.choose(scores[0]).token
