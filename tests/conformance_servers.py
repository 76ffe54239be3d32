"""Ferry's own servers for the conformance scenarios: an engine with a very small model, and a web tier before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny_model
import web_process
from conformance_target import Target
from engine_process import EngineProcess, running
from ports import free_port

MODEL = "tiny-qwen2"
SETTINGS = """
[engine]
threads = 1
slots = 4
context_tokens = 2048
max_new_tokens = 2000
[queue]
per_user = 12
total = 16
"""


@contextmanager
def engine(folder: Path) -> Iterator[EngineProcess]:
    """Run an engine whose random model has tools in its template."""
    model = tiny_model.make(folder / "model", has_tools=True)
    with running(EngineProcess(folder / "engine", model, MODEL, SETTINGS)) as process:
        yield process


@contextmanager
def web(folder: Path, socket: Path) -> Iterator[Target]:
    """Run the web tier before an engine, with a key for it."""
    folder.mkdir()
    port = free_port()
    environment = web_process.make_environment(folder, SETTINGS, port) | {"FERRY_SOCKET": str(socket)}
    process = web_process.start(environment, folder / "web.log")
    try:
        root = f"http://127.0.0.1:{port}"
        web_process.wait_for(f"{root}/healthz", process)
        added = web_process.admin(environment, "key", "add", "conformance", "--json")
        assert added.returncode == 0, added.stderr
        yield Target("web", root, web_process.json.loads(added.stdout)["key"], MODEL)
    finally:
        web_process.stop(process)
        print((folder / "web.log").read_text())  # shown by pytest when a scenario fails


def engine_target(process: EngineProcess) -> Target:
    return Target("engine", "http://engine", "", MODEL, str(process.socket))
