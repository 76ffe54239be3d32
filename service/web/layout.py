"""What every page's frame shows: who is logged in, and the links to the pages that their role may see.

A page of its own extends templates/page.html, fills the blocks `title` and `content`, and its blueprint begins with
`blueprint.before_request(language.switch)` so that the links to the other languages work on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, g, request

from service.web import guard, rights
from service.web.services import services

PAGES = (
    ("chat", "/", rights.CHAT),
    ("account", "/account", rights.ACCOUNT),
    ("api", "/api/docs", rights.API),
    ("audit", "/audit", rights.AUDIT),
    ("admin", "/admin", rights.ADMINISTER),
)


@dataclass(frozen=True)
class Link:
    """A link of the frame: its word is t["nav_NAME"]."""

    name: str
    path: str
    is_current: bool


def context() -> dict[str, object]:
    """Return what templates/page.html needs on top of what a view passes."""
    caller = g.get("caller")
    banner = "banner_none" if services().config.web.auth == "none" else ""
    shown = links(caller.role, request.path) if caller else []
    own = {"home": lambda: home(caller.role) if caller else None, "own_usage": lambda: services().usage.own(caller)}
    return {"user": caller, "links": shown, "banner": banner, **own}


def home(role: str) -> Link:
    """Return the link to the first page that a role sees."""
    path = guard.home(role)
    return Link(next(name for name, target, _ in PAGES if target == path), path, is_current=False)


def links(role: str, path: str) -> list[Link]:
    """Return the links for a role, on a page at `path`; of pages that this release does not have there are none."""
    known = {rule.rule for rule in current_app.url_map.iter_rules()}
    return [
        Link(name, target, _is_within(path, target))
        for name, target, right in PAGES
        if rights.allows(right, role) and target in known
    ]


def _is_within(path: str, target: str) -> bool:
    return path == target or (target != "/" and path.startswith(f"{target}/"))
