"""How pages show times, sizes and numbers."""

from __future__ import annotations

from datetime import datetime, timezone

from flask import Flask
from markupsafe import Markup

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def register(app: Flask) -> None:
    app.add_template_filter(when)
    app.add_template_filter(day)
    app.add_template_filter(size)
    app.add_template_filter(amount)


def when(seconds: float | None) -> Markup:
    """Show a time in UTC; static/js/times.js turns it into the reader's own. None: an empty text."""
    if seconds is None:
        return Markup("")
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    iso = moment.isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{} UTC</time>').format(iso, moment.strftime("%Y-%m-%d %H:%M"))


def day(seconds: float) -> str:
    """Show the day of a time, in UTC as quotas count it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")


def size(size_bytes: float) -> str:
    """Show a size with three digits: 1.43 GiB."""
    step = 0
    while size_bytes >= 1000 and step < len(UNITS) - 1:
        size_bytes, step = size_bytes / 1024, step + 1
    return f"{size_bytes:.0f} {UNITS[0]}" if step == 0 else f"{size_bytes:.3g} {UNITS[step]}"


def amount(number: float) -> str:
    """Show a whole number with its thousands apart."""
    return f"{number:,.0f}"
