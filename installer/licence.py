"""The model's licence: shown always, and to be accepted where it is not one that allows everything.

An allow-list: what we do not know counts as restricted, so that nobody uses a model against its terms by our silence.
"""

from collections.abc import Callable
from pathlib import Path

from checksums.errors import UsageError
from checksums.manifest import Manifest

# SPDX identifiers (and how hubs write them) of licences that allow commercial use with no more than a notice.
FREE = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc-by-4.0", "cc0-1.0", "unlicense"}
TEXTS = "licenses/model/"
Ask = Callable[[str], bool]


def is_restricted(name: str) -> bool:
    """Say whether a licence may forbid some use."""
    return name.strip().lower() not in FREE


def describe(manifest: Manifest, bundle: Path) -> str:
    """Return what the operator is told: model, licence, and how to read its text."""
    texts = [file.path for file in manifest.files if file.path.startswith(TEXTS)]
    lines = [f"model {manifest.model.id}: licence {manifest.model.license}"]
    if is_restricted(manifest.model.license):
        lines.append("this licence may restrict the use, commercial use above all")
        lines += [f"to read it: tar -xOf {bundle} {manifest.name}/{path}" for path in texts]
    return "\n".join(lines)


def accept(manifest: Manifest, bundle: Path, is_accepted: bool, ask: Ask | None) -> None:
    """Return when the licence is free or accepted; `ask` puts a question to a terminal, where there is one.

    Raises:
        UsageError: it is restricted and nobody accepted it.
    """
    if not is_restricted(manifest.model.license) or is_accepted:
        return
    if ask is None or not ask(f"{describe(manifest, bundle)}\nAccept it? Type yes: "):
        raise UsageError(
            f"the model's licence was not accepted: {manifest.model.license}",
            f"read it (tar -xOf {bundle} --wildcards '*/{TEXTS}*'), then add --accept-license",
        )
