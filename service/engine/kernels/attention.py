"""Attention over paged keys and values: rows are put into the cache, then attend to their sequence's tokens.

Formulas: transformers' modeling_llama.py, modeling_qwen2.py, modeling_qwen3.py.
"""

from typing import NamedTuple

import numpy as np

from service.engine.decoding import PAGE_TOKENS as PAGE
from service.engine.kernels.arrays import compiled, floats, make_array, whole
from service.engine.kernels.vector import make_mix
from service.engine.kernels.vector_maths import make_fold, make_weigh, to_half

MOST_HALF = np.float32(65504)


class Queries(NamedTuple):
    """Up to four queries of one sequence that share a head of keys and values, and where things are."""

    count: int
    # Tokens that the first one sees, and how many more each next one does: 1 for the next row, 0 for another head.
    length: int
    growth: int
    # In t.mixed, and in t.attended for what comes out.
    query_at: int
    query_step: int
    result_at: int
    result_step: int
    # In t.page_list; in t.keys and t.values, where this layer and head begin in page 0.
    pages_at: int
    cache_at: int


@compiled
def turn(x, at, half, cosines, sines, angle_at):
    """Rotate by the position (RoPE, Su et al. 2021): element i with element i + half, as transformers pairs them."""
    for i in range(half):
        a, b, cos, sin = x[at + i], x[at + half + i], cosines[angle_at + i], sines[angle_at + i]
        x[at + i] = a * cos - b * sin
        x[at + half + i] = b * cos + a * sin


def make_place(cache_like, norm):
    """Make a function that finishes a row's queries, keys and values, and puts the last two into the cache."""
    is_half, cached = isinstance(cache_like, np.uint16), make_array(cache_like)

    @compiled
    def stored(value):
        if is_half:
            return to_half(min(max(value, -MOST_HALF), MOST_HALF))
        return value

    @compiled
    def keep(t, layer, row, mixed, key_at):
        position, size = whole(t.positions)[row], t.head_size
        page, slot = whole(t.page_list)[whole(t.page_starts)[row] + position // PAGE], position % PAGE
        keys, values, value_at = cached(t.keys), cached(t.values), key_at + t.kv_heads * size
        for head in range(t.kv_heads):
            base = ((layer * t.pages + page) * t.kv_heads + head) * size * PAGE
            for i in range(size):
                keys[base + i * PAGE + slot] = stored(mixed[key_at + head * size + i])
                values[base + slot * size + i] = stored(mixed[value_at + head * size + i])

    @compiled
    def place(t, layer, row):
        size, half, position = t.head_size, t.head_size // 2, whole(t.positions)[row]
        width, mixed, bias = (t.heads + 2 * t.kv_heads) * size, floats(t.mixed), floats(t.qkv_bias)
        for i in range(width):
            mixed[row * width + i] += bias[layer * width + i]
        for head in range(t.heads + t.kv_heads):
            at = row * width + head * size
            if t.has_head_norm:
                norm(t, mixed, at, size, t.query_norm if head < t.heads else t.key_norm, layer * size, mixed, at)
            turn(mixed, at, half, floats(t.cosines), floats(t.sines), position * half)
        keep(t, layer, row, mixed, row * width + t.heads * size)

    return place


@compiled
def gather(t, layer, row, head, count, is_by_row):
    """Describe the queries of one head in `count` rows, or of `count` heads in one row."""
    size, heads, kv_head = t.head_size, t.heads, head // (t.heads // t.kv_heads)
    width, length = (heads + 2 * t.kv_heads) * size, whole(t.positions)[row] + 1
    growth, query_step, result_step = (1, width, heads * size) if is_by_row else (0, size, size)
    query_at, result_at, pages_at = row * width + head * size, (row * heads + head) * size, whole(t.page_starts)[row]
    cache_at = (layer * t.pages * t.kv_heads + kv_head) * size * PAGE
    return Queries(count, length, growth, query_at, query_step, result_at, result_step, pages_at, cache_at)


def make_mix_rows(lanes):
    """Make a function for up to four rows of any width: y[b, d] += sum over t < count of p[b, t] * v[t, d]."""
    mix1, mix2, mix3, mix4 = (make_mix(lanes, 4, columns) for columns in (1, 2, 3, 4))
    mix_end, wide = make_mix(lanes, 2, 1), 4 * lanes

    @compiled
    def mix(columns, p, p_at, p_step, count, v, v_at, width, y, y_at, y_step):
        at = 0
        while width - at >= wide:
            if columns == 4:
                mix4(p, p_at, p_step, count, v, v_at + at, width, y, y_at + at, y_step)
            elif columns == 3:
                mix3(p, p_at, p_step, count, v, v_at + at, width, y, y_at + at, y_step)
            elif columns == 2:
                mix2(p, p_at, p_step, count, v, v_at + at, width, y, y_at + at, y_step)
            else:
                mix1(p, p_at, p_step, count, v, v_at + at, width, y, y_at + at, y_step)
            at += wide
        if at < width:
            for b in range(columns):
                mix_end(p, p_at + b * p_step, p_step, count, v, v_at + at, width, y, y_at + b * y_step + at, y_step)

    return mix


def make_soften(lanes):
    """Make a function that sets each query's scores to softmax(scores / √size), zero where it does not see."""
    largest, total, weigh = make_fold(lanes, "max"), make_fold(lanes, "sum"), make_weigh(lanes)

    @compiled
    def soften(q, scores, stride, size):
        factor = np.float32(1) / np.sqrt(np.float32(size))
        for column in range(q.count):
            seen, at = q.length + column * q.growth, column * stride
            for i in range(seen, stride):
                scores[at + i] = -np.inf
            weigh(scores, at, stride, largest(scores, at, stride), factor)
            for i in range(seen, stride):
                scores[at + i] = 0
            share = np.float32(1) / total(scores, at, stride)
            for i in range(seen):
                scores[at + i] *= share

    return soften


def make_attend(lanes, cache_like):
    """Make a function that attends from one block of rows to one head of its sequence."""
    mix, soften, cached = make_mix_rows(lanes), make_soften(lanes), make_array(cache_like)

    @compiled
    def attend_queries(t, q, room):
        """Compute softmax(q · keys / √size) · values."""
        size, page_size, pages = t.head_size, t.kv_heads * t.head_size * PAGE, whole(t.page_list)
        queries, keys, values, results = floats(t.mixed), cached(t.keys), cached(t.values), floats(t.attended)
        longest, scores = q.length + (q.count - 1) * q.growth, floats(room)
        page_count = (longest + PAGE - 1) // PAGE
        stride = page_count * PAGE
        for i in range(q.count * stride):
            scores[i] = 0
        for number in range(page_count):
            page_at = q.cache_at + pages[q.pages_at + number] * page_size
            mix(q.count, queries, q.query_at, q.query_step, size, keys, page_at, PAGE, scores, number * PAGE, stride)
        soften(q, scores, stride, size)
        for column in range(q.count):
            for i in range(size):
                results[q.result_at + column * q.result_step + i] = 0
        for number in range(page_count):
            page_at, count = q.cache_at + pages[q.pages_at + number] * page_size, min(PAGE, longest - number * PAGE)
            mix(
                q.count,
                scores,
                number * PAGE,
                stride,
                count,
                values,
                page_at,
                size,
                results,
                q.result_at,
                q.result_step,
            )

    @compiled
    def attend(t, layer, number, room):
        block, kv_head, group = number // t.kv_heads, number % t.kv_heads, t.heads // t.kv_heads
        first, count = whole(t.block_starts)[block], whole(t.block_counts)[block]
        if group == 1:
            attend_queries(t, gather(t, layer, first, kv_head, count, True), room)
            return
        for row in range(first, first + count):
            for start in range(0, group, 4):
                head = kv_head * group + start
                attend_queries(t, gather(t, layer, row, head, min(4, group - start), False), room)

    return attend
