"""How values look on the pages, as filters for the templates: times, sizes, numbers, and browsers with their system."""

from __future__ import annotations

import re
import time

from flask import Flask
from markupsafe import Markup

# The first that fits: most browsers also claim to be the ones below them.
BROWSERS = (
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:HeadlessChrome|Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)[\d.]* (?:Mobile/\S+ )?Safari"),
)
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
SYSTEMS = (
    ("Windows", r"Windows"),
    ("Android", r"Android"),
    ("iOS", r"iPhone|iPad"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("Linux", r"Linux|X11"),
)


def register(app: Flask) -> None:
    app.add_template_filter(moment)
    app.add_template_filter(browser)
    app.add_template_filter(when)
    app.add_template_filter(day)
    app.add_template_filter(size)
    app.add_template_filter(amount)


def moment(seconds: float) -> Markup:
    """Return a moment in this server's time, for people and in a form for programs."""
    local = time.localtime(seconds)
    exact = time.strftime("%Y-%m-%dT%H:%M:%S%z", local)
    return Markup('<time datetime="{}">{}</time>').format(exact, time.strftime("%Y-%m-%d %H:%M", local))


def browser(agent: str) -> str:
    """Return what a browser is, such as "Firefox 78, Linux"; of a program the first word, "" of none."""
    found = next((f"{name} {match[1]}" for name, words in BROWSERS if (match := re.search(words, agent))), "")
    system = next((name for name, words in SYSTEMS if re.search(words, agent)), "")
    if not found:
        return agent.partition(" ")[0][:40]
    return f"{found}, {system}" if system else found


def when(seconds: float | None) -> Markup:
    """Return a moment that may not have come yet: then an empty text."""
    return Markup("") if seconds is None else moment(seconds)


def day(seconds: float) -> str:
    """Show the day of a time, in UTC as quotas count it."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def size(size_bytes: float) -> str:
    """Show a size with three digits: 1.43 GiB."""
    step = 0
    while size_bytes >= 1000 and step < len(UNITS) - 1:
        size_bytes, step = size_bytes / 1024, step + 1
    return f"{size_bytes:.0f} {UNITS[0]}" if step == 0 else f"{size_bytes:.3g} {UNITS[step]}"


def amount(number: float) -> str:
    """Show a whole number with its thousands apart."""
    return f"{number:,.0f}"
