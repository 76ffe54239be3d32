"""The connection to an engine: what is not there, what refuses early, and a login in its address."""

from __future__ import annotations

import base64
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import foreign_server
import pytest
from foreign_server import answer
from web_app import web_app

from service import sockets
from service.web import engine_connection
from service.web.engine_client import Cancel
from service.web.engine_connection import Way


def test_a_refusal_is_read_that_comes_before_all_of_the_question_has_gone(tmp_path: Path) -> None:
    def refuse(server: socket.socket) -> None:
        with server.accept()[0] as connection:
            connection.sendall(answer(413, {"detail": "too large"}))

    with closing(sockets.listen(tmp_path / "socket")) as server, ThreadPoolExecutor(1) as pool:
        refused = pool.submit(refuse, server)
        way = Way(unix_socket=tmp_path / "socket")
        reply = engine_connection.ask("http://engine/v1", way, 20, lambda _: None, {}, b"x" * 20_000_000)
        refused.result()
    assert reply.status == 413 and b"".join(reply.chunks()) == b'{"detail": "too large"}'
    reply.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "[::1]:1"])
def test_a_name_that_leads_nowhere_is_named_as_such(tmp_path: Path, host: str) -> None:
    with web_app(tmp_path, f'[engine]\nurl = "http://{host}/v1"\n') as web:
        reason = web.app.test_client().get("/readyz").json["reason"]
    assert reason == "the server at [engine] url cannot be reached"


def test_a_login_in_the_address_is_shown_to_the_server(tmp_path: Path) -> None:
    with foreign_server.running() as foreign:
        url = foreign.url.replace("//", "//ferry:p%40ss@")
        with web_app(tmp_path, f'[engine]\nurl = "{url}"\n') as web:
            assert web.app.test_client().get("/readyz").status_code == 200
        expected = "Basic " + base64.b64encode(b"ferry:p@ss").decode()
        assert {headers["Authorization"] for headers in foreign.headers} == {expected}
        assert {headers["Host"] for headers in foreign.headers} == {foreign.url.split("/")[2]}


def test_what_was_cancelled_before_it_was_connected_ends_all_the_same(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with closing(sockets.listen(tmp_path / "socket")), pytest.raises((OSError, HTTPException)) as ended:
        # Nobody accepts, nobody answers: only the cancelling ends it before its time.
        engine_connection.ask("http://engine/v1", Way(unix_socket=tmp_path / "socket"), 20, cancel.watch, {}, b"x")
    assert not isinstance(ended.value, TimeoutError)
