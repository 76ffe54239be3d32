"""Products with weight matrices: the threads take a few of a matrix's rows at a time."""

from typing import NamedTuple

import numpy as np

from service.engine.kernels.arrays import compiled, floats, make_array
from service.engine.kernels.table import TILE_ROWS
from service.engine.kernels.threads import claim
from service.engine.kernels.vector import make_dots
from service.engine.kernels.vector_maths import make_fold, make_gate

PIECES_PER_THREAD = 2
shorts, sums_at = make_array(np.int16(0)), make_array(np.int32(0))


class Matrix(NamedTuple):
    """One layer of a matrix in tiles: the addresses of all layers' elements and scales, and its size."""

    weights: int
    scale: int
    layer: int
    width: int
    size: int


@compiled
def piece(t, number, width):
    """Give the bounds of a piece of `width` outputs; empty at the end."""
    unit = 4 * TILE_ROWS
    outputs = max(1, width // (unit * PIECES_PER_THREAD * t.threads)) * unit
    first = min(number * outputs, width)
    return first, min(first + outputs, width)


def make_multiply(lanes, weight_like):
    """Make the functions `round_rows` and `multiply`, which expects what the first one left in `room`."""
    is_int8 = isinstance(weight_like, np.int8)
    # With eight lanes there are sixteen registers: twelve sums, and what is multiplied.
    widest = 4 if lanes == 16 else 3
    dots1, dots2, dots3, dots = (make_dots(lanes, columns) for columns in (1, 2, 3, widest))
    largest, weights_at = make_fold(lanes, "size"), make_array(weight_like)

    @compiled
    def round_rows(x, rows, size, room):
        """Round rows to whole numbers of 16 bits, or a little less where a sum could overflow; a row has one factor."""
        if not is_int8:
            return
        values, factors, rounded = floats(x), floats(room), shorts(room + 4 * rows)
        most = np.float32(min(32767, 2**31 // (2 * 127 * (size // (2 * lanes))) - 1))
        for row in range(rows):
            top = largest(values, row * size, size)
            factors[row] = top / most
            factor = most / top if top > 0 else np.float32(0)
            for i in range(size):
                rounded[row * size + i] = np.int16(np.rint(values[row * size + i] * factor))

    @compiled
    def multiply_tiles(m, first, end, x, rows, y):
        w, size = weights_at(m.weights), m.size
        for n in range(first, end, TILE_ROWS):
            at, row = (m.layer * m.width + n) * size, 0
            while rows - row >= widest:
                dots(w, at, x, row * size, size, size, y, row * m.width + n, m.width)
                row += widest
            if rows - row == 3:
                dots3(w, at, x, row * size, size, size, y, row * m.width + n, m.width)
            elif rows - row == 2:
                dots2(w, at, x, row * size, size, size, y, row * m.width + n, m.width)
            elif rows - row == 1:
                dots1(w, at, x, row * size, size, size, y, row * m.width + n, m.width)

    @compiled
    def multiply(m, first, end, x, rows, y, room):
        """y[row, n] = sum over k of m[n, k] * x[row, k], for n from `first` to `end`, multiples of TILE_ROWS."""
        if not is_int8:
            multiply_tiles(m, first, end, floats(x), rows, floats(y))
            return
        multiply_tiles(m, first, end, shorts(room + 4 * rows), rows, sums_at(y))
        scale = floats(m.scale + 4 * (m.layer * m.width + first))
        for row in range(rows):
            start, factor = y + 4 * (row * m.width + first), floats(room)[row]
            sums, results = sums_at(start), floats(start)
            for i in range(end - first):
                results[i] = np.float32(sums[i]) * (scale[i] * factor)

    return round_rows, multiply


def make_linear(lanes, weight_like):
    """Make the functions `linear` and `gate`, each of which computes one part of a step."""
    round_rows, multiply = make_multiply(lanes, weight_like)
    close = make_gate(lanes)

    @compiled
    def linear(t, part, m, x, rows, y, is_added, room):
        """Compute pieces of y = m · x until none is left; with `is_added`, add what comes out to t.x."""
        round_rows(x, rows, m.size, room)
        while True:
            first, end = piece(t, claim(t, part), m.width)
            if first >= end:
                return
            multiply(m, first, end, x, rows, y, room)
            if is_added:
                for row in range(rows):
                    at = 4 * (row * m.width + first)
                    totals, found = floats(t.x + at), floats(y + at)
                    for i in range(end - first):
                        totals[i] += found[i]

    @compiled
    def gate(t, part, layer, room):
        """Compute pieces of silu(gate · h) × (up · h) until none is left."""
        width, gated, upped = t.inner, floats(t.gated), floats(t.upped)
        round_rows(t.h, t.rows, t.hidden, room)
        while True:
            first, end = piece(t, claim(t, part), width)
            if first >= end:
                return
            multiply(Matrix(t.gate, t.gate_scale, layer, width, t.hidden), first, end, t.h, t.rows, t.gated, room)
            multiply(Matrix(t.up, t.up_scale, layer, width, t.hidden), first, end, t.h, t.rows, t.upped, room)
            for row in range(t.rows):
                close(gated, row * width + first, upped, row * width + first, end - first)

    return linear, gate
