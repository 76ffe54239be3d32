"""A container that Ferry is installed in as root, and how the end-to-end tests talk to it: ferry, systemd, a client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from container import Container

URL = "http://127.0.0.1:8080"
QUESTION = "What is the capital of France?"
UNITS = ("ferry.service", "ferry-engine.service")
TRUST = ("--allowed-signers", "/media/usb/allowed_signers", "--yes")
INSTALL = ("sh", "/media/usb/install.sh", *TRUST)
REMOVE_PYTHON = "rm -rf /usr/bin/python3* /usr/lib/python3* /usr/share/python3 /etc/python3*"
# What Debian's own tools touch whenever accounts come and go, or a system runs; namespace-dev-… is what a start that
# was killed while systemd prepared its /dev leaves.
ACCOUNT_BACKUPS = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock")
LOGINS = ("/var/log/wtmp", "/var/log/btmp", "/var/log/lastlog")
NOT_OURS = (*ACCOUNT_BACKUPS, *LOGINS, "/tmp/systemd-private-", "/var/tmp/systemd-private-", "/tmp/namespace-dev-")


@dataclass(frozen=True)
class Server:
    """A container, and what its disk held before Ferry came.

    It sees the bundle at /media/usb, and at /media/next the one that follows it, where a test asked for that.
    """

    container: Container
    before: dict[str, str]

    def ferry(self, *arguments: str, status: int = 0) -> Any:
        """Run a `ferry` command with --json and return its answer."""
        done = self.container.run(["ferry", *arguments, "--json"], check=False, timeout_s=300)
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def states(self) -> list[str]:
        return self.container.run(["systemctl", "is-active", *UNITS], check=False).stdout.split()

    def wait_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not self.ferry("status")["ready"]:
            assert time.monotonic() < deadline, self.journal()
            time.sleep(0.5)

    def journal(self) -> str:
        units = [word for unit in UNITS for word in ("-u", unit)]
        return self.container.run(["journalctl", "--no-pager", "-n", "60", *units]).stdout

    def main_pid(self, unit: str) -> str:
        return self.container.run(["systemctl", "show", "--value", "-p", "MainPID", unit]).stdout.strip()

    def programs(self) -> set[str]:
        """Return what the two units really run."""
        pids = [self.main_pid(unit) for unit in UNITS]
        return {self.container.run(["readlink", f"/proc/{pid}/exe"]).stdout.strip() for pid in pids}

    def changes(self) -> dict[str, tuple[str | None, str | None]]:
        """Return what on the disk is not as it was before Ferry came."""
        before, after = self.before, self.container.listing("/", "/tmp")
        paths = {path for path in before | after if not path.startswith(NOT_OURS)}
        both = {path: (before.get(path), after.get(path)) for path in sorted(paths)}
        return {path: pair for path, pair in both.items() if pair[0] != pair[1]}

    def install(self, under: Callable[[Sequence[str]], list[str]] = list) -> str:
        """Install what lies at /media/usb, and return what was said on the way."""
        done = self.container.run(INSTALL, check=False, timeout_s=900, under=under)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.journal()}"
        assert "Traceback" not in done.stderr
        return done.stderr

    def chat(self, key: str, question: str = QUESTION, **settings: Any) -> list[str]:
        """Ask through the web's API with OpenAI's own client, and return the pieces as they came."""
        messages: Any = [{"role": "user", "content": question}]
        with self.container.network():
            client = openai.OpenAI(base_url=f"{URL}/v1", api_key=key, timeout=120, max_retries=0)
            ask = {"model": "default", "messages": messages, "stream": True, "temperature": 0, **settings}
            with client.chat.completions.create(**ask) as stream:
                return [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]


@contextmanager
def booted(*layers: Path, prepare: str = "", **media: Path) -> Iterator[Server]:
    """Boot a server that sees these folders below /media; `prepare` is shell that makes it what the test is about."""
    made = Container(*layers)
    for name, folder in media.items():
        made.show(f"/media/{name}", folder)
    with made:
        if prepare:
            made.run(["sh", "-c", prepare])
        yield Server(made, made.listing("/", "/tmp"))
