"""The model's licence: shown always, and to be accepted where it is not one that allows everything.

An allow-list: what we do not know counts as restricted, so that nobody uses a model against its terms by our silence.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from checksums import parts
from checksums.errors import UsageError
from checksums.manifest import Manifest

# SPDX identifiers (and how hubs write them) of licences that allow commercial use with no more than a notice.
FREE = {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc-by-4.0", "cc0-1.0", "unlicense"}
TEXTS = "licenses/model/"
Ask = Callable[[str], bool]


def is_restricted(name: str) -> bool:
    """Say whether a licence may forbid some use."""
    return name.strip().lower() not in FREE


def describe(manifest: Manifest, bundle: Path, base: Mapping[str, Path]) -> str:
    """Return what the operator is told: model, licence, and how to read its text.

    `bundle` is its file or one of its parts; `base` is SHA-256 -> file of this server, for what a delta leaves out.
    """
    lines = [f"model {manifest.model.id}: licence {manifest.model.license}"]
    if is_restricted(manifest.model.license):
        lines.append("this licence may restrict the use, commercial use above all")
        lines += [f"to read it: {command}" for command in _commands(manifest, bundle, base)]
    return "\n".join(lines)


def accept(manifest: Manifest, bundle: Path, base: Mapping[str, Path], is_accepted: bool, ask: Ask | None) -> None:
    """Return when the licence is free or accepted; `ask` puts a question to a terminal, where there is one.

    Raises:
        UsageError: it is restricted and nobody accepted it.
    """
    if not is_restricted(manifest.model.license) or is_accepted:
        return
    if ask is None or not ask(f"{describe(manifest, bundle, base)}\nAccept it? Type yes: "):
        how = next(_commands(manifest, bundle, base), "its text is not in the bundle")
        raise UsageError(
            f"the model's licence was not accepted: {manifest.model.license}",
            f"read it ({how}), then add --accept-license",
        )


def _commands(manifest: Manifest, bundle: Path, base: Mapping[str, Path]) -> Iterator[str]:
    """Yield the commands that show the licence's texts."""
    for file in manifest.files:
        if not file.path.startswith(TEXTS):
            continue
        member = shlex.quote(f"{manifest.name}/{file.path}")
        if file.sha256 in base:
            yield f"cat {shlex.quote(str(base[file.sha256]))}"
        elif parts.is_part(bundle):
            yield f"cat {shlex.quote(str(bundle.with_suffix('')))}.[0-9]* | tar -xO {member}"
        else:
            yield f"tar -xOf {shlex.quote(str(bundle))} {member}"
