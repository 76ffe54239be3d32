"""64 clients at once on 2 slots: who got what, when. Nothing is cut, refusals are quick, and no user starves.

Two runs: with the queue as it is by default (most are refused), and with room for all, where one user asks for half.
"""

import asyncio
import os
import statistics
from datetime import datetime, timezone
from typing import Any

from benchmarks import engine_models
from benchmarks.clock import machine, record
from benchmarks.engine_served import served
from benchmarks.http_load import Load, Seen
from tests.engine_process import EngineProcess

CLIENTS = int(os.environ.get("BENCH_CLIENTS", "64"))
PRECISION, THREADS, SLOTS, TOKENS = "float32", 2, 2, 32
USERS = 16
# In the second run: one user with half of the clients, and others that share the rest.
OTHERS = 8
REFUSED_S = 1.0


def main() -> None:
    """Measure, print the figures, and record them."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    equal = [f"user {number % USERS}" for number in range(CLIENTS)]
    many = ["one"] * (CLIENTS // 2) + [f"other {number % OTHERS}" for number in range(CLIENTS - CLIENTS // 2)]
    report["default queue"] = judge(_ask_all(equal, ""))
    report["room for all"] = judge(_ask_all(many, f"[queue]\nper_user = {CLIENTS}\ntotal = {CLIENTS}"))
    record(report, "overload")
    print("\n\n".join(render(name, report[name]) for name in ("default queue", "room for all")))


def _ask_all(users: list[str], settings: str) -> list[Seen]:
    with served(engine_models.folder(engine_models.REAL), PRECISION, THREADS, SLOTS, settings) as (engine, _):
        return asyncio.run(_at_once(engine, users))


async def _at_once(engine: EngineProcess, users: list[str]) -> list[Seen]:
    load = Load(engine)
    asked = [load.ask(user, f"Count from {number} on.", TOKENS) for number, user in enumerate(users)]
    return list(await asyncio.gather(*asked))


def judge(seen: list[Seen]) -> dict[str, Any]:
    """Return the figures of one run, and every client's own."""
    refused = [one for one in seen if one.status == 429]
    answered = [one for one in seen if one.is_whole]
    return {
        "answered": len(answered),
        "refused": len(refused),
        "refused after at most, s": max((one.seconds for one in refused), default=0.0),
        "cut or failed": len(seen) - len(answered) - len(refused),
        "users": shares(answered),
        "clients": [one.row() for one in seen],
    }


def shares(answered: list[Seen]) -> dict[str, dict[str, float]]:
    """Return for each user how many were answered, how many of those began early, and the middle wait.

    Early are the first two for each user, if it were shared fairly.
    """
    began = sorted((one for one in answered if one.first_s is not None), key=lambda one: one.first_s or 0.0)
    users = sorted({one.user for one in began})
    early = began[: 2 * len(users)]
    return {
        user: {
            "answered": sum(one.user == user for one in began),
            "of the first": sum(one.user == user for one in early),
            "wait_s": statistics.median((one.first_s or 0.0) - one.asked_s for one in began if one.user == user),
        }
        for user in users
    }


def evenness(amounts: list[float]) -> float:
    """Return Jain's index: 1 when all have the same, 1 / n when one has everything."""
    return sum(amounts) ** 2 / (len(amounts) * sum(amount**2 for amount in amounts)) if any(amounts) else 0.0


def render(name: str, found: dict[str, Any]) -> str:
    """Return one run for people."""
    users = found["users"]
    early = [user["of the first"] for user in users.values()]
    lines = [
        f"{name}: {found['answered']} answered to their end, {found['refused']} refused within "
        f"{found['refused after at most, s']:.2f} s (allowed {REFUSED_S:g}), {found['cut or failed']} cut or failed",
        f"evenness of the first {sum(early)} among {len(users)} users (1 is fair): {evenness(early):.2f}",
        f"{'user':<12}{'answered':>10}{'of first':>10}{'wait s':>10}",
    ]
    for user, share in users.items():
        lines.append(f"{user:<12}{share['answered']:>10}{share['of the first']:>10}{share['wait_s']:>10.2f}")
    return "\n".join(lines)
