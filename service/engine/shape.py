"""The shape of a decoder that the kernels know: transformers' configuration comes in, sizes go out, or why not.

Qwen2, Qwen3 and Llama are one architecture with two switches: a bias on queries, keys and values, and a norm of each
head's queries and keys. Qwen1.5 and Qwen2.5 call themselves Qwen2, SmolLM2 calls itself Llama.
"""

from dataclasses import dataclass
from typing import Any

from service.engine.decoding import PAGE_TOKENS
from service.engine.kernels.table import TILE_ROWS

KNOWN = ("qwen2", "qwen3", "llama")


class UnknownShape(Exception):
    """The kernels cannot run this model; the text says why."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder-only transformer; `inner` is the width of the feed-forward part."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    epsilon: float
    has_head_norm: bool
    is_tied: bool

    @property
    def mixed(self) -> int:
        """Width of queries, keys and values together."""
        return (self.heads + 2 * self.kv_heads) * self.head_size

    @property
    def padded_vocabulary(self) -> int:
        """The vocabulary in whole tiles."""
        return -(-self.vocabulary // TILE_ROWS) * TILE_ROWS

    @property
    def matrix_elements(self) -> int:
        """How many weights the matrices have."""
        layer = self.mixed * self.hidden + self.heads * self.head_size * self.hidden + 3 * self.inner * self.hidden
        return self.layers * layer + self.padded_vocabulary * self.hidden * (1 if self.is_tied else 2)

    def page_bytes(self, element_bytes: int) -> int:
        """Return how many bytes the keys and values of a page of tokens take."""
        return 2 * self.layers * self.kv_heads * self.head_size * PAGE_TOKENS * element_bytes


def read_shape(config: Any, lanes: int) -> Shape:
    """Read a PretrainedConfig. Raises: UnknownShape."""
    _check_kind(config)
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        head_size,
        config.vocab_size,
        config.rms_norm_eps,
        config.model_type == "qwen3",
        config.tie_word_embeddings,
    )
    named = {"hidden size": shape.hidden, "feed-forward size": shape.inner, "head size": shape.head_size}
    for name, size in named.items():
        if size % (2 * lanes):
            raise UnknownShape(f"its {name} {size} is no multiple of {2 * lanes}")
    return shape


def _check_kind(config: Any) -> None:
    if config.model_type not in KNOWN:
        raise UnknownShape(f"models of the kind {config.model_type} are not among {', '.join(KNOWN)}")
    if config.hidden_act != "silu" or getattr(config, "mlp_bias", False):
        raise UnknownShape("its feed-forward part is not the usual one")
    if config.model_type != "qwen2" and getattr(config, "attention_bias", False):
        raise UnknownShape("its attention has a bias")
    layers = set(getattr(config, "layer_types", None) or ())
    if getattr(config, "use_sliding_window", False) or layers - {"full_attention"}:
        raise UnknownShape("its attention slides")
