"""TLS by the web tier itself, as it is run: real certificates, real handshakes, and the doubts a start should have."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import certificates
import httpx
import pytest
from web_process import PASSWORD, ROOT, WebProcess, log_in_form, make_environment, web_process

from installer import health

pytestmark = pytest.mark.openssl


def settings(certificate: Path, key: Path) -> str:
    return f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def web(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), settings(*files), certificate=files[0]) as running:
        running.add_user("alice")
        yield running


def address(web: WebProcess) -> tuple[str, int]:
    return "127.0.0.1", int(web.url.rpartition(":")[2])


def test_a_person_logs_in_over_tls_and_the_cookie_is_for_tls_alone(web: WebProcess) -> None:
    with web.client() as browser:
        assert browser.get("/healthz").json() == {"ok": True}
        answer = log_in_form(browser, "alice", PASSWORD)
        cookies = answer.headers.get_list("Set-Cookie")
        assert answer.status_code == 302 and "Secure" in cookies[0] and "HttpOnly" in cookies[0]


def test_a_stranger_does_not_trust_the_certificate(web: WebProcess) -> None:
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(web.url, trust_env=False)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(web: WebProcess, version: ssl.TLSVersion) -> None:
    with shaken(web, version) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated")
def test_nothing_older_is_spoken(web: WebProcess) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shaken(web, ssl.TLSVersion.TLSv1_1)


def shaken(web: WebProcess, version: ssl.TLSVersion) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context.wrap_socket(socket.create_connection(address(web), 10))


def test_plain_http_and_a_broken_handshake_leave_no_traceback_and_nobody_waits(web: WebProcess) -> None:
    before = len(web.output.read_text())
    with socket.create_connection(address(web), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionError):
            assert plain.recv(100) == b"", "there is no answer"
            raise ConnectionError
    stuck = [socket.create_connection(address(web), 10) for _ in range(20)]
    with web.client() as browser:
        assert browser.get("/healthz").status_code == 200
    for one in stuck:
        one.close()
    with web.client() as browser:
        assert browser.get("/healthz").status_code == 200
    assert "Traceback" not in web.output.read_text()[before:]


@pytest.mark.parametrize("says_goodbye", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_leaves_is_noticed_within_tls_too(
    web: WebProcess, version: ssl.TLSVersion, says_goodbye: bool
) -> None:
    before = len(web.engine.gone_at)
    key = web.add_key(f"leaver-{version}-{says_goodbye}")
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "prefill"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    connection = shaken(web, version)
    connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    time.sleep(0.4)
    left_at = time.monotonic()
    if says_goodbye:
        connection.settimeout(0.05)
        with pytest.raises((ssl.SSLError, OSError, TimeoutError)):
            connection.unwrap()
    connection.close()
    assert web.engine.wait_until_gone(before + 1) - left_at < 2


def test_the_selftest_and_the_installers_health_check_know_the_certificate_by_itself(
    web: WebProcess, files: tuple[Path, Path], tmp_path: Path
) -> None:
    assert web.admin("selftest", "--prompt", "What is it?")["ok"]
    config = web.admin("config")
    assert (config["url"], config["certificate"], config["warning"]) == (web.url, str(files[0]), "")
    assert health.is_ready(web.url, str(files[0]))
    other = certificates.make(tmp_path, "other")[0]
    status, reason = health.get(f"{web.url}/readyz", certificate=str(other))
    assert status == 0 and "certificate" in reason


def test_a_certificate_for_another_name_does_for_this_machine(tmp_path: Path) -> None:
    files = certificates.make(tmp_path, address="10.1.2.3", days=7)
    folder = tmp_path / "web"
    folder.mkdir()
    with web_process(folder, settings(*files), certificate=files[0]) as web:
        assert web.admin("selftest", "--prompt", "What is it?")["ok"]
        assert health.is_ready(web.url, str(files[0]))
        assert "ends in 7 days" in web.admin("config")["warning"]
        assert "warning: the certificate of [web] tls_certificate ends in" in web.output.read_text()


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("none.crt", "tls.key", "[web] tls_certificate: {folder}/none.crt: No such file"),
        ("tls.crt", "none.key", "[web] tls_key: {folder}/none.key: No such file"),
        ("tls.key", "tls.key", "[web] tls_certificate: {folder}/tls.key: holds no certificate in PEM"),
        ("tls.crt", "tls.crt", "[web] tls_key: {folder}/tls.crt: holds no private key in PEM"),
        ("tls.crt", "other.key", "[web] tls_key: {folder}/other.key: is not the key of the certificate"),
        ("tls.crt", "tls.locked", "[web] tls_key: {folder}/tls.locked: the key is locked by a passphrase"),
        ("old.crt", "old.key", "[web] tls_certificate: {folder}/old.crt: certificate has expired"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start_and_are_named(
    tmp_path: Path, certificate: str, key: str, words: str
) -> None:
    for name, made_on in (("tls", ""), ("other", ""), ("old", "2020-01-01")):
        certificates.make(tmp_path, name, made_on=made_on)
    certificates.with_passphrase(tmp_path / "tls.key")
    environment = make_environment(tmp_path, settings(tmp_path / certificate, tmp_path / key))
    command = [sys.executable, "-m", "service.web"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert words.format(folder=tmp_path) in done.stderr and "hint: " in done.stderr
