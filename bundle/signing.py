"""Who signs a bundle, for how long, and which list of keys it brings: options come in, checked values go out.

All that can be told without signing is told before anything is fetched: a mistyped key must not cost a download.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from checksums import process, quorum, signature, signers
from checksums.errors import UsageError
from checksums.layout import MAX_SIGNATURES


@dataclass(frozen=True)
class Signing:
    """The keys that sign; `valid_before` is when servers stop counting them, as OpenSSH writes dates, "" for never."""

    keys: Sequence[Path] = ()
    valid_before: str = ""

    def allowed_signers(self, made: Sequence[bytes]) -> str:
        """Return the list that trusts the keys which made these signatures."""
        found = (signature.parse(armoured) for armoured in made)
        return "".join(sorted(signature.line_of(one, self.valid_before) for one in found))


def check(keys: Sequence[Path], threshold: int, valid_before: str) -> Signing:
    """Return who signs.

    Raises:
        UsageError: a key is not there or comes twice, there are too few, or the date is none.
    """
    if valid_before and not signers.DATE.fullmatch(valid_before):
        raise UsageError(f"--valid-before {valid_before}: is no date", "write YYYYMMDD, for example 20271231")
    if valid_before and valid_before <= time.strftime("%Y%m%d%H%M%S", time.gmtime())[: len(valid_before.rstrip("Z"))]:
        raise UsageError(
            f"--valid-before {valid_before}: is over already", "no server would take it: give a later date"
        )
    if keys and len(keys) < threshold:
        raise UsageError(f"keys that sign: {len(keys)}; --threshold asks for {threshold}", "name more: --sign-key KEY")
    if len(keys) > MAX_SIGNATURES:
        raise UsageError(f"{len(keys)} keys: a bundle holds {MAX_SIGNATURES} signatures", "name fewer")
    seen: dict[str, Path] = {}
    for key in keys:
        signature.demand_file(key)
        found = _fingerprint(key)
        if found in seen:
            raise signature.twice(key, seen[found])
        seen |= {found: key} if found else {}
    return Signing(tuple(keys), valid_before)


def next_signers(path: Path, threshold: int) -> bytes:
    """Return the list that servers shall take after this bundle.

    Raises:
        UsageError: it cannot be read, holds a private key, or fewer of its keys would count than servers ask for.
    """
    data = quorum.read_list(path, "give a list of public keys: --next-signers FILE")
    count = len(signers.counting(signers.parse(data, str(path)), quorum.now()))
    if count < threshold:
        raise UsageError(f"{path}: keys that would count now: {count}; servers ask for {threshold}", signers.FORM)
    return data


def _fingerprint(key: Path) -> str:
    """Return a key's fingerprint without using it, "" where its public half cannot be seen without a passphrase."""
    done = process.run(["ssh-keygen", "-l", "-f", key], check=False)
    words = done.text.split()
    return words[1] if done.returncode == 0 and len(words) > 1 else ""
