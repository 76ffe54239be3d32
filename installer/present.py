"""How results look to a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each of them imports much that the command which presents another does not need
    from checksums.inventory import Inventory
    from installer.installed import Problem
    from installer.places import Places
    from installer.status import Status


def status(found: Status, places: Places) -> str:
    """Return the state in a few lines."""
    ready = "" if found.state != "running" or not found.url else ", ready" if found.ready else ", not ready yet"
    lines = [f"release {found.release}", f"state   {found.state}{ready}"]
    lines.append(f"address {found.url or 'unknown'}")
    if found.problem:
        lines.append(f"note    {found.problem}")
    if found.state == "failed":
        logs = f"the files in {places.log}" if places.is_user else "journalctl -u ferry -u ferry-engine"
        lines.append(f"see     {logs}; to try again: ferry start")
    return "\n".join(lines)


def removed(paths: Sequence[Path], users: Sequence[str], kept: Sequence[Path], is_dry_run: bool) -> str:
    """Return what an uninstall takes away and what stays."""
    verb = "would remove" if is_dry_run else "removed"
    lines = [f"{verb} {path}" for path in paths] + [f"{verb} the user {user}" for user in users]
    return "\n".join([*lines, *(f"kept {path}" for path in kept)])


def problems(release: str, found: Sequence[Problem]) -> str:
    """Return what `verify` found."""
    if not found:
        return f"{release}: every file is what was signed"
    return "\n".join([*(f"{problem.path}: {problem.problem}" for problem in found), "to mend it: ferry repair"])


def inventory(taken: Inventory, out: Path) -> str:
    """Return what was written into an inventory."""
    gigabytes = sum(taken.files.values()) / 1e9
    return f"{out}: {len(taken.files)} files of {taken.release}, {gigabytes:.2f} GB"
