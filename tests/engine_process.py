"""Run the engine as its unit does: an environment and a ferry.toml come in, a process behind a unix socket goes out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import compiled_kernels

CHECKOUT = Path(__file__).resolve().parent.parent
START_S = 120.0


class EngineProcess:
    """One engine over one model folder. Start it with `start`, or use `running` for both ends."""

    def __init__(self, home: Path, model: Path, name: str, config: str = "") -> None:
        self.home = home
        self.socket = home / "engine.sock"
        self.journal = home / "journal"
        release = home / "release"
        release.mkdir(parents=True)
        (release / "model").symlink_to(model)
        compiled_kernels.bring(release)
        (release / "manifest.json").write_text(json.dumps({"model": {"id": f"someone/{name}"}}))
        (home / "ferry.toml").write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        places = {"RELEASE": "release", "CONFIG": "ferry.toml", "SOCKET": "engine.sock"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FERRY_", "NOTIFY_"))}
        named = {f"FERRY_{name}": str(self.home / place) for name, place in places.items()}
        return kept | named | {f"FERRY_{name}": str(self.home) for name in ("DATA", "LOG", "CACHE")}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.engine", *arguments],
                cwd=CHECKOUT,
                env=self.environment() | environment,
                stdout=journal,
                stderr=journal,
            )
        return self.process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the engine's command to its end."""
        command = [sys.executable, "-m", "service.engine", *arguments]
        environment = self.environment()
        return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60)

    def client(self, timeout: float = 60, **options: Any) -> httpx.Client:
        """A client with connections of its own."""
        # No certificates are read, which takes longer than the whole request: it is a socket file.
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=False)
        return httpx.Client(transport=transport, base_url="http://engine", timeout=timeout, **options)

    def health(self) -> tuple[int, dict[str, Any]]:
        with self.client() as client:
            response = client.get("/health")
        return response.status_code, response.json()

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.socket.exists() and self.health()[0] == 200, START_S)

    def wait_for(self, condition: Any, timeout_s: float = 30.0) -> None:
        """Wait for a fact; the time is only what is given up after."""
        assert self.process
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, f"the engine ended: {self.journal.read_text()}"
            assert time.monotonic() < deadline, f"given up after {timeout_s} s: {self.journal.read_text()}"
            time.sleep(0.02)

    def wait_for_load(self, running: int, waiting: int) -> None:
        def is_reached() -> bool:
            state = self.health()[1]
            return (state["running"], state["waiting"]) == (running, waiting)

        self.wait_for(is_reached)

    def counter(self, name: str) -> int:
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{")]
        assert values, name
        return int(sum(values))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; give the exit status."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def running(engine: EngineProcess) -> Iterator[EngineProcess]:
    """Start an engine, wait until it is ready, and end it afterwards however that went."""
    engine.start()
    try:
        engine.wait_until_ready()
        yield engine
    finally:
        assert engine.process
        engine.process.kill()
        engine.process.wait(30)


def chat(text: str, **options: Any) -> dict[str, Any]:
    """The body of a chat with one question."""
    return {"model": "default", "messages": [{"role": "user", "content": text}], **options}


def events(lines: Sequence[str] | Iterator[str]) -> Iterator[Any]:
    """Read server-sent events: JSON objects, and the end mark as it is. Comments are passed over."""
    for line in lines:
        if line and not line.startswith(":"):
            assert line.startswith("data: "), line
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)
