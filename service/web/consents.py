"""Who has consented to an audit log that holds the text, and which log they consented to."""

from __future__ import annotations

import json
import time

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.web.database import Database
from service.web.models import Setting, User

# What `[audit] content` was at the last start; no row says "none".
SETTING = "audit.content"


def settle(database: Database, content: str) -> str | None:
    """Void every consent where the setting is new since the last start. Returns: what it was, None if the same."""
    with database.begin() as session:
        kept = session.get(Setting, SETTING)
        before = str(json.loads(kept.value)) if kept else "none"
        if before == content:
            return None
        session.execute(update(User).values(consented_at=None))
        if content == "none":
            session.delete(kept)
        else:
            value = json.dumps(content)
            session.merge(Setting(name=SETTING, value=value, changed_by="ferry.toml", changed_at=time.time()))
        return before


def given_at(session: Session, number: int) -> float | None:
    return session.scalar(select(User.consented_at).where(User.id == number))
