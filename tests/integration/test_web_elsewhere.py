"""`[engine] url` as it is run: gunicorn and gevent before a server with TLS and a key, and before a Ferry."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import engine_process
import foreign_server
import openai
import pytest
import tiny_model
from foreign_server import CHAT, ForeignServer, piece, stream
from web_process import ROOT, WebProcess, make_environment, web_process

DONE = "data: [DONE]\n\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=elsewhere", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    out = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *out], capture_output=True, check=True)
    return folder / "certificate", folder / "key"


@pytest.fixture(scope="module")
def secure(certificate: tuple[Path, Path]) -> Iterator[ForeignServer]:
    with foreign_server.running(certificate) as foreign:
        foreign.replies[CHAT] = stream(piece("Hello"), piece(" you", "stop"), DONE)
        yield foreign


@pytest.fixture(scope="module")
def web(
    secure: ForeignServer, certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebProcess]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "api_key").write_text("secret-word\n")
    settings = f'[engine]\nurl = "{secure.url}"\nca_file = "{certificate[0]}"\napi_key_file = "{folder / "api_key"}"\n'
    with web_process(folder, settings) as running:
        yield running


def client(web: WebProcess, name: str) -> openai.OpenAI:
    return web.openai_client(web.add_key(name))


def asked(client: openai.OpenAI, question: str, **options: object):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="default", messages=messages, **options)


def test_an_authority_of_ones_own_is_trusted_when_it_is_named(web: WebProcess, secure: ForeignServer) -> None:
    pieces = [chunk.choices[0].delta.content for chunk in asked(client(web, "tls"), "hello", stream=True)]
    assert "".join(pieces) == "Hello you"
    assert secure.headers[-1]["Authorization"] == "Bearer secret-word"
    with web.client() as browser:
        assert browser.get("/readyz").status_code == 200


def test_a_client_that_leaves_ends_the_work_behind_tls_too(web: WebProcess, secure: ForeignServer) -> None:
    gone = threading.Event()

    def reply(connection: socket.socket) -> None:
        connection.sendall(stream(piece("half"), is_cut=True))
        if not connection.recv(1):
            gone.set()

    usual, secure.replies[CHAT] = secure.replies[CHAT], reply
    try:
        answer = asked(client(web, "leaver"), "hello", stream=True)
        next(iter(answer))
        answer.close()
        assert gone.wait(10)
    finally:
        secure.replies[CHAT] = usual
    assert "".join(c.choices[0].delta.content for c in asked(client(web, "next"), "hello", stream=True)) == "Hello you"


def test_a_certificate_of_nobody_known_is_refused_and_named(secure: ForeignServer, tmp_path: Path) -> None:
    with web_process(tmp_path, f'[engine]\nurl = "{secure.url}"\n') as web, web.client() as browser:
        ready = browser.get("/readyz")
        with pytest.raises(openai.InternalServerError, match="certificate that is not trusted"):
            asked(client(web, "careful"), "hello")
    assert ready.status_code == 503 and "see [engine] ca_file" in ready.json()["reason"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('api_key_file = "{folder}/none"', "[engine] api_key_file: {folder}/none: No such file"),
        ('api_key_file = "{folder}/empty"', "[engine] api_key_file: {folder}/empty: holds no API key"),
        ('api_key_file = "{folder}/two"', "[engine] api_key_file: {folder}/two: holds no API key"),
        ('ca_file = "{folder}/none"', "[engine] ca_file: {folder}/none: No such file"),
        ('ca_file = "{folder}/two"', "[engine] ca_file: {folder}/two: holds no certificates in PEM"),
        ('ca_file = "here"', "allowed: the absolute path of a file"),
    ],
)
def test_a_key_or_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path, setting: str, words: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "two").write_text("one\ntwo\n")
    line = setting.format(folder=tmp_path)
    environment = make_environment(tmp_path, f'[engine]\nurl = "https://127.0.0.1:1/v1"\n{line}\n')
    command = [sys.executable, "-m", "service.web"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert words.format(folder=tmp_path) in done.stderr and "hint: " in done.stderr


def test_another_ferry_answers_for_this_one(tmp_path: Path) -> None:
    """A real engine behind a second Ferry's web tier, reached over TCP with one of its keys."""
    model = tiny_model.make(tmp_path / "model")
    settings = "[engine]\nmax_new_tokens = 8\n"
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
    with (
        engine_process.running(engine_process.EngineProcess(tmp_path / "engine", model, "tiny", settings)) as engine,
        web_process(tmp_path / "there", settings, socket=engine.socket) as there,
    ):
        (tmp_path / "key").write_text(there.add_key("the other Ferry"))
        settings += f'url = "{there.url}/v1"\napi_key_file = "{tmp_path / "key"}"\n'
        settings += f'ca_file = "{there.front.certificate}"\n' if there.front else ""
        with web_process(tmp_path / "here", settings) as here:
            here.add_user("alice")
            alice = here.login("alice")
            assert alice.get("/readyz").json() == {"ready": True, "model": "tiny"}
            chat = alice.post("/api/conversations").json()["id"]
            answer = alice.post(f"/api/conversations/{chat}/messages", json={"content": "hello"})
            end = json.loads(answer.text.splitlines()[-1])
            assert end["state"] in ("complete", "length") and end["figures"]["prompt_tokens"] > 0, answer.text
            refused = alice.post(f"/api/conversations/{chat}/messages", json={"content": "word " * 4000})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
            program = client(here, "script")
            assert asked(program, "hello", max_tokens=4).usage.completion_tokens in range(1, 5)
            list(asked(program, "hello", stream=True))
            engine.stop()
            with here.client() as browser:
                ready = browser.get("/readyz")
                assert ready.status_code == 503 and "the engine is not running" in ready.json()["reason"]
            with pytest.raises(openai.InternalServerError, match="the engine is not running"):
                asked(program, "hello")
