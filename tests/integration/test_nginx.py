"""docs/nginx/ferry.conf as it stands there, in a real nginx before the real web tier: only its ports are changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from fake_engine import MODEL
from nginx_front import DOOR, Front, nginx
from web_process import PASSWORD, ROOT, WebProcess, csrf_of, log_in_form, web_process

pytestmark = pytest.mark.nginx


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), front="nginx") as running:
        running.add_user("alice")
        yield running


@pytest.fixture(scope="module")
def front(web: WebProcess) -> Front:
    assert web.front
    return web.front


@pytest.fixture(scope="module")
def naming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The same nginx with the one line of docs/accounts.md, so that its password is Ferry's too."""
    (line,) = re.findall(r"proxy_set_header X-Remote-User .*", (ROOT / "docs" / "accounts.md").read_text())
    beside = "proxy_set_header X-Forwarded-Proto $scheme;"
    settings = 'auth = "proxy"\ntrusted_proxies = ["127.0.0.1"]\nproxy_header = "X-Remote-User"\n'
    with (
        web_process(tmp_path_factory.mktemp("naming"), settings, front="directly") as running,
        nginx(tmp_path_factory.mktemp("nginx"), running.own_url, {beside: f"{beside}\n{line}"}) as running.front,
    ):
        yield running


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


def test_a_question_is_answered_in_pieces_as_they_are_written(front: Front, web: WebProcess) -> None:
    """A proxy that buffers would let the first piece come with the last."""
    headers = {"Authorization": f"Bearer {web.add_key('pieces')}"}
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "slow 20"}]}
    finished, seen = web.engine.finished, []
    with front.client(None, **headers) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if "piece" in line:
                seen.append(web.engine.finished - finished)
    assert len(seen) == 20 and seen[0] == 0, "the engine was still writing when the first piece came"


def test_a_person_logs_in_and_asks(front: Front) -> None:
    with front.client() as browser:
        assert log_in_form(browser, "alice", PASSWORD).status_code == 302
        browser.headers["X-CSRF-Token"] = csrf_of(browser.get("/").text)
        chat = browser.post("/api/conversations").json()["id"]
        answer = browser.post(f"/api/conversations/{chat}/messages", json={"content": "echo over nginx"})
        assert answer.status_code == 200 and "nginx" in answer.text


def test_an_answer_whose_reader_was_cut_off_is_followed_again_from_its_beginning(front: Front, web: WebProcess) -> None:
    with front.client() as browser:
        assert log_in_form(browser, "alice", PASSWORD).status_code == 302
        browser.headers["X-CSRF-Token"] = csrf_of(browser.get("/").text)
        chat = f"/api/conversations/{browser.post('/api/conversations').json()['id']}"
        finished = web.engine.finished
        with browser.stream("POST", f"{chat}/messages", json={"content": "slow 60"}) as answer:
            lines = answer.iter_lines()
            answer_id = json.loads(next(lines))["answer_id"]
            next(line for line in lines if "piece 2 " in line)
        with browser.stream("GET", f"{chat}/messages/{answer_id}/events") as answer:
            lines = answer.iter_lines()
            next(line for line in lines if "piece 9 " in line)
            assert web.engine.finished == finished, "it comes while it is written"
            assert json.loads(list(lines)[-1])["state"] == "complete"
        whole = "".join(f"piece {number} " for number in range(60))
        assert browser.get(chat).json()["messages"][-1]["content"] == whole


def test_a_program_shows_its_key_and_not_the_doors_password(front: Front, web: WebProcess) -> None:
    with front.client(None, Authorization=f"Bearer {web.add_key('program')}") as client:
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
def test_a_body_is_limited_by_ferry_and_a_flood_by_nginx(front: Front, web: WebProcess, kib: int, status: int) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": f"echo {'x' * kib * 1024}"}]}
    with front.client(None, Authorization=f"Bearer {web.add_key(f'body-{kib}')}") as client:
        assert client.post("/v1/chat/completions", json=body).status_code == status


def test_the_security_headers_are_ferrys_own_and_there_once(front: Front, web: WebProcess) -> None:
    with front.client() as client, web.own_client() as direct:
        through, straight = client.get("/login").headers, direct.get("/login").headers
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"):
        assert through.get_list(name) == straight.get_list(name)
    assert through.get_list("Content-Security-Policy") and "Server" in through and "/" not in through["Server"]


def test_a_client_that_leaves_frees_the_engine_through_nginx_too(front: Front, web: WebProcess) -> None:
    left = len(web.engine.gone_at)
    headers = {"Authorization": f"Bearer {web.add_key('leaver')}"}
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "slow 1000"}]}
    with front.client(None, **headers) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(line for line in answer.iter_lines() if "piece" in line)
    web.engine.wait_until_gone(left + 1)


def test_nginxs_password_is_enough_where_ferry_believes_it(naming: WebProcess) -> None:
    with naming.front.client() as browser:
        page = browser.get("/").text
        assert f">{DOOR[0]}<" in page
        browser.headers["X-CSRF-Token"] = csrf_of(page)
        chat = browser.post("/api/conversations").json()["id"]
        answer = browser.post(f"/api/conversations/{chat}/messages", json={"content": "echo by name"})
        assert answer.status_code == 200 and "by name" in answer.text
        cookies = browser.get("/account").request.headers["Cookie"]
        assert "ferry_form" in cookies and "ferry_session" not in cookies
    assert "Secure" in naming.front.client().get("/").headers["Set-Cookie"]


def test_nobody_behind_nginx_chooses_another_name(naming: WebProcess) -> None:
    with naming.front.client(**{"X-Remote-User": "admin"}) as browser:
        assert f">{DOOR[0]}<" in browser.get("/").text
    key = naming.add_key("named")
    with naming.front.client(None, **{"X-Remote-User": "admin", "Authorization": f"Bearer {key}"}) as program:
        assert program.get("/v1/models").status_code == 200
    users = [row["user"] for row in naming.admin("user", "list")["users"]]
    assert "admin" not in users


def test_the_audit_log_has_the_clients_own_address(naming: WebProcess) -> None:
    with naming.front.client(**{"X-Forwarded-For": "203.0.113.66"}) as browser:
        browser.headers["X-CSRF-Token"] = csrf_of(browser.get("/").text)
        browser.post("/account/keys", data={"name": "logged", "csrf_token": browser.headers["X-CSRF-Token"]})
    log = "".join(path.read_text() for path in naming.log.rglob("*.jsonl"))
    (line,) = [line for line in log.splitlines() if "/logged" in line]
    assert "127.0.0.1" in line and "203.0.113.66" not in line, "what the client writes itself is not believed"
