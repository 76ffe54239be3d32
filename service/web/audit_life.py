"""What the audit log is told when the service starts and stops, outside of any worker."""

from __future__ import annotations

import json
import sys

from service.config import Config
from service.paths import Paths
from service.web import consents
from service.web.audit import Audit, AuditUnavailable, to_stderr
from service.web.database import Database


def started(paths: Paths, config: Config, database: Database) -> None:
    """Record the start, let go of files that are too old, and tell the journal where the log ends.

    Consents that were given under another `[audit] content` are void from now on.
    A log that cannot be written does not keep the service from starting: it refuses what it cannot record, and says so.
    """
    audit = Audit(paths.log, paths.data, config.audit, to_stderr)
    try:
        audit.retire("service_started", user="service", version=_version(paths), content=audit.content)
        if (before := consents.settle(database, audit.content)) is not None:
            audit.write(
                "settings_changed", user="ferry.toml", name=consents.SETTING, before=before, after=audit.content
            )
    except AuditUnavailable as error:
        sys.stderr.write(f"error: {error}\nhint: make room, or mend the owner of {paths.log}; until then logins fail\n")


def stopped(paths: Paths, config: Config) -> None:
    """Record the stop; a start without a stop before it tells of a crash."""
    Audit(paths.log, paths.data, config.audit, to_stderr).write_late("service_stopped", user="service")


def _version(paths: Paths) -> str:
    try:
        return str(json.loads(paths.manifest.read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
