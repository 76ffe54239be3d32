"""The engine's own decoder as a benchmark loads it: the one place that knows how service.engine.model is called."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.config import Engine
from service.engine import model
from service.engine.decoding import Decoder, Feed, Pages
from service.engine.room import Room


def load(folder: Path, precision: str, threads: int, context_tokens: int, slots: int) -> Decoder:
    """Load a model's decoder as the engine does; the kernels are compiled once and kept."""
    settings = Engine(precision=precision, threads=threads, context_tokens=context_tokens, slots=slots)
    return model.load(folder, settings, Path.home() / ".cache" / "ferry", Room(0)).decoder


def pages(decoder: Decoder, sequences: int) -> list[Pages]:
    """Share a decoder's pages out, as many for each of so many sequences."""
    each = decoder.page_count // sequences
    return [Pages(list(range(number * each, (number + 1) * each))) for number in range(sequences)]


def prefill(decoder: Decoder, place: Pages, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Feed a whole prompt in the largest steps there may be; give the scores of what follows: [1, vocabulary]."""
    for start in range(0, len(tokens), decoder.max_rows):
        part = tokens[start : start + decoder.max_rows]
        scores = decoder.step([Feed(place, start, part, start + len(part) == len(tokens))])
    return scores
