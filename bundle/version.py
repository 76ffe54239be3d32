"""Ferry's own version and the time of its checkout: what a bundle is called and dated by default."""

import os
from datetime import datetime, timezone
from pathlib import Path

from checksums import process
from checksums.errors import FerryError, UsageError

VERSION = "0.1.0"
CHECKOUT = Path(__file__).resolve().parent.parent


def build_epoch(checkout: Path = CHECKOUT) -> int:
    """Return the seconds since 1970 that stand for "when": SOURCE_DATE_EPOCH, else the time of the checkout's commit.

    Never the clock: the same inputs give the same bytes. Format: reproducible-builds.org, SOURCE_DATE_EPOCH.

    Raises:
        UsageError: the variable is no number, or neither is there.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if given:
        if not given.isdecimal():
            raise UsageError(f"SOURCE_DATE_EPOCH: {given!r} is not a number of seconds", "try: date +%s")
        return int(given)
    try:
        return int(process.run(["git", "-C", checkout, "log", "-1", "--format=%ct"]).text)
    except (FerryError, ValueError) as error:
        raise UsageError(
            f"{checkout}: no git commit to take the bundle's date from",
            "set it: SOURCE_DATE_EPOCH=$(date +%s) python -m bundle build …",
        ) from error


def utc(epoch_s: int) -> str:
    """Return a time as the manifest writes it, for example 2026-11-22T18:49:41Z."""
    return datetime.fromtimestamp(epoch_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
