"""What is done to one row at a time: its token is looked up, and it is normed (RMSNorm, Zhang and Sennrich 2019)."""

import numpy as np

from service.engine.kernels.arrays import compiled, floats, make_array, whole
from service.engine.kernels.table import TILE_ROWS
from service.engine.kernels.threads import claim
from service.engine.kernels.vector_maths import make_fold


def make_norm(lanes):
    """Make a function that norms `size` elements of x into y; `weight` is an address."""
    squares = make_fold(lanes, "squares")

    @compiled
    def norm(t, x, at, size, weight, weight_at, y, y_at):
        weights = floats(weight)
        factor = np.float32(1) / np.sqrt(squares(x, at, size) / np.float32(size) + floats(t.epsilon)[0])
        for i in range(size):
            y[y_at + i] = x[at + i] * factor * weights[weight_at + i]

    return norm


def make_norm_rows(norm):
    """Make a function that norms rows of t.x into t.h until none is left."""

    @compiled
    def norm_rows(t, part, weight, layer):
        row = claim(t, part)
        while row < t.rows:
            norm(t, floats(t.x), row * t.hidden, t.hidden, weight, layer * t.hidden, floats(t.h), row * t.hidden)
            row = claim(t, part)

    return norm_rows


def make_embed(lanes, weight_like, norm):
    """Make a function that looks up a row's token, and makes it ready for the first layer."""
    is_int8, weighted = isinstance(weight_like, np.int8), make_array(weight_like)
    # Elements of a row that stand together in a tile: a vector of them.
    together = 2 * lanes if is_int8 else lanes

    @compiled
    def embed(t, row):
        x, weights, hidden, token = floats(t.x), weighted(t.embedding), t.hidden, whole(t.tokens)[row]
        start = token // TILE_ROWS * TILE_ROWS * hidden + token % TILE_ROWS * together
        for i in range(hidden):
            x[row * hidden + i] = np.float32(weights[start + i // together * together * TILE_ROWS + i % together])
        if is_int8:
            for i in range(hidden):
                x[row * hidden + i] *= floats(t.embedding_scale)[token]
        norm(t, x, row * hidden, hidden, t.attention_norm, 0, floats(t.h), row * hidden)

    return embed
