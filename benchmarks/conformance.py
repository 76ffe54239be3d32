"""The conformance scenarios on Ferry's engine and web tier, beside llama-cpp-python's own server with the real model.

tests/conformance runs twice, as it does by itself; the two tables it writes come out as one. A scenario that the other
server does not answer within PATIENCE_S counts as failed there. Started when it is named: it takes some minutes.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks import engine_models, peers
from benchmarks.clock import machine, record
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S, LOADING_S = 20, 120
CONTEXT_TOKENS, THREADS = 2048, 2
# Scenario -> what became of it, by the server's name.
Table = dict[str, dict[str, str]]


def main() -> None:
    """Run them, print the table, and record it."""
    with tempfile.TemporaryDirectory() as folder:
        ours = run(Path(folder, "ours"))
        with llama(Path(folder, "llama.log")) as root:
            theirs = run(Path(folder, "theirs"), "--base-url", root, "--patience", str(PATIENCE_S))
    table = join(ours, {name: {peers.LLAMA: row["given"]} for name, row in theirs.items()})
    report = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    record({**report, "passed": passed(table), "scenarios": table}, "conformance")
    print(render(table))


def run(table: Path, *words: str) -> Table:
    """Run all scenarios and return what became of each; some may fail, but the run has to reach its end."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/conformance",
        "--table",
        str(table),
    ]
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if not table.exists():
        raise RuntimeError(f"the scenarios did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return read(table.read_text(encoding="utf-8"))


@contextmanager
def llama(log: Path) -> Iterator[str]:
    """Run llama-cpp-python's server with the real model; yield its address."""
    python, model, port = peers.llama_cpp(), engine_models.gguf(engine_models.REAL, "f32"), free_port()
    words = ["--model", str(model), "--port", str(port), "--n_ctx", str(CONTEXT_TOKENS), "--n_threads", str(THREADS)]
    root = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen([str(python), "-m", "llama_cpp.server", *words], stdout=output, stderr=output) as process,
    ):
        try:
            _wait(root, process, log)
            yield root
        finally:
            # It may be in the middle of an answer that nobody waits for any more.
            process.kill()


def _wait(root: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + LOADING_S
    while process.poll() is None and time.monotonic() < end:
        try:
            urlopen(f"{root}/v1/models", timeout=LOADING_S).close()
        except (URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"llama-cpp-python's server does not answer:\n{log.read_text(errors='replace')[-2000:]}")


def read(text: str) -> Table:
    """Read a table as tests/conformance writes it."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line]
    header, body = rows[0], rows[2:-1]
    return {name: dict(zip(header[1:], cells, strict=True)) for name, *cells in body}


def join(ours: Table, theirs: Table) -> Table:
    """Put the columns of two tables side by side, in the order of the first."""
    return {name: ours.get(name, {}) | theirs.get(name, {}) for name in [*ours, *(set(theirs) - set(ours))]}


def passed(table: Table) -> dict[str, str]:
    """Count, for each server, how many of its scenarios passed."""
    servers = list(dict.fromkeys(server for row in table.values() for server in row))
    found = {server: [row[server] for row in table.values() if row.get(server)] for server in servers}
    return {server: f"{outcomes.count('passed')} of {len(outcomes)}" for server, outcomes in found.items()}


def render(table: Table) -> str:
    """Return the table for people: a line for each scenario, a column for each server."""
    totals = passed(table)
    width = max(map(len, table))
    lines = [f"{'scenario':<{width}}  " + "  ".join(totals)]
    for name, row in [*table.items(), ("passed", totals)]:
        lines.append(f"{name:<{width}}  " + "  ".join(f"{row.get(one, ''):<{len(one)}}" for one in totals))
    return "\n".join(lines)
