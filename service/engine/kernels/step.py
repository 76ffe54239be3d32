"""One decode step as numba functions: tokens of many sequences go through the whole model in one call.

All threads run the same function; they meet after each part, and take pieces of it from a shared counter, so that a
thread that the system holds up is waited for briefly. No piece's result depends on who computes it or on what else is
in the step: see vector.py. Formulas: transformers' modeling_llama.py, modeling_qwen2.py, modeling_qwen3.py.
"""

from typing import Any

import numpy as np
from numba import carray, cfunc, from_dtype, njit, types
from numba.extending import intrinsic

from service.engine.decoding import PAGE_TOKENS
from service.engine.kernels.table import SEMAPHORE_BYTES, TABLE, TILE_ROWS
from service.engine.kernels.vector import (
    fetch_add,
    make_call,
    make_dots,
    make_fold,
    make_gate,
    make_mix,
    make_weigh,
    make_whole_dots,
    pause,
    read_now,
    to_half,
    view,
)

PAGE = PAGE_TOKENS
SIGNATURE = types.void(types.CPointer(from_dtype(TABLE)), types.int64)
# No array in here knows its size: the sizes are in the table.
ANY_SIZE = 1 << 40
# Cells of the meeting place, each on a cache line of its own.
ARRIVED, GENERATION, CLAIMS, LINE = 0, 8, 16, 8
PARTS_PER_LAYER = 7
SPINS = 4000
PIECES_PER_THREAD = 2
MOST_HALF = np.float32(65504)
post, wait, yield_cpu = make_call("sem_post"), make_call("sem_wait"), make_call("sched_yield")
plain = njit(error_model="numpy", inline="never")


def sync_size(layers: int) -> int:
    """Return how many cells the threads of a step meet at."""
    return CLAIMS + LINE * ((PARTS_PER_LAYER + 1) * layers + 3)


@plain
def meet(sync: Any, threads: Any) -> None:
    """Wait until every thread is here."""
    generation = read_now(sync, GENERATION)
    if fetch_add(sync, ARRIVED, 1) == threads - 1:
        fetch_add(sync, ARRIVED, -threads)
        fetch_add(sync, GENERATION, 1)
        return
    spins = 0
    while read_now(sync, GENERATION) == generation:
        spins += 1
        if spins > SPINS:
            yield_cpu(0)
        else:
            pause()


@njit(error_model="numpy")
def floats(address: Any) -> Any:
    """The float32 array at an address."""
    return carray(view(address, np.float32(0)), (ANY_SIZE,))


@njit(error_model="numpy")
def whole(address: Any) -> Any:
    """The int64 array at an address."""
    return carray(view(address, np.int64(0)), (ANY_SIZE,))


@intrinsic  # type: ignore[misc]
def address_of(_: Any, array: Any, index: Any) -> Any:
    """Give the address of an element."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(builder.gep(data, [args[1]]), context.get_value_type(types.int64))

    return types.int64(array, types.int64), generate


@njit(error_model="numpy")
def shorts(room: Any, rows: Any) -> Any:
    """The int16 array behind `rows` factors in a thread's work room."""
    return carray(view(address_of(room, rows), np.int16(0)), (ANY_SIZE,))


@njit(error_model="numpy")
def wholes(y: Any) -> Any:
    """A float32 array as int32."""
    return carray(view(address_of(y, 0), np.int32(0)), (ANY_SIZE,))


@plain
def add(x: Any, y: Any, rows: Any, width: Any, first: Any, end: Any) -> None:
    """x[row, n] += y[row, n], for n from `first` to `end`."""
    for row in range(rows):
        for n in range(row * width + first, row * width + end):
            x[n] += y[n]


@njit(error_model="numpy")
def claim(sync: Any, part: Any) -> Any:
    """Take the next piece of a part of the step."""
    return fetch_add(sync, CLAIMS + LINE * part, 1)


def make_step(lanes: int, weight_kind: Any, cache_kind: Any) -> Any:
    """Compile the step for vectors of `lanes`, weights of float32 or int8, and a cache of float32 or uint16."""
    widest = 4 if lanes == 16 else 3
    make = make_whole_dots if weight_kind == types.int8 else make_dots
    dots1, dots2, dots3, dots4 = (make(lanes, columns) for columns in (1, 2, 3, widest))
    mix4 = [make_mix(lanes, 4, columns) for columns in (1, 2, 3, 4)]
    mix4_1, mix4_2, mix4_3, mix4_4 = mix4
    mix2_1 = make_mix(lanes, 2, 1)
    largest, largest_size, total, squares = (make_fold(lanes, kind) for kind in ("max", "size", "sum", "squares"))
    weigh, close = make_weigh(lanes), make_gate(lanes)
    is_int8, is_half = weight_kind == types.int8, cache_kind == types.uint16
    wide = 4 * lanes
    # Elements of a row that stand together in a tile: a vector of them.
    together = 2 * lanes if is_int8 else lanes
    weight_like = np.int8(0) if is_int8 else np.float32(0)
    cache_like = np.uint16(0) if is_half else np.float32(0)

    @njit(error_model="numpy")
    def weighted(address: Any) -> Any:
        return carray(view(address, weight_like), (ANY_SIZE,))

    @njit(error_model="numpy")
    def cached(address: Any) -> Any:
        return carray(view(address, cache_like), (ANY_SIZE,))

    @plain
    def norm(x: Any, at: Any, size: Any, weight: Any, weight_at: Any, epsilon: Any, y: Any, y_at: Any) -> None:
        factor = np.float32(1) / np.sqrt(squares(x, at, size) / np.float32(size) + epsilon)
        for i in range(size):
            y[y_at + i] = x[at + i] * factor * weight[weight_at + i]

    @njit(error_model="numpy")
    def multiply_tile(w: Any, w_at: Any, x: Any, rows: Any, size: Any, y: Any, y_at: Any, y_step: Any) -> None:
        row = 0
        while rows - row >= widest:
            dots4(w, w_at, x, row * size, size, size, y, y_at + row * y_step, y_step)
            row += widest
        if rows - row == 3:
            dots3(w, w_at, x, row * size, size, size, y, y_at + row * y_step, y_step)
        elif rows - row == 2:
            dots2(w, w_at, x, row * size, size, size, y, y_at + row * y_step, y_step)
        elif rows - row == 1:
            dots1(w, w_at, x, row * size, size, size, y, y_at + row * y_step, y_step)

    @plain
    def multiply(
        w: Any,
        w_at: Any,
        scale: Any,
        scale_at: Any,
        x: Any,
        rows: Any,
        size: Any,
        y: Any,
        width: Any,
        first: Any,
        end: Any,
        room: Any,
    ) -> None:
        """y[row, n] = sum over k of w[n, k] * x[row, k], for n from `first` to `end`, multiples of TILE_ROWS.

        With int8 weights, x is what `round_rows` left at the beginning of `room`.
        """
        if not is_int8:
            for n in range(first, end, TILE_ROWS):
                multiply_tile(w, w_at + n * size, x, rows, size, y, n, width)
            return
        factors, rounded, sums = room, shorts(room, rows), wholes(y)
        for n in range(first, end, TILE_ROWS):
            multiply_tile(w, w_at + n * size, rounded, rows, size, sums, n, width)
        for row in range(rows):
            for n in range(first, end):
                y[row * width + n] = np.float32(sums[row * width + n]) * (scale[scale_at + n] * factors[row])

    @plain
    def round_rows(x: Any, rows: Any, size: Any, room: Any) -> None:
        """Round rows to whole numbers of 16 bits, or a little less where a sum could overflow, with one factor a row."""
        steps = size // (2 * lanes)
        most = np.float32(min(32767, 2**31 // (2 * 127 * steps) - 1))
        rounded = shorts(room, rows)
        for row in range(rows):
            top = largest_size(x, row * size, size)
            room[row] = top / most
            factor = most / top if top > 0 else np.float32(0)
            for i in range(size):
                rounded[row * size + i] = np.int16(np.rint(x[row * size + i] * factor))

    @njit(error_model="numpy")
    def piece(number: Any, width: Any, threads: Any) -> Any:
        """Give the bounds of a piece of `width` outputs; empty at the end."""
        unit = 4 * TILE_ROWS
        rows = max(1, width // (unit * PIECES_PER_THREAD * threads)) * unit
        first = min(number * rows, width)
        return first, min(first + rows, width)

    @njit(error_model="numpy")
    def store(value: Any) -> Any:
        if is_half:
            return to_half(min(max(value, -MOST_HALF), MOST_HALF))
        return value

    @njit(error_model="numpy")
    def turn(x: Any, at: Any, half: Any, cosines: Any, sines: Any, angle_at: Any) -> None:
        """Rotate by the position (RoPE, Su et al. 2021): element i with element i + half, as transformers pairs them."""
        for i in range(half):
            a, b, cos, sin = x[at + i], x[at + half + i], cosines[angle_at + i], sines[angle_at + i]
            x[at + i] = a * cos - b * sin
            x[at + half + i] = b * cos + a * sin

    @njit(error_model="numpy")
    def mix_scores(
        q: Any, q_at: Any, q_step: Any, columns: Any, size: Any, keys: Any, key_at: Any, y: Any, y_at: Any, y_step: Any
    ) -> None:
        if columns == 4:
            mix4_4(q, q_at, q_step, size, keys, key_at, PAGE, y, y_at, y_step)
        elif columns == 3:
            mix4_3(q, q_at, q_step, size, keys, key_at, PAGE, y, y_at, y_step)
        elif columns == 2:
            mix4_2(q, q_at, q_step, size, keys, key_at, PAGE, y, y_at, y_step)
        else:
            mix4_1(q, q_at, q_step, size, keys, key_at, PAGE, y, y_at, y_step)

    @njit(error_model="numpy")
    def mix_values(
        p: Any,
        p_at: Any,
        p_step: Any,
        columns: Any,
        count: Any,
        values: Any,
        value_at: Any,
        size: Any,
        y: Any,
        y_at: Any,
        y_step: Any,
    ) -> None:
        at = 0
        while size - at >= wide:
            if columns == 4:
                mix4_4(p, p_at, p_step, count, values, value_at + at, size, y, y_at + at, y_step)
            elif columns == 3:
                mix4_3(p, p_at, p_step, count, values, value_at + at, size, y, y_at + at, y_step)
            elif columns == 2:
                mix4_2(p, p_at, p_step, count, values, value_at + at, size, y, y_at + at, y_step)
            else:
                mix4_1(p, p_at, p_step, count, values, value_at + at, size, y, y_at + at, y_step)
            at += wide
        while at < size:
            for column in range(columns):
                mix2_1(
                    p,
                    p_at + column * p_step,
                    p_step,
                    count,
                    values,
                    value_at + at,
                    size,
                    y,
                    y_at + column * y_step + at,
                    y_step,
                )
            at += wide // 2

    @plain
    def attend(
        q: Any,
        q_at: Any,
        q_step: Any,
        columns: Any,
        length: Any,
        is_causal: Any,
        keys: Any,
        values: Any,
        cache_at: Any,
        page_size: Any,
        pages: Any,
        pages_at: Any,
        size: Any,
        y: Any,
        y_at: Any,
        y_step: Any,
        room: Any,
    ) -> None:
        """Attend from up to four queries to one head of a sequence: y = softmax(q · keys / √size) · values.

        The first query sees `length` tokens; with `is_causal` each next one sees one more, else the same.
        """
        longest = length + (columns - 1 if is_causal else 0)
        stride = (longest + PAGE - 1) // PAGE * PAGE
        for i in range(columns * stride):
            room[i] = 0
        for number in range(stride // PAGE):
            page_at = cache_at + pages[pages_at + number] * page_size
            for start in range(0, PAGE, wide):
                mix_scores(q, q_at, q_step, columns, size, keys, page_at + start, room, number * PAGE + start, stride)
        factor = np.float32(1) / np.sqrt(np.float32(size))
        for column in range(columns):
            own, at = length + (column if is_causal else 0), column * stride
            for i in range(own, stride):
                room[at + i] = -np.inf
            weigh(room, at, stride, largest(room, at, stride), factor)
            for i in range(own, stride):
                room[at + i] = 0
            share = np.float32(1) / total(room, at, stride)
            for i in range(own):
                room[at + i] *= share
            for i in range(size):
                y[y_at + column * y_step + i] = 0
        for number in range(stride // PAGE):
            page_at = cache_at + pages[pages_at + number] * page_size
            count = min(PAGE, longest - number * PAGE)
            mix_values(room, number * PAGE, stride, columns, count, values, page_at, size, y, y_at, y_step)

    @plain
    def place(t: Any, layer: Any, row: Any) -> None:
        """Finish a row's queries, keys and values, and put the last two into the cache."""
        heads, kv_heads, size, position = t.heads, t.kv_heads, t.head_size, whole(t.positions)[row]
        width, half, slot = (heads + 2 * kv_heads) * size, size // 2, position % PAGE
        mixed, bias, epsilon, at = floats(t.mixed), floats(t.qkv_bias), floats(t.epsilon)[0], row * width
        for i in range(width):
            mixed[at + i] += bias[layer * width + i]
        for head in range(heads + kv_heads):
            if t.has_head_norm:
                weight = floats(t.query_norm) if head < heads else floats(t.key_norm)
                norm(mixed, at + head * size, size, weight, layer * size, epsilon, mixed, at + head * size)
            turn(mixed, at + head * size, half, floats(t.cosines), floats(t.sines), position * half)
        page = whole(t.page_list)[whole(t.page_starts)[row] + position // PAGE]
        keys, values = cached(t.keys), cached(t.values)
        for head in range(kv_heads):
            base = ((layer * t.pages + page) * kv_heads + head) * size * PAGE
            key_at, value_at = at + (heads + head) * size, at + (heads + kv_heads + head) * size
            for i in range(size):
                keys[base + i * PAGE + slot] = store(mixed[key_at + i])
                values[base + slot * size + i] = store(mixed[value_at + i])

    @plain
    def attend_block(t: Any, layer: Any, number: Any, room: Any) -> None:
        """Attend from one block of rows to one head of its sequence."""
        block, head = number // t.kv_heads, number % t.kv_heads
        row, count = whole(t.block_starts)[block], whole(t.block_counts)[block]
        heads, size, group = t.heads, t.head_size, t.heads // t.kv_heads
        width, page_size = (heads + 2 * t.kv_heads) * size, t.kv_heads * size * PAGE
        cache_at, length = (layer * t.pages * t.kv_heads + head) * size * PAGE, whole(t.positions)[row] + 1
        q, keys, values, y = floats(t.mixed), cached(t.keys), cached(t.values), floats(t.attended)
        pages, pages_at = whole(t.page_list), whole(t.page_starts)[row]
        if group == 1:
            attend(q, row * width + head * size, width, count, length, True, keys, values, cache_at, page_size, pages,
                   pages_at, size, y, (row * heads + head) * size, heads * size, room)  # fmt: skip
            return
        for own in range(count):
            for start in range(0, group, 4):
                at = head * group + start
                attend(q, (row + own) * width + at * size, size, min(4, group - start), length + own, False, keys, values,
                       cache_at, page_size, pages, pages_at, size, y, ((row + own) * heads + at) * size, size, room)  # fmt: skip

    @plain
    def embed(t: Any, row: Any) -> None:
        """Look up a row's token, and make it ready for the first layer."""
        x, weights, hidden, token = floats(t.x), weighted(t.embedding), t.hidden, whole(t.tokens)[row]
        start = token // TILE_ROWS * TILE_ROWS * hidden + token % TILE_ROWS * together
        for i in range(hidden):
            x[row * hidden + i] = np.float32(weights[start + i // together * together * TILE_ROWS + i % together])
        if is_int8:
            for i in range(hidden):
                x[row * hidden + i] *= floats(t.embedding_scale)[token]
        norm(x, row * hidden, hidden, floats(t.attention_norm), 0, floats(t.epsilon)[0], floats(t.h), row * hidden)

    @plain
    def linear(
        t: Any,
        part: Any,
        layer: Any,
        weights: Any,
        scale: Any,
        x: Any,
        rows: Any,
        size: Any,
        y: Any,
        width: Any,
        is_added: Any,
        room: Any,
    ) -> None:
        """Compute pieces of a layer's matrix until none is left; with `is_added`, add what comes out to t.x."""
        sync = whole(t.sync)
        if is_int8:
            round_rows(x, rows, size, room)
        while True:
            first, end = piece(claim(sync, part), width, t.threads)
            if first >= end:
                return
            multiply(
                weighted(weights),
                layer * width * size,
                floats(scale),
                layer * width,
                x,
                rows,
                size,
                y,
                width,
                first,
                end,
                room,
            )
            if is_added:
                add(floats(t.x), y, rows, width, first, end)

    @plain
    def gate(t: Any, part: Any, layer: Any, room: Any) -> None:
        """Compute pieces of silu(gate · h) × (up · h) until none is left."""
        sync, width, size, h, gated, upped = (
            whole(t.sync),
            t.inner,
            t.hidden,
            floats(t.h),
            floats(t.gated),
            floats(t.upped),
        )
        if is_int8:
            round_rows(h, t.rows, size, room)
        while True:
            first, end = piece(claim(sync, part), width, t.threads)
            if first >= end:
                return
            multiply(
                weighted(t.gate),
                layer * width * size,
                floats(t.gate_scale),
                layer * width,
                h,
                t.rows,
                size,
                gated,
                width,
                first,
                end,
                room,
            )
            multiply(
                weighted(t.up),
                layer * width * size,
                floats(t.up_scale),
                layer * width,
                h,
                t.rows,
                size,
                upped,
                width,
                first,
                end,
                room,
            )
            for row in range(t.rows):
                close(gated, upped, row * width + first, end - first)

    @plain
    def norms(t: Any, part: Any, weight: Any, layer: Any) -> None:
        """Norm rows into t.h until none is left."""
        while True:
            row = claim(whole(t.sync), part)
            if row >= t.rows:
                return
            norm(
                floats(t.x),
                row * t.hidden,
                t.hidden,
                floats(weight),
                layer * t.hidden,
                floats(t.epsilon)[0],
                floats(t.h),
                row * t.hidden,
            )

    @plain
    def run_layer(t: Any, layer: Any, room: Any) -> None:
        """Send all rows through one layer; t.h holds their norm, before and after."""
        sync, part, width = whole(t.sync), layer * PARTS_PER_LAYER, (t.heads + 2 * t.kv_heads) * t.head_size
        linear(t, part, layer, t.qkv, t.qkv_scale, floats(t.h), t.rows, t.hidden, floats(t.mixed), width, False, room)
        meet(sync, t.threads)
        while True:
            row = claim(sync, part + 1)
            if row >= t.rows:
                break
            place(t, layer, row)
        meet(sync, t.threads)
        while True:
            number = claim(sync, part + 2)
            if number >= t.blocks * t.kv_heads:
                break
            attend_block(t, layer, number, room)
        meet(sync, t.threads)
        linear(
            t,
            part + 3,
            layer,
            t.out,
            t.out_scale,
            floats(t.attended),
            t.rows,
            t.heads * t.head_size,
            floats(t.h),
            t.hidden,
            True,
            room,
        )
        meet(sync, t.threads)
        norms(t, part + 4, t.inner_norm, layer)
        meet(sync, t.threads)
        gate(t, part + 5, layer, room)
        meet(sync, t.threads)
        linear(
            t,
            part + 6,
            layer,
            t.down,
            t.down_scale,
            floats(t.gated),
            t.rows,
            t.inner,
            floats(t.h),
            t.hidden,
            True,
            room,
        )
        meet(sync, t.threads)

    @plain
    def run_step(t: Any, thread: Any) -> None:
        """Do one thread's share of a step."""
        sync, room, part = (
            whole(t.sync),
            floats(t.scratch + thread * t.scratch_size * 4),
            t.layers * (PARTS_PER_LAYER + 1),
        )
        while True:
            row = claim(sync, part)
            if row >= t.rows:
                break
            embed(t, row)
        meet(sync, t.threads)
        for layer in range(t.layers):
            run_layer(t, layer, room)
            if layer + 1 < t.layers:
                norms(t, t.layers * PARTS_PER_LAYER + layer, t.attention_norm, layer + 1)
                meet(sync, t.threads)
        while True:
            number = claim(sync, part + 1)
            if number >= t.wanted:
                break
            at, hidden = whole(t.wanted_rows)[number] * t.hidden, t.hidden
            norm(floats(t.x), at, hidden, floats(t.last_norm), 0, floats(t.epsilon)[0], floats(t.last), number * hidden)
        meet(sync, t.threads)
        linear(
            t,
            part + 2,
            0,
            t.output,
            t.output_scale,
            floats(t.last),
            t.wanted,
            t.hidden,
            floats(t.scores),
            t.vocabulary,
            False,
            room,
        )
        meet(sync, t.threads)

    @cfunc(SIGNATURE, error_model="numpy")  # type: ignore[untyped-decorator]
    def run(table: Any, thread: Any) -> None:
        """Thread 0 runs one step; each other one helps with every step until the table says that it is to end."""
        t = carray(table, (1,))[0]
        if thread == 0:
            sync = whole(t.sync)
            for number in range((PARTS_PER_LAYER + 1) * t.layers + 3):
                sync[CLAIMS + LINE * number] = 0
            for helper in range(1, t.threads):
                post(t.semaphores + helper * SEMAPHORE_BYTES)
            run_step(t, 0)
            return
        while True:
            wait(t.semaphores + thread * SEMAPHORE_BYTES)
            if t.is_ending:
                return
            run_step(t, thread)

    return run
