"""What a step is told: one record of whole numbers, sizes and addresses, that all threads share.

The step is machine code without Python objects, so this is its whole interface. Addresses are those of flat arrays:
float32 where not said otherwise, "weights" float32 or int8, "cache" float32 or uint16 (halves), "whole" int64.
"""

import numpy as np

NAMES = (
    # sizes: of the model
    "layers", "hidden", "inner", "heads", "kv_heads", "head_size", "has_head_norm",
    # sizes: of the step; `pages` is how many the cache has
    "rows", "wanted", "blocks", "threads", "pages", "vocabulary",
    # [1]: epsilon of the norms
    "epsilon",
    # weights in tiles (see weights.py), each with a scale a row where they are int8: [layers, rows, columns]
    "qkv", "qkv_scale", "qkv_bias", "out", "out_scale", "gate", "gate_scale", "up", "up_scale", "down", "down_scale",
    # weights in tiles: [vocabulary, hidden]
    "embedding", "embedding_scale", "output", "output_scale",
    # norms: [layers, hidden] twice, [hidden], [layers, head_size] twice
    "attention_norm", "inner_norm", "last_norm", "query_norm", "key_norm",
    # [context, head_size / 2]
    "cosines", "sines",
    # cache: keys [layers, pages, kv_heads, head_size, PAGE_TOKENS],
    # values [layers, pages, kv_heads, PAGE_TOKENS, head_size]
    "keys", "values",
    # whole, a row: its token, its position, and where its sequence's page numbers begin in `page_list`
    "tokens", "positions", "page_starts", "page_list",
    # whole: the rows whose scores are wanted; first row and count of each block of rows of one sequence
    "wanted_rows", "block_starts", "block_counts",
    # work room, a row: [hidden] twice, [(heads + 2 kv_heads) × head_size], [heads × head_size], [inner] twice
    "x", "h", "mixed", "attended", "gated", "upped",
    # [wanted, hidden], [wanted, vocabulary]
    "last", "scores",
    # work room of each thread, how many floats it has; what the threads meet at (whole); a sem_t each; whether to end
    "scratch", "scratch_size", "sync", "semaphores", "is_ending",
)  # fmt: skip
# So many rows of a weight matrix are computed at once, and lie in memory as they are read: see weights.py.
TILE_ROWS = 4
SEMAPHORE_BYTES = 64  # sem_t, and the rest of its cache line
TABLE = np.dtype([(name, np.int64) for name in NAMES])
# Cells of t.sync, each on a cache line of its own: how many threads have arrived where they meet, how often they have
# met, and from CLAIMS on, for each part of a step, how many of its pieces are taken.
LINE = 8
ARRIVED, GENERATION, CLAIMS = 0, LINE, 2 * LINE
PARTS_PER_LAYER, PARTS_OF_STEP = 8, 3


def sync_size(layers: int) -> int:
    """Return how many cells t.sync has."""
    return CLAIMS + LINE * (PARTS_PER_LAYER * layers + PARTS_OF_STEP)
