"""What a browser remembers of its user's choices on any page, in a cookie each: the language and the theme.

`?lang=zh` and `?theme=dark` set one and come back without it. The theme is known to the server, so that a page has its
colours from the first moment on, without a script.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from flask import redirect, request
from werkzeug.wrappers import Response

YEAR_S = 365 * 86400
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "ferry_theme"


def theme() -> str:
    """Return the theme of this request; "auto" is the browser's own."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "auto"


def switch_theme() -> Response | None:
    """Handle `?theme=dark` on any page."""
    return None if request.path.startswith(("/api/", "/v1/")) else remember("theme", THEMES, THEME_COOKIE)


def remember(argument: str, allowed: Collection[str], cookie: str) -> Response | None:
    """Keep the argument's value in a cookie and lead back to the page without it; None: nothing to keep."""
    wanted = request.args.get(argument, "")
    if request.method != "GET" or wanted not in allowed:
        return None
    others = [(name, value) for name, value in request.args.items(multi=True) if name != argument]
    response = redirect(request.path + ("?" + urlencode(others) if others else ""))
    response.set_cookie(cookie, wanted, max_age=YEAR_S, httponly=True, samesite="Lax", secure=request.is_secure)
    return response
