"""What the settings ask of memory beyond the release's own figure: ferry.toml and config.json come in, bytes go out.

The manifest counts float32 weights and one conversation of 2,048 tokens; a server may be set to longer or more of them.
"""

import json
import re
from typing import Any

from installer.places import Places

COUNTED_TOKENS = 2048
SETTING = r"^[ \t]*{name}[ \t]*=[ \t]*([0-9]{{1,7}})[ \t]*(?:#.*)?$"


def extra_bytes(places: Places) -> int:
    """Return the bytes of keys and values that the settings want beyond those the manifest counts; 0 where unknown."""
    try:
        text = places.config.read_text(errors="replace")
        config = json.loads((places.current / "model" / "config.json").read_bytes())
    except (OSError, ValueError):
        return 0
    tokens = setting(text, "context_tokens", COUNTED_TOKENS) * setting(text, "slots", 1)
    return max(0, tokens - COUNTED_TOKENS) * token_bytes(config if isinstance(config, dict) else {})


def setting(text: str, name: str, default: int) -> int:
    """Return a whole number of ferry.toml."""
    found = re.search(SETTING.format(name=name), text, re.MULTILINE)
    return int(found[1]) if found else default


def token_bytes(config: dict[str, Any]) -> int:
    """Return the float32 bytes of keys and values of one token, by the model's config.json; 0 if it does not tell."""
    heads = _number(config, "num_attention_heads")
    kv_heads = _number(config, "num_key_value_heads") or heads
    head_size = _number(config, "head_dim") or _number(config, "hidden_size") // max(heads, 1)
    return 2 * 4 * _number(config, "num_hidden_layers") * kv_heads * head_size


def _number(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and value > 0 else 0
