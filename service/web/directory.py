"""Who checks a password that is not kept here: what a directory answers, and the one that the settings name.

How it is asked is left to service.web.ldap_directory, which is loaded only where there is one: ldap3 takes 8 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from service.config import Ldap


class DirectoryAway(Exception):
    """The directory cannot be asked now, or does not take what it is told."""


@dataclass(frozen=True)
class Person:
    """Whom the directory knows; `role` is None where no group says anything about it."""

    name: str
    role: str | None


class Directory(Protocol):
    def check(self, name: str, password: str) -> Person | None:
        """Return who name and password fit. Raises: DirectoryAway."""
        ...


def configured(settings: Ldap) -> Directory | None:
    """Return the configured directory, None where there is none. Raises: ConfigError for files that cannot be read."""
    if not settings.url:
        return None
    from service.web.ldap_directory import LdapDirectory

    return LdapDirectory(settings)
