"""How the list of trusted keys, and a change of it, looks to a person."""

from collections.abc import Mapping
from typing import Any

from installer import trust
from installer.places import Places
from installer.rotation import Rotation
from installer.trust import Change


def signers(found: Mapping[str, Any], places: Places) -> str:
    """Return the keys that this server trusts."""
    lines = [f"{places.allowed_signers}: {found['threshold']} of these keys must sign a bundle"]
    for key in found["keys"]:
        limits = [f"{word} {key[at]}" for word, at in (("from", "valid_after"), ("until", "valid_before")) if key[at]]
        counts = f"does not count: {key['why']}" if key["why"] else "counts"
        lines.append("  ".join([key["fingerprint"], key["type"], counts, *limits, key["comment"]]).rstrip())
    return "\n".join(lines)


def trust_change(made: Change, is_dry_run: bool) -> str:
    """Return what became of a change of the list of trusted keys."""
    if not made.is_any:
        return "nothing to change: the list says so already"
    return "\n".join(["would change" if is_dry_run else "changed", *trust.lines(made)])


def rotation(done: Rotation) -> str:
    """Return what came of the list of keys that a bundle brought."""
    what = "is now this server's" if done.is_taken else f"was not taken; {done.hint}"
    return "\n".join([f"the bundle's list of trusted keys {what}", *trust.lines(done.change)])
