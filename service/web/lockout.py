"""Slow down whoever guesses passwords: a name and an address come in, the seconds to wait before the next try go out.

Three counts of refused logins in a row, each with some tries free and then a wait that doubles: for the name from this
address, for the address, and for the name from anywhere. Only the first is strict, so that a stranger elsewhere
cannot keep a person out: who guesses from many addresses fills the last one, and that one holds up neither an address
that this name is logged in from nor this machine itself (a browser through `ssh -L`). A wait is never longer than
LONGEST_S, tries during it do not prolong it, and `ferry user enable` and `ferry user passwd` end it.

A try is counted before the password is looked at, so that many at the same moment count too; the right password takes
its count back. Names that do not exist are counted alike. Kept are digests of names: people type passwords there.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from service.web import accounts
from service.web.database import Database
from service.web.models import Failure, Login, User, digest

FIRST_S = 5.0
LONGEST_S = 300.0
FORGET_S = 3600.0
RACES = 5


@dataclass(frozen=True)
class Count:
    """One of the counts: its row in the table, and how many tries are free."""

    subject: str
    free: int


def counts_of(name: str, address: str) -> tuple[Count, Count, Count]:
    """Return the counts of a try: the name from there, the address, the name from anywhere."""
    network, known = _network(address), _name(name)
    return Count(f"{known}@{network}", 5), Count(f"address:{network}", 30), Count(known, 50)


def wait_after(count: int, free: int) -> float:
    """Return how long the next try has to wait after so many in a row."""
    return 0.0 if count < free else min(FIRST_S * 2.0 ** min(count - free, 20), LONGEST_S)


def begin(database: Database, name: str, address: str, now: float | None = None) -> float:
    """Count a try. Returns 0, or how many seconds to wait first; then nothing was counted."""
    now = time.time() if now is None else now
    for _ in range(RACES):
        try:
            with database.begin() as session:
                return _begin(session, name, address, now)
        except (StaleDataError, IntegrityError):  # another login changed the same count at the same moment
            continue
    return 1.0


def succeed(database: Database, name: str, address: str, now: float | None = None) -> None:
    """Take the counts back after the right password: the name's whole ones, and one try of the address."""
    now = time.time() if now is None else now
    here, place, anywhere = counts_of(name, address)
    with database.begin() as session:
        session.execute(delete(Failure).where(Failure.subject.in_([here.subject, anywhere.subject])))
        _take_back(session, place.subject)
        session.execute(delete(Failure).where(or_(Failure.last_at < now - FORGET_S, Failure.count <= 0)))


def undo(database: Database, name: str, address: str) -> None:
    """Take one try back that nobody decided, as when the directory is away."""
    with database.begin() as session:
        for count in counts_of(name, address):
            _take_back(session, count.subject)


def forgive(session: Session, name: str) -> None:
    """Let a name try again at once, from everywhere."""
    known = _name(name)
    session.execute(delete(Failure).where(or_(Failure.subject == known, Failure.subject.startswith(f"{known}@"))))


def waiting_s(session: Session, name: str, now: float | None = None) -> float:
    """Return how long this name has to wait at most, from whatever address."""
    now, known = time.time() if now is None else now, _name(name)
    rows = session.scalars(select(Failure).where(Failure.subject.startswith(known)))
    free = {True: 5, False: 50}
    return max((_wait(row, free["@" in row.subject], now) for row in rows), default=0.0)


def _begin(session: Session, name: str, address: str, now: float) -> float:
    counts = counts_of(name, address)
    rows = {row.subject: row for row in session.scalars(select(Failure).where(Failure.subject.in_(_subjects(counts))))}
    waits = [_wait(rows.get(count.subject), count.free, now) for count in counts]
    if waits[2] > max(waits[:2]) and _is_known(session, name, address, now):
        waits[2] = 0.0
    if max(waits) > 0:
        return max(waits)
    for count in counts:
        _add(session, count.subject, rows.get(count.subject), now)
    return 0.0


def _subjects(counts: Sequence[Count]) -> list[str]:
    return [count.subject for count in counts]


def _wait(row: Failure | None, free: int, now: float) -> float:
    if row is None or now - row.last_at > FORGET_S:
        return 0.0
    return max(row.last_at + wait_after(row.count, free) - now, 0.0)


def _add(session: Session, subject: str, row: Failure | None, now: float) -> None:
    """Add one to a count, or raise StaleDataError when it is no longer what was read."""
    if row is None:
        session.add(Failure(subject=subject, count=1, last_at=now))
        session.flush()
        return
    count = 1 if now - row.last_at > FORGET_S else row.count + 1
    unchanged = (Failure.subject == subject, Failure.count == row.count, Failure.last_at == row.last_at)
    statement = update(Failure).where(*unchanged).values(count=count, last_at=now)
    done = session.execute(statement, execution_options={"synchronize_session": False})
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise StaleDataError


def _take_back(session: Session, subject: str) -> None:
    session.execute(update(Failure).where(Failure.subject == subject).values(count=Failure.count - 1))


def _is_known(session: Session, name: str, address: str, now: float) -> bool:
    """Say whether a login from here would be no stranger's: from this machine, or where the name is logged in."""
    if _network(address) in ("127.0.0.1/32", "::/64"):
        return True
    query = select(Login.address).join(User).where(User.folded_name == accounts.fold(name), Login.expires_at > now)
    return _network(address) in {_network(known) for known in session.scalars(query)}


def _name(name: str) -> str:
    return f"name:{digest(accounts.fold(name))}"


def _network(address: str) -> str:
    """Return who holds an address: of IPv6 everybody has a /64 at least."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((parsed, 64 if parsed.version == 6 else 32), strict=False))
