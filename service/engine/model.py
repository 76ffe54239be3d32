"""The weights, ready to decode with: a release's model folder comes in, a decoder goes out.

Owns torch's and transformers' loading. What is fed to the decoder, and what its scores mean, is left to batch.py.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from service.engine.decoding import Decoder
from service.engine.errors import EngineError
from service.engine.kv_pages import count_pages
from service.engine.torch_decoder import TorchDecoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A loaded model: its decoder, and what its makers say about decoding."""

    decoder: Decoder
    defaults: Mapping[str, Any]
    stop_tokens: frozenset[int]
    context_tokens: int


def load(folder: Path, context_tokens: int, threads: int, slots: int = 1) -> Model:
    """Load the weights as float32.

    The checkpoint's own type is bfloat16 or float16, in which prefill is several times slower on a CPU without
    instructions for it. Threads are set for the calling thread, which has to be the one that decodes: OpenMP counts
    them for each thread apart. Raises: EngineError.
    """
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        network = _load_weights(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(f"{folder}: the weights cannot be loaded: {error}", "run: ferry verify") from error
    defaults = _generation_config(folder)
    context = _limit_context(config, context_tokens)
    pages = slots * count_pages(context)
    decoder = TorchDecoder(network, config.num_hidden_layers, config.vocab_size, context, pages)
    return Model(decoder, defaults, _stop_tokens(defaults, config.eos_token_id), context)


def _load_weights(folder: Path) -> Any:
    network = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    return network.eval().requires_grad_(False)


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
