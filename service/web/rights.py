"""What each route asks of its caller. A route that declares nothing is refused: service.web.guard holds to that.

A view declares by `@needs(CHAT)` below its route, a whole blueprint by `declare(blueprint, CHAT)`; the view's own word
goes first. Roles: a user chats; an administrator chats, administers and reads the audit log; an auditor reads the
audit log and does not chat, so that who examines the others' use of the model adds none of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Flask

OPEN = "open"  # everybody, without a login
LOGIN = "login"  # whoever is logged in, also with a password that has to be changed first
ACCOUNT = "account"  # every role
CHAT = "chat"
AUDIT = "audit"
ADMINISTER = "administer"
API = "api"  # a key instead of a login

ROLES_OF = {
    LOGIN: ("user", "administrator", "auditor"),
    ACCOUNT: ("user", "administrator", "auditor"),
    CHAT: ("user", "administrator"),
    API: ("user", "administrator"),
    AUDIT: ("administrator", "auditor"),
    ADMINISTER: ("administrator",),
}
View = TypeVar("View", bound=Callable[..., Any])
_blueprints: dict[str, str] = {}


def needs(right: str) -> Callable[[View], View]:
    """Declare what a view asks for."""

    def mark(view: View) -> View:
        setattr(view, "ferry_right", right)  # noqa: B010  # a function has no such attribute to a type checker
        return view

    return mark


def declare(blueprint: Blueprint, right: str) -> None:
    """Declare what every view of a blueprint asks for, unless it says otherwise itself."""
    _blueprints[blueprint.name] = right


def right_of(app: Flask, endpoint: str) -> str | None:
    """Return what an endpoint declared, None where it did not."""
    if endpoint == "static":
        return OPEN
    own: str | None = getattr(app.view_functions.get(endpoint), "ferry_right", None)
    # A blueprint inside another has that one's right, unless it declared its own.
    inherited = (_blueprints[name] for name in reversed(endpoint.split(".")[:-1]) if name in _blueprints)
    return own or next(inherited, None)


def allows(right: str | None, role: str) -> bool:
    """Say whether a role has a right that is not OPEN."""
    return role in ROLES_OF.get(right or "", ())
