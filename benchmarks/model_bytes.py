"""How many bytes a model's decoder has to read for a token, by its config.json alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a key or a value takes in the cache: whole for float32, halved for int8.
CACHE_BYTES = {"float32": 4, "int8": 2}
SCALE_BYTES = 4


@dataclass(frozen=True)
class Shape:
    """The sizes that matter, of a Llama, Qwen2 or Qwen3."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    has_bias: bool

    @classmethod
    def of(cls, folder: Path) -> "Shape":
        """Read a model's config.json."""
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        heads = config["num_attention_heads"]
        return cls(
            config["hidden_size"],
            config["intermediate_size"],
            config["num_hidden_layers"],
            heads,
            config.get("num_key_value_heads") or heads,
            config.get("head_dim") or config["hidden_size"] // heads,
            config["vocab_size"],
            config["model_type"] == "qwen2",
        )

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Rows and columns of everything that a token is multiplied with; the output matrix last."""
        inner, joint = self.heads * self.head, (self.heads + 2 * self.key_heads) * self.head
        layer = [
            (joint, self.hidden),
            (self.hidden, inner),
            (2 * self.feed_forward, self.hidden),
            (self.hidden, self.feed_forward),
        ]
        return layer * self.layers + [(self.vocabulary, self.hidden)]

    def weights(self, precision: str) -> int:
        """Return the bytes of weights that one step reads: the same for one sequence and for many."""
        rows, cells = sum(row for row, _ in self.matrices), sum(row * column for row, column in self.matrices)
        joint = (self.heads + 2 * self.key_heads) * self.head
        vectors = (2 * self.layers + 1) * self.hidden + self.has_bias * self.layers * joint
        matrices = cells * 4 if precision == "float32" else cells + rows * SCALE_BYTES
        return matrices + 4 * vectors

    def cache(self, precision: str) -> int:
        """Return the bytes of one token's keys and values."""
        return 2 * self.layers * self.key_heads * self.head * CACHE_BYTES[precision]

    def read(self, precision: str, context: int, sequences: int = 1) -> int:
        """Return the bytes that a step reads which appends one token to each of some sequences."""
        return self.weights(precision) + sequences * context * self.cache(precision)
