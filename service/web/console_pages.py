"""The administration pages, for the app to put in their places."""

from __future__ import annotations

from service.web import console_keys, console_overview, console_release, console_settings, console_users

ALL = (
    console_overview.blueprint,
    console_overview.api,
    console_users.blueprint,
    console_keys.blueprint,
    console_settings.blueprint,
    console_release.blueprint,
)
