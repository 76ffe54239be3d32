"""How values look on the pages, as filters for the templates: moments of time, and browsers by name and system."""

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
