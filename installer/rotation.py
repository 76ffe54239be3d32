"""The next list of trusted keys, which a bundle may bring: who changes keys signs the change with the old ones.

A bundle that enough trusted keys signed comes in; once its release has answered, the change is shown and confirmed at
the terminal, or by the list's digest. `--yes` confirms no key: without an answer the list stays, and it is said how to
take it later.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checksums import signers
from checksums.errors import FerryError, IntegrityError, UsageError
from checksums.layout import NEXT_SIGNERS
from installer import settings, trust
from installer.places import Places
from installer.trust import Change
from installer.verify import VerifiedBundle

Ask = Callable[[str], bool]
BRINGS = "this bundle brings another list of trusted keys"
CONSEQUENCE = "From then on this server takes what the added keys sign, and nothing that only removed ones did."


@dataclass(frozen=True)
class Rotation:
    """What came of the list: `hint` says why it was not taken and what to do, "" where it was."""

    change: Change
    hint: str

    @property
    def is_taken(self) -> bool:
        """Say whether the list is now the server's."""
        return not self.hint

    def as_object(self) -> dict[str, Any]:
        """Return it for JSON."""
        added, removed = ([signer.fingerprint for signer in part] for part in (self.change.added, self.change.removed))
        return {"changed": self.is_taken, "added": added, "removed": removed, "hint": self.hint}


def digest(bundle: VerifiedBundle) -> str:
    """Return what names the list that a bundle brings, "" where it brings none."""
    file = bundle.manifest.file(NEXT_SIGNERS)
    return f"sha256:{file.sha256}" if file else ""


def demand_digest(bundle: VerifiedBundle, accepted: str | None) -> None:
    """Refuse before anything is done what `--accept-signers` does not mean.

    Raises:
        UsageError: the bundle brings no list, or another one.
    """
    if accepted is not None and accepted != (found := digest(bundle)):
        what = f"the bundle brings {found}" if found else "the bundle brings no list of keys"
        raise UsageError(f"--accept-signers {accepted}: {what}", "ask who built the bundle for the list's sha256sum")


def demand_list(release: Path) -> None:
    """Refuse a release whose list cannot be read.

    Raises:
        IntegrityError: the message names what is wrong with it.
    """
    path = trust.next_signers(release)
    if not path.is_file():
        return
    try:
        if not signers.parse(path.read_bytes(), NEXT_SIGNERS):
            raise UsageError(f"{NEXT_SIGNERS}: holds no key", "")
    except UsageError as error:
        raise IntegrityError(error.message, "build the bundle again with a list of keys") from error


def offer(bundle: VerifiedBundle, places: Places, ask: Ask | None, accepted: str | None) -> Rotation | None:
    """Let the operator take the list of the release that runs now; None where it changes nothing.

    `ask` puts a question to a terminal, where there is one; the lock is the caller's.
    """
    path = trust.next_signers(places.current)
    if not digest(bundle):
        return None
    data = path.read_bytes()
    if digest(bundle) != f"sha256:{hashlib.sha256(data).hexdigest()}":
        raise IntegrityError(f"{path}: sha256 differs from the signed list", "see: ferry verify")
    made = trust.change(trust.read(places), data)
    if not made.is_any:
        return None
    if not bundle.signers:
        return Rotation(made, "nobody signed this bundle: its list of keys was not looked at any further")
    try:
        trust.demand_enough(made, settings.threshold_of(places, None))
    except FerryError as error:
        return Rotation(made, error.message)
    if not accepted and (ask is None or not _is_confirmed(made, ask)):
        return Rotation(made, f"to take it: ferry trust add --replace {path}")
    trust.write(places, made)
    return Rotation(made, "")


def _is_confirmed(made: Change, ask: Ask) -> bool:
    question = "\n".join([f"{BRINGS}. Taking it would", *trust.lines(made), CONSEQUENCE, "Take it? Type yes: "])
    try:
        return ask(question)
    except KeyboardInterrupt:
        # The release stays: it has answered, and the state says so.
        return False
