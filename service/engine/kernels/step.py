"""One decode step as a numba function: tokens of many sequences go through the whole model in one call.

All threads run the same function; they meet after each part, and take pieces of it from a shared counter. No piece's
result depends on who computes it or on what else is in the step: see vector.py.
"""

from typing import Any

import numpy as np
from numba import carray, cfunc, from_dtype, types

from service.engine.kernels.arrays import compiled, floats, whole
from service.engine.kernels.attention import make_attend, make_place
from service.engine.kernels.linear import Matrix, make_linear
from service.engine.kernels.rows import make_embed, make_norm, make_norm_rows
from service.engine.kernels.table import PARTS_OF_STEP, PARTS_PER_LAYER, TABLE
from service.engine.kernels.threads import claim, meet, sleep, wake_helpers

SIGNATURE = types.void(types.CPointer(from_dtype(TABLE)), types.int64)


def make_step(lanes: int, weight_kind: str, cache_kind: str) -> Any:
    """Compile the step for vectors of `lanes`, weights of float32 or int8, and a cache of float32 or uint16."""
    run_step = make_run_step(lanes, np.dtype(weight_kind).type(0), np.dtype(cache_kind).type(0))

    @cfunc(SIGNATURE, error_model="numpy")
    def run(table, thread):
        """Thread 0 runs one step; each other one helps with every step until the table says that it is to end."""
        t = carray(table, (1,))[0]
        if thread == 0:
            wake_helpers(t, PARTS_PER_LAYER * t.layers + PARTS_OF_STEP)
            run_step(t, 0)
            return
        while True:
            sleep(t, thread)
            if t.is_ending:
                return
            run_step(t, thread)

    return run


def make_run_step(lanes, weight_like, cache_like):
    """Make a function that does one thread's share of a step."""
    norm = make_norm(lanes)
    embed, norm_rows = make_embed(lanes, weight_like, norm), make_norm_rows(norm)
    linear, gate = make_linear(lanes, weight_like)
    place, attend = make_place(cache_like, norm), make_attend(lanes, cache_like)

    @compiled
    def run_layer(t, layer, room):
        """Send all rows through one layer; t.h holds their norm, before and after."""
        part, mixed, attended = layer * PARTS_PER_LAYER, (t.heads + 2 * t.kv_heads) * t.head_size, t.heads * t.head_size
        linear(t, part, Matrix(t.qkv, t.qkv_scale, layer, mixed, t.hidden), t.h, t.rows, t.mixed, False, room)
        meet(t)
        row = claim(t, part + 1)
        while row < t.rows:
            place(t, layer, row)
            row = claim(t, part + 1)
        meet(t)
        number = claim(t, part + 2)
        while number < t.blocks * t.kv_heads:
            attend(t, layer, number, room)
            number = claim(t, part + 2)
        meet(t)
        linear(t, part + 3, Matrix(t.out, t.out_scale, layer, t.hidden, attended), t.attended, t.rows, t.h, True, room)
        meet(t)
        norm_rows(t, part + 4, t.inner_norm, layer)
        meet(t)
        gate(t, part + 5, layer, room)
        meet(t)
        linear(t, part + 6, Matrix(t.down, t.down_scale, layer, t.hidden, t.inner), t.gated, t.rows, t.h, True, room)
        meet(t)
        if layer + 1 < t.layers:
            norm_rows(t, part + 7, t.attention_norm, layer + 1)
            meet(t)

    @compiled
    def run_step(t, thread):
        room, part, hidden = t.scratch + thread * t.scratch_size * 4, t.layers * PARTS_PER_LAYER, t.hidden
        row = claim(t, part)
        while row < t.rows:
            embed(t, row)
            row = claim(t, part)
        meet(t)
        for layer in range(t.layers):
            run_layer(t, layer, room)
        number = claim(t, part + 1)
        while number < t.wanted:
            at = whole(t.wanted_rows)[number] * hidden
            norm(t, floats(t.x), at, hidden, t.last_norm, 0, floats(t.last), number * hidden)
            number = claim(t, part + 1)
        meet(t)
        output = Matrix(t.output, t.output_scale, 0, t.vocabulary, hidden)
        linear(t, part + 2, output, t.last, t.wanted, t.scores, False, room)
        meet(t)

    return run_step
