"""Start the web tier: check the settings, bring the database up to date, become gunicorn.

Nothing that gevent patches later is in use when gunicorn takes over: it replaces this process (and keeps its id).
"""

from __future__ import annotations

import os
import sys

from service import config as configuration
from service.config import ConfigError
from service.paths import Paths, PathsError
from service.web import HIDDEN_NOTIFY_SOCKET, audit_life, directory, revisions, tls
from service.web.database import Database
from service.web.database_errors import AWAY
from service.web.engine_address import Address
from service.web.errors import AdminError

# Settings or tables that cannot be used do not mend themselves: the unit does not restart after this status.
EXIT_FAILED, EXIT_USAGE = 1, 2


def main() -> None:
    os.umask(0o077)
    try:
        paths = Paths.from_environment()
        config = configuration.load(paths.config)
        Address.of(config.engine)
        directory.configured(config.ldap)
        if words := tls.warning(config.web):
            sys.stderr.write(f"warning: {words}\n")
        store = Database.of(config.data, paths.data)
    except (PathsError, ConfigError) as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        sys.exit(EXIT_USAGE)
    try:
        revisions.migrate(store, paths.data)
    except AdminError as error:
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        # A database server that is away comes back: the unit tries again.
        sys.exit(EXIT_FAILED if isinstance(error.__cause__, AWAY) else EXIT_USAGE)
    audit_life.started(paths, config, store)
    store.close()
    os.execve(
        sys.executable,
        [sys.executable, "-m", "gunicorn", "--config", "python:service.web.serving"],
        gunicorn_environment(dict(os.environ)),
    )


def gunicorn_environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment for gunicorn: without what would change its settings, or say READY=1 too early."""
    for name in ("GUNICORN_CMD_ARGS", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"):
        environment.pop(name, None)
    if address := environment.pop("NOTIFY_SOCKET", ""):
        environment[HIDDEN_NOTIFY_SOCKET] = address
    return environment


if __name__ == "__main__":
    main()
