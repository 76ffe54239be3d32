"""docs/nginx/ferry.conf as it stands there, in a real nginx before a web tier: only its ports are changed.

In: the web tier's address. Out: a `Front` with the address of nginx, and clients that get through its password.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import certificates
import httpx
from ports import free_port

FOLDER = Path(__file__).parent.parent / "docs" / "nginx"
MAIN = """
user root;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    include {folder}/ferry.conf;
}}
"""
DOOR = ("carol", "the door's password")


class Password(httpx.BasicAuth):
    """nginx's password, but for a request that has another Authorization: there is one such header."""

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        if "Authorization" in request.headers:
            yield request
        else:
            yield from super().auth_flow(request)


@dataclass(frozen=True)
class Front:
    """A running nginx: its two addresses, and its certificate."""

    url: str
    plain_url: str
    certificate: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self, auth: tuple[str, str] | None = DOOR, **headers: str) -> httpx.Client:
        how = Password(*auth) if auth else None
        trust = self.trust
        return httpx.Client(base_url=self.url, verify=trust, auth=how, headers=headers, timeout=30, trust_env=False)

    @property
    def password(self) -> dict[str, str]:
        """The header that nginx wants to see."""
        return {"Authorization": f"Basic {base64.b64encode(':'.join(DOOR).encode()).decode()}"}

    def chromium_arguments(self) -> list[str]:
        """Return what makes Chromium trust this certificate, and no other."""
        words = ["openssl", "x509", "-in", str(self.certificate), "-noout", "-pubkey"]
        key = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[1:-1]
        digest = hashlib.sha256(base64.b64decode("".join(key))).digest()
        return [f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"]

    def window_options(self) -> dict[str, Any]:
        """Return what a person types where a window of the browser asks for nginx's password."""
        return {"http_credentials": {"username": DOOR[0], "password": DOOR[1]}}


@contextmanager
def nginx(folder: Path, web_url: str, changes: Mapping[str, str] = MappingProxyType({})) -> Iterator[Front]:
    secure, plain = free_port(), free_port()
    ports = {"listen 443 ssl": f"listen 127.0.0.1:{secure} ssl", "listen 80;": f"listen 127.0.0.1:{plain};"}
    text = (FOLDER / "ferry.conf").read_text()
    for standing, here in {**ports, "http://127.0.0.1:8080": web_url, **changes}.items():
        assert standing in text
        text = text.replace(standing, here)
    (folder / "ferry.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    for made in certificate_and_key():
        shutil.copy(made, folder)
    (folder / "ferry.htpasswd").write_text(f"{DOOR[0]}:{_hash(DOOR[1])}")
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    command = [str(program), "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        running = Front(f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}", folder / "ferry.crt")
        try:
            _wait_until_open(running, process)
            yield running
        finally:
            process.terminate()
            process.wait(15)
            print((folder / "log").read_text())


@cache
def certificate_and_key() -> tuple[Path, Path]:
    """Return one certificate and its key, for every nginx of this process."""
    folder = Path(tempfile.mkdtemp(prefix="ferry-nginx-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return certificates.make(folder, "ferry", days=2)


@cache
def _hash(password: str) -> str:
    words = ["openssl", "passwd", "-apr1", password]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _wait_until_open(front: Front, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, f"nginx ended with {process.returncode}"
        try:
            httpx.get(front.plain_url, trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("nginx did not open its port")
