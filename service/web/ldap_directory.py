"""Passwords that an LDAP directory checks: a name and a password come in, who that is comes out, or nobody.

The directory is asked to bind as the person: by a DN made from the name (`user_dn`), or by one that is searched below
`base`. What is typed is escaped before it becomes part of a DN (RFC 4514) or a filter (RFC 4515). An empty password is
never sent: to a directory that is no wrong password but an anonymous bind, which succeeds (RFC 4513, 5.1.2).
ldap3 is used here alone. Under gevent its sockets are patched ones, so that a directory that is slow holds up nobody.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from service.config import ConfigError, Ldap
from service.web.directory import DirectoryAway, Person

log = logging.getLogger(__name__)
HINT = "correct [ldap] in ferry.toml, then start Ferry again"
MEMBER = "(|(member={dn})(uniqueMember={dn})(memberUid={name}))"
# RFC 4511, appendix A: what a bind says when it is only the password, or that there is no such person.
REFUSED = {32, 34, 48, 49}


class LdapDirectory:
    def __init__(self, settings: Ldap) -> None:
        """Raises: ConfigError for files that cannot be read."""
        self._settings = settings
        self._password = _line(settings.bind_password_file) if settings.bind_password_file else ""
        if settings.ca_file:
            _check_certificates(settings.ca_file)
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ca_file or None)
        seconds = settings.timeout_s
        self._server = ldap3.Server(settings.url, connect_timeout=seconds, get_info=ldap3.NONE, tls=tls)

    def check(self, name: str, password: str) -> Person | None:
        """Return who name and password fit. Raises: DirectoryAway."""
        name = " ".join(name.split())  # to a directory, several spaces are one (RFC 4518)
        if not name or not password or "\0" in name + password:
            return None
        try:
            dn = self._dn_of(name)
            if not dn:
                return None
            with self._bound(dn, password) as connection:
                return Person(name, self._role_of(connection, dn, name)) if connection else None
        except (LDAPException, OSError) as error:
            log.error("the directory %s cannot be asked: %s", self._settings.url, error)
            raise DirectoryAway(str(error)) from error

    def _dn_of(self, name: str) -> str:
        """Return the DN of a person, "" when there is none, or more than one."""
        if self._settings.user_dn:
            return self._settings.user_dn.replace("{name}", escape_rdn(name))
        wanted = self._settings.filter.replace("{name}", escape_filter_chars(name))
        with self._as_service() as connection:
            connection.search(self._settings.base, wanted, ldap3.SUBTREE, attributes=[], size_limit=2)
            found = [entry["dn"] for entry in connection.response or () if entry["type"] == "searchResEntry"]
            if connection.result["result"] not in (0, 4, 32):  # success, more than two, no such base
                raise DirectoryAway(_told(connection))
        return found[0] if len(found) == 1 else ""

    def _role_of(self, connection: ldap3.Connection, dn: str, name: str) -> str | None:
        groups = {"administrator": self._settings.administrator_group, "auditor": self._settings.auditor_group}
        if not any(groups.values()):
            return None
        if self._settings.bind_dn:  # people may not be allowed to read groups
            with self._as_service() as own:
                return _role(own, groups, dn, name)
        return _role(connection, groups, dn, name)

    @contextmanager
    def _as_service(self) -> Iterator[ldap3.Connection]:
        """Connect as the account that may search, or as nobody where none is set. Raises: DirectoryAway."""
        with self._bound(self._settings.bind_dn, self._password) as connection:
            if connection is None:
                raise DirectoryAway("the directory does not accept [ldap] bind_dn with its password")
            yield connection

    @contextmanager
    def _bound(self, dn: str, password: str) -> Iterator[ldap3.Connection | None]:
        """Bind, and yield the connection, or None when the directory does not take the password."""
        connection = ldap3.Connection(
            self._server,
            dn or None,
            password or None,
            receive_timeout=self._settings.timeout_s,
            read_only=True,
            check_names=False,
            auto_referrals=False,  # a password goes to the directory that was named and to no other
        )
        try:
            connection.open()
            if self._settings.start_tls:
                connection.start_tls()
            if connection.bind():
                yield connection
            elif connection.result["result"] in REFUSED:
                yield None
            else:
                raise DirectoryAway(_told(connection))
        finally:
            connection.unbind()


def _role(connection: ldap3.Connection, groups: dict[str, str], dn: str, name: str) -> str:
    """Return the first role whose group has the person as a member, else that of a user."""
    wanted = MEMBER.replace("{dn}", escape_filter_chars(dn)).replace("{name}", escape_filter_chars(name))
    for role, group in groups.items():
        if group and connection.search(group, wanted, ldap3.BASE, attributes=[]) and connection.response:
            return role
    return "user"


def _told(connection: ldap3.Connection) -> str:
    result = connection.result
    return f"the directory says: {result['description']} {result['message']}".strip()


def _line(name: str) -> str:
    """Return the one line that a file holds. Raises: ConfigError."""
    try:
        text = Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _cannot("[ldap] bind_password_file", name, f"{error.strerror}") from error
    if not text or "\n" in text:
        raise _cannot("[ldap] bind_password_file", name, "holds no password: one line is needed")
    return text


def _check_certificates(name: str) -> None:
    try:
        ssl.create_default_context(cafile=name)
    except ssl.SSLError as error:
        raise _cannot("[ldap] ca_file", name, "holds no certificates in PEM") from error
    except OSError as error:
        raise _cannot("[ldap] ca_file", name, f"{error.strerror}") from error


def _cannot(setting: str, name: str, problem: str) -> ConfigError:
    return ConfigError(f"{setting}: {name}: {problem}", HINT)
