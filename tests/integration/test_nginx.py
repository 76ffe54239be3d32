"""docs/nginx/ferry.conf as it stands there, in a real nginx before the real web tier: only its ports are changed."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
from fake_engine import MODEL
from ports import free_port
from web_process import PASSWORD, ROOT, WebProcess, csrf_of, log_in_form, stop, web_process

pytestmark = pytest.mark.nginx
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


@dataclass(frozen=True)
class Front:
    """A running nginx: its two addresses, the certificate, and the web tier behind it."""

    url: str
    plain_url: str
    certificate: Path
    web: WebProcess

    def client(self, auth: tuple[str, str] | None = DOOR, **headers: str) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=self.url, verify=trusted, auth=auth, headers=headers, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with web_process(tmp_path_factory.mktemp("web")) as web:
        web.add_user("alice")
        with nginx(tmp_path_factory.mktemp("nginx"), web) as running:
            yield running


@pytest.fixture(scope="module")
def naming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The same nginx with the one line of docs/accounts.md, so that its password is Ferry's too."""
    (line,) = re.findall(r"proxy_set_header X-Remote-User .*", (ROOT / "docs" / "accounts.md").read_text())
    beside = "proxy_set_header X-Forwarded-Proto $scheme;"
    settings = 'auth = "proxy"\ntrusted_proxies = ["127.0.0.1"]\nproxy_header = "X-Remote-User"\n'
    with (
        web_process(tmp_path_factory.mktemp("naming"), settings) as web,
        nginx(tmp_path_factory.mktemp("nginx"), web, {beside: f"{beside}\n{line}"}) as running,
    ):
        yield running


@contextmanager
def nginx(folder: Path, web: WebProcess, changes: Mapping[str, str] = MappingProxyType({})) -> Iterator[Front]:
    secure, plain = free_port(), free_port()
    ports = {"listen 443 ssl": f"listen 127.0.0.1:{secure} ssl", "listen 80;": f"listen 127.0.0.1:{plain};"}
    text = (ROOT / "docs" / "nginx" / "ferry.conf").read_text()
    for standing, here in {**ports, "http://127.0.0.1:8080": web.url, **changes}.items():
        assert standing in text
        text = text.replace(standing, here)
    (folder / "ferry.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    make_certificate(folder)
    word = subprocess.run(["openssl", "passwd", "-apr1", DOOR[1]], capture_output=True, text=True, check=True).stdout
    (folder / "ferry.htpasswd").write_text(f"{DOOR[0]}:{word}")
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    command = [str(program), "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        running = Front(f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{plain}", folder / "ferry.crt", web)
        try:
            wait_until_open(running, process)
            yield running
        finally:
            stop(process)
            print((folder / "log").read_text())


def make_certificate(folder: Path) -> None:
    names = ["-subj", "/CN=ferry", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    out = ["-keyout", str(folder / "ferry.key"), "-out", str(folder / "ferry.crt")]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *out], capture_output=True, check=True)


def wait_until_open(front: Front, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, f"nginx ended with {process.returncode}"
        try:
            httpx.get(front.plain_url, trust_env=False)
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("nginx did not open its port")


def test_plain_http_is_sent_to_https(front: Front) -> None:
    answer = httpx.get(f"{front.plain_url}/login?next=1", trust_env=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://127.0.0.1/login?next=1")


def test_the_certificate_is_what_is_shown(front: Front) -> None:
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(front.url, trust_env=False)


@pytest.mark.parametrize("auth", [None, ("carol", "wrong"), ("alice", PASSWORD)])
@pytest.mark.parametrize("path", ["/", "/login", "/readyz", "/metrics", "/api/conversations"])
def test_nothing_is_shown_without_the_doors_password(front: Front, path: str, auth: tuple[str, str] | None) -> None:
    with front.client(auth) as client:
        answer = client.get(path)
    assert answer.status_code == 401 and "ferry" not in answer.text.replace("nginx", "").casefold()


def test_behind_the_door_ferry_asks_for_its_own_login(front: Front) -> None:
    with front.client() as client:
        assert client.get("/").headers["Location"].startswith("/login")
        assert client.get("/api/conversations").status_code == 401
        assert client.get("/metrics").status_code == 401, "for Ferry, nobody behind nginx is local"


def test_a_question_is_answered_in_pieces_as_they_are_written(front: Front) -> None:
    """A proxy that buffers would let the first piece come with the last."""
    headers = {"Authorization": f"Bearer {front.web.add_key('pieces')}"}
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "slow 20"}]}
    finished, seen = front.web.engine.finished, []
    with front.client(None, **headers) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if "piece" in line:
                seen.append(front.web.engine.finished - finished)
    assert len(seen) == 20 and seen[0] == 0, "the engine was still writing when the first piece came"


def test_a_person_logs_in_and_asks(front: Front) -> None:
    with front.client() as browser:
        assert log_in_form(browser, "alice", PASSWORD).status_code == 302
        browser.headers["X-CSRF-Token"] = csrf_of(browser.get("/").text)
        chat = browser.post("/api/conversations").json()["id"]
        answer = browser.post(f"/api/conversations/{chat}/messages", json={"content": "echo over nginx"})
        assert answer.status_code == 200 and "nginx" in answer.text


def test_an_answer_whose_reader_was_cut_off_is_followed_again_from_its_beginning(front: Front) -> None:
    with front.client() as browser:
        assert log_in_form(browser, "alice", PASSWORD).status_code == 302
        browser.headers["X-CSRF-Token"] = csrf_of(browser.get("/").text)
        chat = f"/api/conversations/{browser.post('/api/conversations').json()['id']}"
        finished = front.web.engine.finished
        with browser.stream("POST", f"{chat}/messages", json={"content": "slow 60"}) as answer:
            lines = answer.iter_lines()
            answer_id = json.loads(next(lines))["answer_id"]
            next(line for line in lines if "piece 2 " in line)
        with browser.stream("GET", f"{chat}/messages/{answer_id}/events") as answer:
            lines = answer.iter_lines()
            next(line for line in lines if "piece 9 " in line)
            assert front.web.engine.finished == finished, "it comes while it is written"
            assert json.loads(list(lines)[-1])["state"] == "complete"
        whole = "".join(f"piece {number} " for number in range(60))
        assert browser.get(chat).json()["messages"][-1]["content"] == whole


def test_a_program_shows_its_key_and_not_the_doors_password(front: Front) -> None:
    with front.client(None, Authorization=f"Bearer {front.web.add_key('program')}") as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [MODEL]
    with front.client(None, Authorization="Bearer none") as client:
        assert client.get("/v1/models").status_code == 401


def test_a_silence_longer_than_the_usual_minute_does_not_cut_an_answer(front: Front) -> None:
    """Told from the file, as nobody wants to wait: what nginx is told is more than a question may wait its turn."""
    text = (ROOT / "docs" / "nginx" / "ferry.conf").read_text()
    waits = int(text.partition("proxy_read_timeout ")[2].partition("s;")[0])
    queue = int((ROOT / "service" / "ferry.toml").read_text().partition("timeout_s = ")[2].partition("\n")[0])
    assert waits >= 2 * queue


@pytest.mark.parametrize(("kib", "status"), [(200, 200), (300, 413), (1100, 413)])
def test_a_body_is_limited_by_ferry_and_a_flood_by_nginx(front: Front, kib: int, status: int) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": f"echo {'x' * kib * 1024}"}]}
    with front.client(None, Authorization=f"Bearer {front.web.add_key(f'body-{kib}')}") as client:
        assert client.post("/v1/chat/completions", json=body).status_code == status


def test_the_security_headers_are_ferrys_own_and_there_once(front: Front) -> None:
    with front.client() as client, front.web.client() as direct:
        through, straight = client.get("/login").headers, direct.get("/login").headers
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"):
        assert through.get_list(name) == straight.get_list(name)
    assert through.get_list("Content-Security-Policy") and "Server" in through and "/" not in through["Server"]


def test_a_client_that_leaves_frees_the_engine_through_nginx_too(front: Front) -> None:
    left = len(front.web.engine.gone_at)
    headers = {"Authorization": f"Bearer {front.web.add_key('leaver')}"}
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "slow 1000"}]}
    with front.client(None, **headers) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(line for line in answer.iter_lines() if "piece" in line)
    front.web.engine.wait_until_gone(left + 1)


def test_nginxs_password_is_enough_where_ferry_believes_it(naming: Front) -> None:
    with naming.client() as browser:
        page = browser.get("/").text
        assert f">{DOOR[0]}<" in page
        browser.headers["X-CSRF-Token"] = csrf_of(page)
        chat = browser.post("/api/conversations").json()["id"]
        answer = browser.post(f"/api/conversations/{chat}/messages", json={"content": "echo by name"})
        assert answer.status_code == 200 and "by name" in answer.text
        cookies = browser.get("/account").request.headers["Cookie"]
        assert "ferry_form" in cookies and "ferry_session" not in cookies
    assert "Secure" in naming.client().get("/").headers["Set-Cookie"]


def test_nobody_behind_nginx_chooses_another_name(naming: Front) -> None:
    with naming.client(**{"X-Remote-User": "admin"}) as browser:
        assert f">{DOOR[0]}<" in browser.get("/").text
    key = naming.web.add_key("named")
    with naming.client(None, **{"X-Remote-User": "admin", "Authorization": f"Bearer {key}"}) as program:
        assert program.get("/v1/models").status_code == 200
    users = [row["user"] for row in naming.web.admin("user", "list")["users"]]
    assert "admin" not in users


def test_the_audit_log_has_the_clients_own_address(naming: Front) -> None:
    with naming.client(**{"X-Forwarded-For": "203.0.113.66"}) as browser:
        browser.headers["X-CSRF-Token"] = csrf_of(browser.get("/").text)
        browser.post("/account/keys", data={"name": "logged", "csrf_token": browser.headers["X-CSRF-Token"]})
    log = "".join(path.read_text() for path in naming.web.log.rglob("*.jsonl"))
    (line,) = [line for line in log.splitlines() if "/logged" in line]
    assert "127.0.0.1" in line and "203.0.113.66" not in line, "what the client writes itself is not believed"
