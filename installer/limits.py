"""How much of this server the engine may take: manifest, settings and server come in, figures for its unit go out.

Pure. The figures are generous on purpose: they end an engine that leaks or runs wild before the server suffers, and
never one that works. What a model needs is the bundle's own figure, the one that preflight compares with the memory.
"""

import os
import re
from dataclasses import dataclass

from checksums.manifest import Manifest

MIB = 1 << 20
# What `requires.ram_bytes` counts in beside the weights and one conversation (bundle/sizing.py; a test compares them).
BASE_RAM_BYTES = 700_000_000
CONTEXT_TOKENS = 2048
FLOAT32_BYTES = 4
# Room for as many is given even where the settings ask for less, so that a longer context needs no other limit.
ROOM_TOKENS = 8192
MODEL_FOLDER = "payload/model/"
# The decoder's threads, one pool for each of torch, OpenMP, numba and the tokenizer, and those that prepare requests.
BASE_TASKS, TASKS_PER_CPU = 128, 8


@dataclass(frozen=True)
class Server:
    """What there is to share out."""

    memory_bytes: int
    cpus: int


@dataclass(frozen=True)
class Limits:
    """The engine's limits; `room_tokens` is the context, of all slots together, that they were made for."""

    memory_high_bytes: int
    memory_max_bytes: int
    tasks_max: int
    room_tokens: int

    def values(self) -> dict[str, str]:
        """Return them by the names that the unit's template has for them."""
        return {
            "MEMORY_HIGH": f"{self.memory_high_bytes // MIB}M",
            "MEMORY_MAX": f"{self.memory_max_bytes // MIB}M",
            "TASKS_MAX": str(self.tasks_max),
            "ROOM_TOKENS": str(self.room_tokens),
        }


def this_server() -> Server:
    """Measure the server that this runs on."""
    return Server(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), os.cpu_count() or 1)


def limits(manifest: Manifest, settings: str, server: Server) -> Limits:
    """Work out the limits for a release under the text of a ferry.toml.

    The model's files are counted beside the weights: while they are read, the kernel's copies of their pages count as
    the unit's. A quarter on top is headroom; of the server's own memory a tenth is left to everything else, unless
    the release needs that too.
    """
    tokens = max(tokens_of(settings), ROOM_TOKENS)
    # No engine works with less than its libraries take, whatever a bundle says.
    needed = max(manifest.requires.ram_bytes, BASE_RAM_BYTES)
    needed += _kv_bytes_per_token(manifest) * (tokens - CONTEXT_TOKENS)
    files = sum(file.size for file in manifest.files if file.path.startswith(MODEL_FOLDER))
    generous = (needed + files) * 5 // 4
    most = _whole_mib(min(generous, max(needed, server.memory_bytes * 9 // 10)))
    # Beyond the lower figure the kernel takes pages back and slows the unit down; the last twentieth is that warning.
    return Limits(_whole_mib(most * 19 // 20), most, BASE_TASKS + TASKS_PER_CPU * server.cpus, tokens)


def tokens_of(settings: str) -> int:
    """Return the context of all slots together that a ferry.toml asks for."""
    return _number(settings, "context_tokens", CONTEXT_TOKENS) * _number(settings, "slots", 1)


def _number(settings: str, key: str, default: int) -> int:
    """Read a whole number of TOML's; of several the largest, and the default where none can be read."""
    found = re.findall(rf"^[ \t]*(?:engine\.)?{key}[ \t]*=[ \t]*\+?([0-9][0-9a-zA-Z_]*)", settings, re.MULTILINE)
    return max([number for text in found if (number := _parse(text))], default=default)


def _parse(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _kv_bytes_per_token(manifest: Manifest) -> int:
    conversation = manifest.requires.ram_bytes - BASE_RAM_BYTES - FLOAT32_BYTES * manifest.model.parameters
    return max(0, conversation // CONTEXT_TOKENS)


def _whole_mib(size_bytes: int) -> int:
    return -(-size_bytes // MIB) * MIB
