"""Audit logs for tests: folders, events, and what a check says of them."""

import json
from pathlib import Path

from service.web import audit_verify
from service.web.audit_chain import CURRENT
from service.web.audit_events import timestamp
from service.web.audit_log import Log
from service.web.audit_verify import Report


def make_folders(folder: Path) -> tuple[Path, Path]:
    for name in ("log", "data"):
        (folder / name).mkdir()
    return folder / "log", folder / "data"


def event(number: int, at: str = "") -> dict[str, object]:
    return {"at": at or timestamp(), "event": "test", "user": "alice", "address": "", "number": number}


def verified(log: Log, **arguments: object) -> Report:
    return audit_verify.verify(log.log, log.data, jobs=1, **arguments)  # type: ignore[arg-type]


def problems(log: Log) -> list[str]:
    return [f"{each.file}:{each.line}: {each.problem}" for each in verified(log).problems]


def lines(log: Log) -> list[dict[str, object]]:
    files = [*sorted(log.log.glob("audit-2*")), log.log / CURRENT]
    return [json.loads(line) for path in files if path.exists() for line in path.read_text().splitlines()]
