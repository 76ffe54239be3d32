"""Words that several reports share: JSON, sizes, what a delta leaves out. Pure, and quickly imported."""

import json
from typing import Any

from checksums.manifest import Manifest


def as_json(value: Any) -> str:
    """Return JSON for scripts."""
    return json.dumps(value, indent=1)


def size(size_bytes: int) -> str:
    """Return a size for people, 0 being one that the index does not tell."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B" if size_bytes else "unknown"


def delta_text(manifest: Manifest) -> str:
    """Return what a delta leaves out; "" for a full bundle."""
    if manifest.base is None:
        return ""
    left_out = set(manifest.base.files)
    bytes_left_out = sum(file.size for file in manifest.files if file.path in left_out)
    amount = f"{len(left_out)} of {len(manifest.files)} files, {size(bytes_left_out)}"
    return f"on {manifest.base.release}: leaves out {amount}; a server that lacks one of them refuses it"
