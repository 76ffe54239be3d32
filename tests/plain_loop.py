"""The plainest use of a decoder: one prompt, one sequence, a token at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from service.engine.chooser import Chooser
from service.engine.decoding import Decoder, Feed, Pages
from service.engine.kv_pages import count_pages
from service.engine.sampling import Sampling


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    count: int,
    sampling: Sampling | None = None,
    stop_tokens: Collection[int] = (),
    chunk: int = 1 << 20,
    pages: Pages | None = None,
) -> list[int]:
    """Read a prompt in chunks and write up to `count` tokens, a stop token included."""
    pages = pages or Pages(list(range(count_pages(len(prompt) + count))))
    chooser = Chooser(sampling or Sampling(), prompt, None)
    for start in range(0, len(prompt), chunk):
        part = prompt[start : start + chunk]
        scores = decoder.step([Feed(pages, start, part, start + len(part) == len(prompt))])
    tokens: list[int] = []
    while True:
        tokens.append(chooser.choose(scores[0]).token)
        if tokens[-1] in stop_tokens or len(tokens) == count:
            return tokens
        scores = decoder.step([Feed(pages, len(prompt) + len(tokens) - 1, tokens[-1:], True)])
