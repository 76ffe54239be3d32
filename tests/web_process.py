"""The real web process for tests: `python -m service.web` on a free port, over a folder of its own and a fake engine.

Out: a `WebProcess` with the address, the folders, the fake engine, and what a client needs (accounts, keys, logins).
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import admin_forks
import combination
import databases
import httpx
import openai
from fake_engine import FakeEngine
from nginx_front import Front, nginx
from ports import free_port

from service import config as configuration
from service.web.database import Database

ROOT = Path(__file__).parent.parent
PASSWORD = "a long password"


@dataclass
class WebProcess:
    own_url: str
    environment: dict[str, str]
    engine: FakeEngine
    process: subprocess.Popen[bytes]
    output: Path
    own_trust: ssl.SSLContext | bool = False  # without TLS no certificates are read: that takes longer than a request
    front: Front | None = None  # the nginx before it

    @property
    def url(self) -> str:
        """Where people and programs come in; `own_url` is where it listens itself."""
        return self.front.url if self.front else self.own_url

    @property
    def trust(self) -> ssl.SSLContext | bool:
        return self.front.trust if self.front else self.own_trust

    @property
    def data(self) -> Path:
        return Path(self.environment["FERRY_DATA"])

    @property
    def log(self) -> Path:
        return Path(self.environment["FERRY_LOG"])

    def database(self) -> Database:
        """Open the database that it works on."""
        return Database.of(configuration.load(Path(self.environment["FERRY_CONFIG"])).data, self.data)

    def kill(self) -> None:
        """Kill gunicorn and its worker, as a crash of the machine would."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for process_id in [self.process.pid, *map(int, children)]:
            os.kill(process_id, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        stop(self.process)
        self.process = start(self.environment, self.output)
        self.wait_until_it_serves()

    def wait_until_it_serves(self) -> None:
        wait_for(f"{self.own_url}/healthz", self.process, verify=self.own_trust)

    def admin(self, *arguments: str, stdin: str = "", check: bool = True) -> dict[str, Any]:
        """Run an admin command and return its JSON."""
        done = admin_forks.run(self.environment, *arguments, "--json", stdin=stdin)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def add_user(self, name: str, role: str = "user") -> None:
        self.admin("user", "add", name, "--role", role, "--password-stdin", stdin=PASSWORD)

    def add_key(self, name: str) -> str:
        return self.admin("key", "add", name)["key"]

    def client(self) -> httpx.Client:
        return self.front.client() if self.front else self.own_client()

    def own_client(self) -> httpx.Client:
        """Return a client that comes in by no front: for what the web tier does by itself."""
        return httpx.Client(base_url=self.own_url, timeout=30, trust_env=False, verify=self.own_trust)

    def connect(self, buffer_bytes: int = 0, *, is_own: bool = False) -> socket.socket:
        """Open a connection for requests that are written by hand, with a buffer of this size for what comes.

        `is_own`: by no front.
        """
        url, trust = (self.own_url, self.own_trust) if is_own else (self.url, self.trust)
        made = socket.socket()
        if buffer_bytes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        made.settimeout(30)
        made.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        return trust.wrap_socket(made, server_hostname="127.0.0.1") if isinstance(trust, ssl.SSLContext) else made

    def openai_client(self, key: str) -> openai.OpenAI:
        client = self.client()
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30, http_client=client)

    def login(self, name: str, password: str = PASSWORD) -> httpx.Client:
        """Return a client that is logged in and sends the CSRF token."""
        client = self.client()
        assert log_in_form(client, name, password).status_code == 302
        client.headers["X-CSRF-Token"] = csrf_of(client.get("/").text)
        return client


def admin(environment: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.web.admin", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60)


def log_in_form(client: Any, name: str, password: str) -> Any:
    """Fill the login form as a browser does, with httpx's client or Flask's."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
    assert token
    return client.post("/login", data={"username": name, "password": password, "csrf_token": token[1]})


def choose_password(client: Any, password: str) -> Any:
    """Replace a one-time password, as the page asks for before anything else."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/account/password").text)
    assert token
    form = {"password": password, "repeat": password, "csrf_token": token[1]}
    return client.post("/account/password", data=form)


def csrf_of(page: str) -> str:
    token = re.search(r'<meta name="csrf-token" content="([^"]+)"', page)
    assert token
    return token[1]


def make_environment(folder: Path, settings: str = "", port: int = 0, database: str = "") -> dict[str, str]:
    """Lay out the folders and the settings file of an installation, and return the environment that names them.

    `database` is one of combination.DATABASES, by default the run's.
    """
    for name in ("release", "run", "data", "log", "cache"):
        (folder / name).mkdir()
    config = folder / "ferry.toml"
    config.write_text(f'[web]\nlisten = "127.0.0.1:{port or free_port()}"\n{settings}\n{databases.settings(database)}')
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FERRY_")},
        "FERRY_RELEASE": str(folder / "release"),
        "FERRY_CONFIG": str(config),
        "FERRY_SOCKET": str(folder / "run" / "engine.sock"),
        "FERRY_DATA": str(folder / "data"),
        "FERRY_LOG": str(folder / "log"),
        "FERRY_CACHE": str(folder / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def web_process(
    folder: Path,
    settings: str = "",
    environment: dict[str, str] | None = None,
    socket: Path | None = None,
    database: str = "",
    certificate: Path | None = None,
    front: str = "",
) -> Iterator[WebProcess]:
    """Run the web tier until the block ends, before the real engine behind the socket `socket` or a fake one.

    `certificate`: that of the settings, which the clients are to trust; nothing then stands before it.
    `front` is one of combination.FRONTS, by default the run's.
    """
    port, log = free_port(), folder / "web.log"
    is_behind = not certificate and (front or combination.chosen(combination.FRONTS)) == "nginx"
    more = 'trusted_proxies = ["127.0.0.1"]\n' if is_behind else ""
    names = {**make_environment(folder, more + settings, port, database), **(environment or {})}
    if socket:
        names["FERRY_SOCKET"] = str(socket)
    fake = FakeEngine(Path(names["FERRY_SOCKET"]))
    with ExitStack() as held:
        if not socket:
            fake.start()
            held.callback(fake.stop)
        url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        web = WebProcess(url, names, fake, start(names, log), log, trust_in(certificate) if certificate else True)
        held.callback(lambda: print(log.read_text()))  # shown by pytest when the test fails
        held.callback(lambda: stop(web.process))
        web.wait_until_it_serves()
        if is_behind:
            (folder / "nginx").mkdir()
            web.front = held.enter_context(nginx(folder / "nginx", url))
        yield web
        is_file = (database or combination.chosen(combination.DATABASES)) == "sqlite"
        assert is_file or not (web.data / "ferry.db").exists(), "a test took another database for SQLite's file"


def trust_in(certificate: Path) -> ssl.SSLContext:
    """Return a context that trusts this certificate, whatever names it is for."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context


def start(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        command = [sys.executable, "-m", "service.web"]
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=file, stderr=file)


def wait_for(
    url: str, process: subprocess.Popen[bytes], timeout_s: float = 30, verify: ssl.SSLContext | bool = False
) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the web ended with {process.returncode}"
        with suppress(httpx.HTTPError):
            httpx.get(url, trust_env=False, verify=verify)
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
