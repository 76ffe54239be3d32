"""The decoder whose step is one call of machine code: feeds come in, scores go out. See kernels/step.py."""

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from service.engine.decoding import PAGE_TOKENS, Feed
from service.engine.kernels.loading import Run
from service.engine.kernels.table import SEMAPHORE_BYTES, TABLE, sync_size
from service.engine.shape import Shape
from service.engine.weights import Weights

# The rows of one step. More make a long prompt no faster, and each takes work room.
MAX_ROWS = 128
# Rows of one sequence that attend together where every head has keys of its own.
BLOCK_ROWS = 4
PACKED = ("tokens", "positions", "page_starts", "page_list", "wanted_rows", "block_starts", "block_counts")


class FastDecoder:
    """A `Decoder` on kernels; its threads live as long as the process."""

    def __init__(
        self,
        run: Run,
        shape: Shape,
        weights: Weights,
        angles: tuple[NDArray[np.float32], NDArray[np.float32]],
        context_tokens: int,
        page_count: int,
        threads: int,
        cache_kind: Any,
    ) -> None:
        self.vocabulary, self.context_tokens, self.page_count = shape.vocabulary, context_tokens, page_count
        self.max_rows = MAX_ROWS
        self._shape, self._run, self._threads = shape, run, threads
        self._table = np.zeros((), TABLE)
        self._arrays: dict[str, NDArray[Any]] = {}
        for name, array in weights.arrays.items():
            self._put(name, array)
        if shape.is_tied:
            for name in ("output", "output_scale"):
                self._put(name, self._arrays[name.replace("output", "embedding")])
        self._put("cosines", angles[0])
        self._put("sines", angles[1])
        self._put("epsilon", np.array([shape.epsilon], np.float32))
        # Zeros: what was never written is multiplied by a weight of zero, and must not be NaN.
        size = shape.layers * page_count * shape.kv_heads * shape.head_size * PAGE_TOKENS
        self._put("keys", np.zeros(size, cache_kind))
        self._put("values", np.zeros(size, cache_kind))
        self._make_room()
        self._start_helpers()

    def _put(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        assert array.flags.c_contiguous
        self._arrays[name] = array
        self._table[name] = array.ctypes.data
        return array

    def _make_room(self) -> None:
        s, rows = self._shape, MAX_ROWS
        for name in ("layers", "hidden", "inner", "heads", "kv_heads", "head_size", "has_head_norm"):
            self._table[name] = getattr(s, name)
        self._table["threads"], self._table["pages"] = self._threads, self.page_count
        self._table["vocabulary"] = s.padded_vocabulary
        widths = {"x": s.hidden, "h": s.hidden, "mixed": s.mixed, "attended": s.heads * s.head_size}
        for name, width in {**widths, "gated": s.inner, "upped": s.inner}.items():
            self._put(name, np.zeros((rows, width), np.float32))
        # The scores of a block of rows, or all rows rounded to 16 bits with a factor each: whichever is more.
        widest = max(s.hidden, s.inner, s.heads * s.head_size)
        scratch = max(BLOCK_ROWS * (self.context_tokens + 2 * PAGE_TOKENS), rows + rows * widest // 2)
        self._put("scratch", np.zeros((self._threads, scratch), np.float32))
        self._table["scratch_size"] = scratch
        self._put("sync", np.zeros(sync_size(s.layers), np.int64))
        self._room_for_scores(1)

    def _room_for_scores(self, wanted: int) -> None:
        if len(self._arrays.get("scores", ())) < wanted:
            self._put("last", np.zeros((wanted, self._shape.hidden), np.float32))
            self._put("scores", np.zeros((wanted, self._shape.padded_vocabulary), np.float32))

    def _start_helpers(self) -> None:
        semaphores = self._put("semaphores", np.zeros(self._threads * SEMAPHORE_BYTES, np.uint8))
        library = ctypes.CDLL(None)
        for number in range(1, self._threads):
            library.sem_init(ctypes.c_void_p(semaphores.ctypes.data + number * SEMAPHORE_BYTES), 0, 0)
            # What they refer to must not be freed before they end, and they never do.
            arguments = (self._run, self._table, number, self._arrays)
            threading.Thread(target=_help, args=arguments, name=f"decoder-{number}", daemon=True).start()

    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        """Run the model once over all feeds: see decoding.Decoder. Raises: ValueError for what it cannot do."""
        self._check(feeds)
        packed = pack(feeds)
        for name, numbers in packed.items():
            self._put(name, np.array(numbers, np.int64))
        wanted = len(packed["wanted_rows"])
        self._room_for_scores(wanted)
        self._table["rows"], self._table["wanted"] = len(packed["tokens"]), wanted
        self._table["blocks"] = len(packed["block_starts"])
        self._run(self._table.ctypes.data, 0)
        scores: NDArray[np.float32] = self._arrays["scores"][:wanted, : self.vocabulary]
        return scores

    def _check(self, feeds: Sequence[Feed]) -> None:
        """Machine code would read and write wherever it is told to."""
        if not 1 <= sum(len(feed.tokens) for feed in feeds) <= MAX_ROWS or not all(feed.tokens for feed in feeds):
            raise ValueError(f"a step takes 1 to {MAX_ROWS} tokens, and one of each feed at least")
        for feed in feeds:
            end, pages = feed.start + len(feed.tokens), feed.pages.numbers
            if feed.start < 0 or end > min(self.context_tokens, len(pages) * PAGE_TOKENS):
                raise ValueError("a sequence has more tokens than pages, or than the context")
            if min(feed.tokens) < 0 or max(feed.tokens) >= self.vocabulary:
                raise ValueError("there is no such token")
            if min(pages) < 0 or max(pages) >= self.page_count:
                raise ValueError("there is no such page")


def pack(feeds: Sequence[Feed]) -> dict[str, list[int]]:
    """Lay feeds out as the rows of a step: whole numbers by the names that kernels/table.py has for them."""
    packed: dict[str, list[int]] = {name: [] for name in PACKED}
    for feed in feeds:
        first, count = len(packed["tokens"]), len(feed.tokens)
        packed["tokens"] += feed.tokens
        packed["positions"] += range(feed.start, feed.start + count)
        packed["page_starts"] += [len(packed["page_list"])] * count
        packed["page_list"] += feed.pages.numbers[: -(-(feed.start + count) // PAGE_TOKENS)]
        starts = range(0, count, BLOCK_ROWS)
        packed["block_starts"] += [first + start for start in starts]
        packed["block_counts"] += [min(BLOCK_ROWS, count - start) for start in starts]
        if feed.wants_scores:
            packed["wanted_rows"].append(first + count - 1)
    return packed


def _help(run: Run, table: NDArray[Any], number: int, _arrays: dict[str, NDArray[Any]]) -> None:
    run(table.ctypes.data, number)


def make_angles(config: Any, positions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines of every position, [positions, head size / 2], by transformers' own formulas for this model."""
    parameters = config.rope_parameters
    kind = parameters.get("rope_type", "default")
    if kind == "default":
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        frequencies = 1.0 / (parameters["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size))
        factor = 1.0
    else:
        frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=positions)
    angles = torch.arange(positions).float()[:, None] * frequencies[None, :].float()
    return (angles.cos() * factor).numpy(), (angles.sin() * factor).numpy()
