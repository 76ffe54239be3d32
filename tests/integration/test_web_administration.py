"""Administration with two workers: they count together, obey the same quotas, and follow new settings by themselves."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from web_process import PASSWORD, WebProcess, web_process

ANSWERS = 24
TOKENS = 120  # of each, as the fake engine tells


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), "workers = 2\nrequests_per_minute = 0\n") as running:
        running.admin("user", "add", "root", "--role", "administrator", "--password-stdin", stdin=PASSWORD)
        running.add_user("alice")
        yield running


@pytest.fixture(scope="module")
def root(web: WebProcess) -> Iterator[httpx.Client]:
    client = web.login("root")
    yield client
    client.close()


def ask(web: WebProcess, key: str) -> httpx.Response:
    """Ask over a connection of its own, which either worker may take."""
    body = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    with web.client() as client:
        return client.post("/v1/chat/completions", json=body, headers=headers)


def metric(web: WebProcess, name: str) -> int:
    found = re.search(rf"^{re.escape(name)} (\d+)$", httpx.get(f"{web.own_url}/metrics", trust_env=False).text, re.M)
    return int(found[1]) if found else 0


def workers(web: WebProcess) -> list[int]:
    children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
    return [int(child) for child in children]


def wait_until(is_so: object, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_workers_count_every_answer_once_and_either_tells_the_sum(web: WebProcess, root: httpx.Client) -> None:
    key = web.admin("key", "add", "counted", "--user", "alice")["key"]
    wait_until(lambda: metric(web, "ferry_web_workers") == 2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(web, key), range(ANSWERS)))
    assert {answer.status_code for answer in answers} == {200}
    # The last of them is counted when its connection is let go, a moment after its end.
    wait_until(lambda: metric(web, "ferry_web_streams") == 0)
    told = {metric(web, 'ferry_web_chats_total{outcome="complete"}') for _ in range(20)}
    assert told == {ANSWERS}
    for page in ("keys", "users"):
        name = {"keys": "counted", "users": "alice"}[page]
        address = re.findall(rf'href="(/admin/{page}/\d+)">{name}<', root.get(f"/admin/{page}").text)[0]
        assert f"Tokens: {ANSWERS * TOKENS:,}, requests: {ANSWERS}" in root.get(address).text


def test_a_quota_set_on_the_page_holds_in_every_worker(web: WebProcess, root: httpx.Client) -> None:
    key = web.add_key("limited")
    path = re.findall(r'href="(/admin/keys/\d+)">limited<', root.get("/admin/keys").text)[0]
    assert root.post(f"{path}/quota", data={"tokens_per_day": str(TOKENS)}).status_code == 303
    assert ask(web, key).status_code == 200
    wait_until(lambda: ask(web, key).status_code == 429)
    assert {ask(web, key).json()["error"]["code"] for _ in range(10)} == {"insufficient_quota"}


def test_a_setting_made_on_the_page_reaches_every_worker_within_seconds(web: WebProcess, root: httpx.Client) -> None:
    key = web.add_key("asked")
    changed = root.post("/admin/settings/engine.system_prompt", data={"value": "Be brief."})
    assert changed.status_code == 303

    def is_everywhere() -> bool:
        first = len(web.engine.requests)
        for _ in range(8):
            ask(web, key)
        return {sent["messages"][0]["content"] for sent in web.engine.requests[first:]} == {"Be brief."}

    wait_until(is_everywhere)
    assert root.post("/admin/settings/engine.system_prompt", data={"reset": "1"}).status_code == 303


def test_a_worker_that_is_killed_takes_no_count_along(web: WebProcess) -> None:
    ask(web, web.add_key("before the kill"))
    wait_until(lambda: metric(web, "ferry_web_streams") == 0)
    before = metric(web, 'ferry_web_chats_total{outcome="complete"}')
    old = workers(web)
    os.kill(old[0], signal.SIGKILL)
    wait_until(lambda: len(workers(web)) == 2 and old[0] not in workers(web))
    wait_until(lambda: metric(web, "ferry_web_workers") == 2)
    assert metric(web, 'ferry_web_chats_total{outcome="complete"}') == before > 0


def test_the_requests_of_a_minute_are_counted_together(tmp_path: Path) -> None:
    with web_process(tmp_path, "workers = 2\nrequests_per_minute = 1\n") as web:
        headers = {"Authorization": f"Bearer {web.add_key('script')}"}
        wait_until(lambda: len(workers(web)) == 2)
        answers = []
        for _ in range(20):  # over a connection of its own each, which either worker may take
            with web.client() as client:
                answers.append(client.get("/v1/models", headers=headers).status_code)
        assert answers == [200] + [429] * 19
