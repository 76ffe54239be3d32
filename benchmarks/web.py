"""200 answers at once through the web tier: how late it hands on each token, and what a stream costs.

An engine's stand-in makes 20 tokens a second for each stream, each with its moment (benchmarks.token_engine). The same
clients first read from it directly: what they see there is the machine's and their own. BENCH_STREAMS and BENCH_SECONDS
set the size, BENCH_WORKERS the web's processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks import web_clients
from benchmarks.clock import machine, record
from benchmarks.token_engine import RATE
from benchmarks.web_clients import Idle, Seen
from tests.web_process import WebProcess, web_process

STREAMS = int(os.environ.get("BENCH_STREAMS", "200"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "12"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "2"))
IDLE, LORIS, DEAF = 1000, 50, 10
SPREAD_S = 5.0
CROWD = "beside 1,000 idle, 50 slow-loris and 10 deaf"
P50_S, P99_S = 0.010, 0.100
SETTINGS = f"workers = {WORKERS}\nrequests_per_minute = 0\n"
END_OF_PAGE, END_OF_API = b'{"type": "end", "state": "complete"', b"data: [DONE]"


@dataclass(frozen=True)
class Target:
    """Where the clients ask: an address, a request for each, and what stands at the end of an answer."""

    address: tuple[str, int] | str
    requests: Sequence[bytes]
    mark: bytes


def main() -> None:
    """Measure, print the table, and record it."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    with tempfile.TemporaryDirectory(prefix="ferry-bench-") as folder:
        report |= asyncio.run(_measure(Path(folder)))
    record(report, "web")
    print(render(report))


async def _measure(folder: Path) -> dict[str, Any]:
    socket = folder / "engine.sock"
    with _stand_in(socket), web_process(folder, SETTINGS, socket=socket, database="sqlite", front="directly") as web:
        client = Client(web)
        rest = memory_bytes(web)
        rows = {"directly from the stand-in": figures(await _read(client.directly(str(socket))))}
        rows["the page's stream"] = await _busy(web, client.page())
        rows["/v1"] = await _busy(web, client.api())
        idle = Idle(client.address, client.get("/api/conversations", client.other))
        answered = await idle.open(IDLE)
        with_idle = memory_bytes(web)
        (slow,) = client.questions(1, SECONDS)
        others = [asyncio.ensure_future(web_clients.loris(client.address, slow)) for _ in range(LORIS)]
        others += [asyncio.ensure_future(web_clients.deaf(client.address, each)) for each in client.deaf(DEAF)]
        rows[CROWD] = await _busy(web, client.page())
        for other in others:
            other.cancel()
        rows[CROWD]["idle answered"] = [answered, await idle.ask()]
        idle.close()
    costs = {"at rest": rest, "an idle connection": (with_idle - rest) // IDLE}
    return {"streams": STREAMS, "seconds": SECONDS, "workers": WORKERS, "rows": rows, "memory_bytes": costs}


@contextmanager
def _stand_in(socket: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.token_engine", str(socket)])
    try:
        while not socket.exists():
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


class Client:
    """Somebody who is logged in, somebody else, and a program with a key: their requests as bytes."""

    def __init__(self, web: WebProcess) -> None:
        host, _, port = web.url.removeprefix("http://").partition(":")
        self.address = (host, int(port))
        for name in ("alice", "bob"):
            web.add_user(name)
        self._browser, other = web.login("alice"), web.login("bob")
        cookies = [f"Cookie: ferry_session={each.cookies['ferry_session']}\r\n" for each in (self._browser, other)]
        self._login = cookies[0] + f"X-CSRF-Token: {self._browser.headers['X-CSRF-Token']}\r\n"
        self.other = cookies[1]
        self._key = f"Authorization: Bearer {web.add_key('bench')}\r\n"

    def get(self, path: str, headers: str) -> bytes:
        """Return a request without a body."""
        return f"GET {path} HTTP/1.1\r\nHost: web\r\n{headers}\r\n".encode()

    def directly(self, socket: str) -> Target:
        """Ask the stand-in."""
        return Target(socket, [_post("/v1/chat/completions", "", _body())] * STREAMS, END_OF_API)

    def api(self) -> Target:
        """Ask by /v1."""
        return Target(self.address, [_post("/v1/chat/completions", self._key, _body())] * STREAMS, END_OF_API)

    def page(self) -> Target:
        """Ask as the page does, each in a new conversation."""
        return Target(self.address, self.questions(STREAMS, SECONDS), END_OF_PAGE)

    def questions(self, count: int, seconds: float) -> list[bytes]:
        """Begin so many conversations and return a question in each."""
        made = [self._browser.post("/api/conversations").json()["id"] for _ in range(count)]
        body = json.dumps({"content": str(int(seconds * RATE))}).encode()
        return [_post(f"/api/conversations/{name}/messages", self._login, body) for name in made]

    def deaf(self, count: int) -> list[bytes]:
        """Return questions whose answers go on for longer than the rest."""
        return self.questions(count, 10 * SECONDS)


def _post(path: str, headers: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: web\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _body() -> bytes:
    question = {"role": "user", "content": str(int(SECONDS * RATE))}
    return json.dumps({"model": "default", "stream": True, "messages": [question]}).encode()


async def _read(target: Target) -> list[Seen]:
    return await web_clients.read_all(target.address, target.requests, target.mark, spread_s=SPREAD_S)


async def _busy(web: WebProcess, target: Target) -> dict[str, Any]:
    """Read from the web, and look at what it takes meanwhile."""
    before, cpu, started = memory_bytes(web), cpu_s(web), time.monotonic()
    reading = asyncio.ensure_future(_read(target))
    await asyncio.sleep(max(SECONDS - 1, 1))
    grown = memory_bytes(web) - before
    seen = await reading
    share = (cpu_s(web) - cpu) / (time.monotonic() - started)
    return {**figures(seen), "stream_bytes": grown // STREAMS, "cores": round(share, 2)}


def figures(seen: Sequence[Seen]) -> dict[str, Any]:
    """Return what counts of a run: how many tokens came of those that were made, and how late."""
    delays = [delay for one in seen for delay in one.delays]
    parts = statistics.quantiles(delays, n=1000) if len(delays) > 1 else [0.0] * 999
    return {
        "whole": sum(one.is_whole for one in seen),
        "tokens": len(delays),
        "lost": len(seen) * int(SECONDS * RATE) - len(delays),
        **{name: round(parts[place], 5) for name, place in {"p50_s": 499, "p99_s": 989, "p999_s": 998}.items()},
        "max_s": round(max(delays, default=0.0), 5),
    }


def _over_processes(web: WebProcess, value: Callable[[int], int]) -> int:
    """Add up what gunicorn and its workers have of something."""
    main = web.process.pid
    workers = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return sum(value(process) for process in (main, *map(int, workers)))


def memory_bytes(web: WebProcess) -> int:
    """Return the memory that is the web's own (RssAnon)."""

    def of(process: int) -> int:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    return _over_processes(web, of)


def cpu_s(web: WebProcess) -> float:
    """Return the processor time that the web has taken so far."""

    def ticks(process: int) -> int:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return _over_processes(web, ticks) / os.sysconf("SC_CLK_TCK")


def render(report: dict[str, Any]) -> str:
    """Return the table for people."""
    lines = [
        f"{report['streams']} streams of {RATE:g} tokens/s for {report['seconds']:g} s, {report['workers']} worker(s)"
    ]
    lines.append(f"{'':<54}{'lost':>6}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'cores':>7}{'KiB/stream':>12}")
    for name, row in report["rows"].items():
        times = "".join(f"{1000 * row[key]:>9.1f}" for key in ("p50_s", "p99_s", "max_s"))
        lines.append(
            f"{name:<54}{row['lost']:>6}{times}{row.get('cores', 0):>7.2f}{row.get('stream_bytes', 0) / 1024:>12.0f}"
        )
    direct = report["rows"]["directly from the stand-in"]
    for name, row in report["rows"].items():
        added = {key: row[key] - direct[key] for key in ("p50_s", "p99_s")}
        if row is not direct:
            lines.append(
                f"{name}: adds p50 {1000 * added['p50_s']:.1f} ms (allowed {1000 * P50_S:g}), "
                f"p99 {1000 * added['p99_s']:.1f} ms (allowed {1000 * P99_S:g})"
            )
    costs = report["memory_bytes"]
    lines.append(
        f"at rest {costs['at rest'] / 2**20:.0f} MiB; an idle connection {costs['an idle connection'] / 1024:.0f} KiB"
    )
    return "\n".join(lines)
