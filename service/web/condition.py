"""How the service is: disks, database, audit log, and what an administrator should know. Facts come out, no words.

A warning is a name: its words are t["admin_warn_NAME"].
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from service.config import Config, ConfigError, Web
from service.paths import Paths
from service.web import audit_state, tls
from service.web.database import Database

LOW_SHARE = 0.05
LOW_BYTES = 1 << 30


@dataclass(frozen=True)
class Disk:
    """The file system of a folder."""

    folder: Path
    free_bytes: int
    total_bytes: int

    @property
    def is_low(self) -> bool:
        return self.free_bytes < min(LOW_BYTES, self.total_bytes * LOW_SHARE)


@dataclass(frozen=True)
class Condition:
    """`database_bytes` is None where its server does not tell."""

    disks: tuple[Disk, ...]
    database_kind: str
    database_bytes: int | None
    audit_bytes: int
    warnings: tuple[str, ...]


def look(paths: Paths, config: Config, database: Database, is_secure: bool) -> Condition:
    """Look at the server. `is_secure` says that the request that asks came encrypted."""
    disks = tuple(disk(folder) for folder in (paths.data, paths.log))
    kind = database.engine.dialect.name
    checked = audit_state.last(paths.data)
    warnings = tuple(_warnings(config, disks, is_secure, bool(checked and not checked.is_ok)))
    return Condition(disks, kind, _database_bytes(database, paths), _audit_bytes(paths.log), warnings)


def disk(folder: Path) -> Disk:
    found = shutil.disk_usage(folder)
    return Disk(folder, found.free, found.total)


def _warnings(config: Config, disks: tuple[Disk, ...], is_secure: bool, is_log_broken: bool) -> list[str]:
    found = []
    if not is_secure and tls.plain_passwords(config.web):
        found.append("plain_http")
    if _certificate_ends(config.web):
        found.append("certificate")
    if any(one.is_low for one in disks):
        found.append("disk")
    if not config.audit.enabled:
        found.append("audit_off")
    if is_log_broken:
        found.append("audit_broken")
    return found


def _certificate_ends(web: Web) -> bool:
    """Say whether the certificate ends soon, or cannot be read any more."""
    try:
        return bool(web.tls_certificate and tls.warning(web))
    except ConfigError:
        return True


def _database_bytes(database: Database, paths: Paths) -> int | None:
    url = database.engine.url
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or paths.data)
        return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*") if path.is_file())
    if url.get_backend_name() != "postgresql":
        return None
    with database.begin() as session:
        return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def _audit_bytes(log: Path) -> int:
    return sum(path.stat().st_size for path in log.glob("audit*") if path.is_file())
