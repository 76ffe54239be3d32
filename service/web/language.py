"""The words of the pages: a language is chosen for a request, and its dictionary (strings/<language>/*.json) comes out.

The chat page's scripts get what they say out of the same dictionary, so that each text stands in one place.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from flask import request
from werkzeug.datastructures import LanguageAccept
from werkzeug.wrappers import Response

from service.web import preferences

COOKIE = "ferry_language"
NAMES = {"en": "English", "zh": "中文"}
FOLDER = Path(__file__).parent / "strings"
CHAT = "chat.json"


@cache
def strings(language: str) -> dict[str, str]:
    """Return a language's dictionary, put together from its files: one for each page, and one word for each key."""
    words: dict[str, str] = {}
    for path in sorted((FOLDER / language).glob("*.json")):
        words |= json.loads(path.read_text(encoding="utf-8"))
    return words


@cache
def of_scripts(language: str) -> dict[str, str]:
    """Return what the chat page's scripts say: that page's words, and what the codes of errors mean."""
    chat = json.loads((FOLDER / language / CHAT).read_text(encoding="utf-8"))
    return {name: text for name, text in strings(language).items() if name in chat or name.startswith("error_")}


def current() -> str:
    """Return the language of this request: the one chosen on the page, else what the browser prefers."""
    return choose(request.cookies.get(COOKIE, ""), request.accept_languages)


def choose(chosen: str, accepted: LanguageAccept) -> str:
    if chosen in NAMES:
        return chosen
    return accepted.best_match(NAMES, default="en") or "en"


def switch() -> Response | None:
    """Handle `?lang=zh` on any page: remember it and come back without it."""
    return preferences.remember("lang", NAMES, COOKIE)
