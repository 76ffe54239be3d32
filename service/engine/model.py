"""A release's model folder comes in, a loaded model goes out: its decoder, and what its makers say about decoding.

The decoder is Ferry's own where the kernels know the model and the processor runs them, else transformers' forward.
Which token follows is left to chooser.py, who is decoded when to scheduler.py.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from service.config import Engine
from service.engine.cpu import count_threads
from service.engine.decoding import Decoder
from service.engine.errors import EngineError
from service.engine.fast_decoder import FastDecoder, make_angles
from service.engine.kernels.finding import NoKernels, find
from service.engine.kernels.loading import load as load_kernels
from service.engine.kernels.processor import describe
from service.engine.kv_pages import count_pages
from service.engine.model_config import read_config
from service.engine.room import Room
from service.engine.shape import UnknownShape, read_shape
from service.engine.weights import Weights

log = logging.getLogger(__name__)
# Precision -> what keys and values are kept as.
CACHE_KINDS: Mapping[str, Any] = {"float32": np.float32, "int8": np.uint16}


@dataclass(frozen=True)
class Model:
    """A loaded model; `decoding` says in words what decodes it."""

    decoder: Decoder
    defaults: Mapping[str, Any]
    stop_tokens: frozenset[int]
    context_tokens: int
    decoding: str


def load(folder: Path, settings: Engine, cache: Path, room: Room) -> Model:
    """Load the weights in the precision that is set into the room; `cache` keeps kernels for another processor.

    Threads are set for the calling thread, which has to be the one that decodes: OpenMP counts them for each thread
    apart. Raises: EngineError.
    """
    threads = count_threads(settings.threads)
    torch.set_num_threads(threads)
    try:
        config = read_config(folder)
        context = _limit_context(config, settings.context_tokens)
        pages = settings.slots * count_pages(context)
        decoder, decoding = _decoder(folder, config, settings.precision, context, pages, threads, cache, room)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise EngineError(f"{folder}: the weights cannot be loaded: {error}", "run: ferry verify") from error
    defaults = _generation_config(folder)
    return Model(decoder, defaults, _stop_tokens(defaults, config.eos_token_id), context, decoding)


def _decoder(
    folder: Path, config: Any, precision: str, context: int, pages: int, threads: int, cache: Path, room: Room
) -> tuple[Decoder, str]:
    try:
        kernels = find(folder.parent, cache)
        lanes = describe(kernels)["lanes"]
        assert isinstance(lanes, int)
        shape = read_shape(config, lanes)
    except (NoKernels, UnknownShape) as error:
        log.warning("decoding with torch's own operators, in float32 and several times slower: %s", error)
        room.free()
        return _torch_decoder(folder, context, pages), "torch float32"
    weights = Weights(folder, shape, room, lanes, is_int8=precision == "int8", threads=threads)
    angles = make_angles(config, context)
    run = load_kernels(kernels, precision)
    kind = CACHE_KINDS[precision]
    return FastDecoder(run, shape, weights, angles, context, pages, threads, kind), f"kernels {precision}"


def _torch_decoder(folder: Path, context: int, pages: int) -> Decoder:
    # Only here: the other models do without transformers' own code, and without the time and memory it takes.
    from service.engine.torch_decoder import load as load_torch

    return load_torch(folder, context, pages)


def _limit_context(config: Any, wanted: int) -> int:
    most: int = getattr(config, "max_position_embeddings", wanted)
    if most < wanted:
        log.warning("[engine] context_tokens = %d: this model sees %d tokens at the most", wanted, most)
    return min(wanted, most)


def _generation_config(folder: Path) -> Mapping[str, Any]:
    """What generation_config.json says, and no more: transformers' class would add defaults of its own."""
    path = folder / "generation_config.json"
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def _stop_tokens(defaults: Mapping[str, Any], fallback: int | list[int] | None) -> frozenset[int]:
    """Chat models stop at more than one token: with only the first of them answers run on."""
    named = defaults.get("eos_token_id", fallback)
    return frozenset(named if isinstance(named, list) else [] if named is None else [named])
