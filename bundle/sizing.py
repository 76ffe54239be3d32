"""What an installation takes: bytes on disk and of memory, computed from what the bundle carries."""

from collections.abc import Iterable
from typing import Protocol

from bundle.artifacts import Artifact
from bundle.weights import Facts
from checksums.manifest import Requires

# Measured on an environment with these wheels: 307 MB of bytecode for 236 MB of Python source.
BYTECODE_PER_SOURCE = 1.3
# Resident before the first weight: torch and transformers imported 431 MiB, the web tier, and room to compute in.
BASE_RAM_BYTES = 700_000_000
CONTEXT_TOKENS = 2048
FLOAT32_BYTES = 4


class Unpacked(Protocol):
    """Something that is unpacked on the server, a wheel or an interpreter: its bytes, and those of Python source."""

    @property
    def unpacked_bytes(self) -> int:
        """All of it."""

    @property
    def source_bytes(self) -> int:
        """What is compiled."""


def requirements(artifacts: Iterable[Artifact], infos: Iterable[Unpacked], facts: Facts) -> Requires:
    """Return what the default configuration needs: float32 weights and one conversation of 2,048 tokens."""
    payload = sum(artifact.size_bytes for artifact in artifacts)
    environment = sum(info.unpacked_bytes + round(BYTECODE_PER_SOURCE * info.source_bytes) for info in infos)
    weights = FLOAT32_BYTES * facts.parameters + CONTEXT_TOKENS * facts.kv_bytes_per_token
    return Requires(disk_bytes=payload + environment, ram_bytes=BASE_RAM_BYTES + weights)
