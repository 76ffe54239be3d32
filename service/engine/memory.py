"""Whether this server's memory holds what the settings ask for: a model folder and settings come in, figures go out.

A start that cannot hold weights and caches is refused with the figures: better than a process that the kernel kills in
the middle of somebody's answer.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.config import Engine
from service.engine.errors import EngineError
from service.engine.header import read_header

FLOAT32_BYTES = 4
# A byte for each weight, and a float32 scale for each row of a matrix.
INT8_BYTES = 1.01
# The libraries, tokenizer, activations and scores: measured on Qwen1.5-0.5B after use.
WORKING_BYTES = 400 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class Need:
    """What a model takes under the settings."""

    weights_bytes: int
    cache_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes + WORKING_BYTES


def need(folder: Path, settings: Engine) -> Need:
    """Work out what the weights and the caches of all slots take. Raises: EngineError when the folder does not tell."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        parameters = _count_parameters(folder, config)
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"{folder}: the weights cannot be loaded: {error}", "run: ferry verify") from error
    each = INT8_BYTES if settings.precision == "int8" else FLOAT32_BYTES
    context = min(settings.context_tokens, config.get("max_position_embeddings") or settings.context_tokens)
    each_token = token_bytes(config) // (2 if settings.precision == "int8" else 1)
    return Need(math.ceil(parameters * each), settings.slots * context * each_token)


def token_bytes(config: Mapping[str, Any]) -> int:
    """Return the float32 bytes of keys and values of one token; 0 where a config.json does not tell."""
    heads = config.get("num_attention_heads") or 0
    kv_heads = config.get("num_key_value_heads") or heads
    head_size = config.get("head_dim") or (config.get("hidden_size") or 0) // max(heads, 1)
    return int(2 * FLOAT32_BYTES * (config.get("num_hidden_layers") or 0) * kv_heads * head_size)


def _count_parameters(folder: Path, config: Mapping[str, Any]) -> int:
    is_tied = config.get("tie_word_embeddings", False)
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb", buffering=0) as file:
            header, _ = read_header(file)
        # A second copy of a tied output matrix is in some files, and not in memory.
        kept = (entry for name, entry in header.items() if not (is_tied and name == "lm_head.weight"))
        total += sum(math.prod(entry["shape"]) for entry in kept)
    return total


def refuse_beyond(needed: Need, available_bytes: int, settings: Engine) -> None:
    """Raises: EngineError with the figures when the memory does not hold what is needed."""
    if needed.total_bytes <= available_bytes:
        return
    raise EngineError(
        f"not enough memory: the weights take {_gib(needed.weights_bytes)}, [engine] slots = {settings.slots} of "
        f"context_tokens = {settings.context_tokens} take {_gib(needed.cache_bytes)}, together "
        f"{_gib(needed.total_bytes)} with what is worked in, and {_gib(available_bytes)} are available",
        'lower slots or context_tokens, set precision = "int8", or free memory; then: ferry stop; ferry start',
    )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB"


def available_bytes(root: Path = Path("/")) -> int:
    """Return what this process may still take: of the machine's memory, and of its control groups' limits."""
    rows = (line.split() for line in (root / "proc/meminfo").read_text().splitlines())
    sizes = {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
    return min([sizes.get("MemAvailable", sizes["MemFree"]), *_group_rooms(root)])


def _group_rooms(root: Path) -> Iterator[int]:
    """Yield what each control group above this process leaves; pages of files do not count, the kernel drops them."""
    for folder, limit, usage, files in _groups(root):
        try:
            most, used = (int((folder / name).read_text()) for name in (limit, usage))
            rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            cached = sum(int(value) for name, value in rows if name in files)
        except (OSError, ValueError):
            # No such file at the top, or the limit is "max".
            continue
        yield max(0, most - used + cached)


def _groups(root: Path) -> Iterator[tuple[Path, str, str, tuple[str, str]]]:
    """Yield this process's groups, each with its parents: Linux's cgroup-v2.rst and cgroup-v1/memory.rst."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mount = root / "sys/fs/cgroup" / ("" if not controllers else "memory")
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            if not controllers:
                yield folder, "memory.max", "memory.current", ("inactive_file", "active_file")
            elif "memory" in controllers.split(","):
                names = ("total_inactive_file", "total_active_file")
                yield folder, "memory.limit_in_bytes", "memory.usage_in_bytes", names
