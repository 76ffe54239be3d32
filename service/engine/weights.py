"""Weights as the kernels read them: a folder of safetensors comes in, flat arrays in tiles go out.

A tile is TILE_ROWS rows of a matrix: a vector of its first row's elements, one of its second, …, then the next one of
its first. So a matrix is read as one stream while several rows are summed up. Matrices are read, converted and
put in place some rows at a time: at no time is there a second copy of the model. As int8, a row of a matrix is whole
numbers from -127 to 127 and one scale (round to nearest, symmetric).

Each thread has stretches of memory of its own to fill: most of the time goes into the kernel's zeroing of new pages,
and two that touch the same huge page would both zero it. What room.py did beforehand is done already.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.engine.kernels.table import TILE_ROWS
from service.engine.room import Room
from service.engine.shape import Shape
from service.engine.tensors import Tensor, opened

# Rows read and converted at once: few enough to take little beside the weights, and enough that the threads do not wait
# for each other's interpreter.
ROWS_AT_ONCE = 256
# Rows that one thread does: a vocabulary of 150,000 is shared out.
ROWS_A_JOB = 16 * ROWS_AT_ONCE
Array = NDArray[np.generic]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Job:
    """Rows of a tensor, and where they go: whole tiles of elements, and a scale for each row."""

    tensor: Tensor
    first: int
    elements: Array
    scale: NDArray[np.float32]


class Weights:
    """All weights of a model, by the names that kernels/table.py has for them."""

    def __init__(self, folder: Path, shape: Shape, room: Room, lanes: int, is_int8: bool, threads: int = 1) -> None:
        """Load a model folder. Raises: KeyError when a tensor is missing, ValueError when one has another shape."""
        self._kind = np.int8 if is_int8 else np.float32
        # Elements of a row that stand together: one vector of the kernels.
        self._together = 2 * lanes if is_int8 else lanes
        self._shape, self._room = shape, room
        with opened(folder) as tensors, ThreadPoolExecutor(threads) as pool:
            self._pool = pool
            self.arrays = dict(self._arrays(tensors))

    def _arrays(self, get: Tensors) -> Iterator[tuple[str, Array]]:
        s, layers = self._shape, range(self._shape.layers)
        attention, inner = "model.layers.{}.self_attn.", "model.layers.{}.mlp."
        three = [attention + f"{letter}_proj" for letter in "qkv"]
        widths = [s.heads * s.head_size, s.kv_heads * s.head_size, s.kv_heads * s.head_size]
        yield from self._matrix(get, "qkv", [f"{name}.weight" for name in three], s.mixed, s.hidden)
        yield "qkv_bias", _vectors(get, [[f"{name}.bias".format(i) for name in three] for i in layers], widths)
        yield from self._matrix(get, "out", [attention + "o_proj.weight"], s.hidden, s.heads * s.head_size)
        yield from self._matrix(get, "gate", [inner + "gate_proj.weight"], s.inner, s.hidden)
        yield from self._matrix(get, "up", [inner + "up_proj.weight"], s.inner, s.hidden)
        yield from self._matrix(get, "down", [inner + "down_proj.weight"], s.hidden, s.inner)
        yield from self._words(get, "embedding", "model.embed_tokens.weight")
        if not s.is_tied:
            yield from self._words(get, "output", "lm_head.weight")
        for name, tensor in (("attention_norm", "input_layernorm"), ("inner_norm", "post_attention_layernorm")):
            yield name, _vectors(get, [[f"model.layers.{i}.{tensor}.weight"] for i in layers], [s.hidden])
        yield "last_norm", _vectors(get, [["model.norm.weight"]], [s.hidden])
        for name in ("query", "key"):
            wanted = [[f"model.layers.{i}.self_attn.{name[0]}_norm.weight"] for i in layers]
            yield f"{name}_norm", _vectors(get, wanted if s.has_head_norm else [], [s.head_size])

    def _matrix(
        self, get: Tensors, name: str, parts: list[str], rows: int, columns: int
    ) -> Iterator[tuple[str, Array]]:
        elements = self._room.take((self._shape.layers, rows, columns), self._kind)
        scale = np.ones((self._shape.layers, rows), np.float32)
        jobs: list[Job] = []
        for layer in range(self._shape.layers):
            start = 0
            for part in parts:
                found = get[part.format(layer)]
                end = start + found.shape[0]
                jobs += _jobs(found, elements[layer, start:end], scale[layer, start:end])
                start = end
        self._do(jobs)
        yield name, elements
        yield f"{name}_scale", scale

    def _words(self, get: Tensors, name: str, tensor: str) -> Iterator[tuple[str, Array]]:
        """The embedding or the output matrix; what fills up the last tile is zero."""
        elements = self._room.take((self._shape.padded_vocabulary, self._shape.hidden), self._kind)
        scale = np.ones(self._shape.padded_vocabulary, np.float32)
        self._do([*_jobs(get[tensor], elements, scale)])
        yield name, elements
        yield f"{name}_scale", scale

    def _do(self, jobs: Sequence[Job]) -> None:
        """Do all jobs, on all threads."""
        for _ in self._pool.map(self._convert, jobs):
            pass

    def _convert(self, job: Job) -> None:
        """Read rows, convert them and lay them out; a last tile that they do not fill stays zero."""
        for start in range(0, len(job.elements), ROWS_AT_ONCE):
            rows = job.tensor.rows(job.first + start, job.first + min(start + ROWS_AT_ONCE, len(job.elements)))
            if self._kind is np.int8:
                factor = np.maximum(np.abs(rows).max(-1, initial=0) / np.float32(127), np.float32(1e-30))
                np.rint(np.divide(rows, factor[:, None], out=rows), out=rows)
                job.scale[start : start + len(rows)] = factor
            if missing := -len(rows) % TILE_ROWS:
                rows = np.pad(rows, ((0, missing), (0, 0)))
            tiles = rows.reshape(len(rows) // TILE_ROWS, TILE_ROWS, -1, self._together).transpose(0, 2, 1, 3)
            target = job.elements[start : start + len(rows)].reshape(tiles.shape)
            np.copyto(target, tiles, casting="unsafe")


def _jobs(found: Tensor, elements: Array, scale: NDArray[np.float32]) -> Iterator[Job]:
    """Share a matrix out. Raises: ValueError when it has another shape than its place."""
    if found.shape[1:] != elements.shape[1:] or not 0 <= len(elements) - found.shape[0] < TILE_ROWS:
        raise ValueError(f"a matrix is {found.shape} and should be {elements.shape}")
    for first in range(0, found.shape[0], ROWS_A_JOB):
        end = first + ROWS_A_JOB
        yield Job(found, first, elements[first:end], scale[first:end])


def _vectors(get: Tensors, names: list[list[str]], widths: list[int]) -> NDArray[np.float32]:
    """Read vectors that stand side by side, a row a layer; those that the model does not have are zero."""
    rows = [
        np.concatenate([_vector(get, name, width) for name, width in zip(row, widths, strict=True)]) for row in names
    ]
    return np.stack(rows) if rows else np.zeros((1, sum(widths)), np.float32)


def _vector(get: Tensors, name: str, width: int) -> NDArray[np.float32]:
    try:
        found: NDArray[np.float32] = get[name].all()
    except KeyError:
        if not name.endswith(".bias"):
            raise
        return np.zeros(width, np.float32)
    if found.shape != (width,):
        raise ValueError(f"{name} is {found.shape} and should be {(width,)}")
    return found
