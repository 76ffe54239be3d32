"""Passwords that a directory checks: a real slapd, and the web tier's own code in front of it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ldap_server
import pytest
from ldap_server import PEOPLE, SERVICE_DN, SERVICE_PASSWORD, LdapServer
from web_app import WebApp, web_app
from web_process import PASSWORD, ROOT, log_in_form, make_environment, web_process

from service.config import ConfigError, Ldap
from service.web import login
from service.web.directory import DirectoryAway
from service.web.ldap_directory import LdapDirectory
from service.web.models import User

pytestmark = pytest.mark.slapd
WORD = "alice's word"
ODD = "o'brien (the *)\\, jr"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LdapServer]:
    with ldap_server.running(tmp_path_factory.mktemp("ldap")) as server:
        for name in ("alice", "bob", "carol"):
            server.add_person(name, f"{name}'s word")
        server.add_person(ODD.replace("\\", ""), "odd word", rf"uid=o'brien (the *)\, jr,{PEOPLE}")
        server.add_group("administrators", "bob")
        server.add_group("auditors", "carol")
        yield server


@pytest.fixture(scope="module")
def password_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("word") / "word"
    path.write_text(SERVICE_PASSWORD + "\n")
    return path


def by_template(server: LdapServer, **more: object) -> LdapDirectory:
    return LdapDirectory(Ldap(url=server.url, user_dn=f"uid={{name}},{PEOPLE}", **more))  # type: ignore[arg-type]


def by_search(server: LdapServer, password_file: Path, **more: object) -> LdapDirectory:
    known = {"base": "dc=bank", "bind_dn": SERVICE_DN, "bind_password_file": str(password_file)}
    return LdapDirectory(Ldap(**{"url": server.url, **known, **more}))  # type: ignore[arg-type]


@pytest.fixture(params=["template", "search"])
def asked(request: pytest.FixtureRequest, directory: LdapServer, password_file: Path) -> LdapDirectory:
    return by_template(directory) if request.param == "template" else by_search(directory, password_file)


def test_the_right_password_is_accepted_and_no_other(asked: LdapDirectory) -> None:
    person = asked.check("alice", WORD)
    assert person and (person.name, person.role) == ("alice", None)
    for name, password in (("alice", "wrong"), ("nobody", WORD), ("bob", WORD), ("alice", WORD.upper())):
        assert asked.check(name, password) is None


@pytest.mark.parametrize("password", ["", "\0", "\0word", "alice's word\0"])
def test_an_empty_password_is_no_anonymous_bind(asked: LdapDirectory, password: str) -> None:
    assert asked.check("alice", password) is None


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "a*",
        "alice)(uid=*",
        "*)(|(uid=*",
        "alice\0",
        "",
        " ",
        "alice,ou=people",
        "x,dc=bank",
        "(",
        "\\2a",
        "al\\69ce",
    ],
)
def test_no_name_becomes_part_of_a_filter_or_a_dn(asked: LdapDirectory, name: str) -> None:
    assert asked.check(name, WORD) is None


def test_a_name_with_every_odd_character_is_still_found(directory: LdapServer, password_file: Path) -> None:
    name = ODD.replace("\\", "")
    assert by_search(directory, password_file).check(name, "odd word")
    assert by_template(directory).check(name, "odd word")


def test_groups_give_the_roles(directory: LdapServer, password_file: Path) -> None:
    groups = {"administrator_group": "cn=administrators,dc=bank", "auditor_group": "cn=auditors,dc=bank"}
    asked = by_search(directory, password_file, **groups)
    roles = {name: asked.check(name, f"{name}'s word") for name in ("alice", "bob", "carol")}
    assert {name: found.role for name, found in roles.items() if found} == {
        "alice": "user",
        "bob": "administrator",
        "carol": "auditor",
    }


def test_a_directory_that_is_away_or_does_not_know_us_is_no_wrong_password(
    directory: LdapServer, password_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_text("wrong")
    with pytest.raises(DirectoryAway, match="bind_dn"):
        by_search(directory, tmp_path / "wrong").check("alice", WORD)
    with pytest.raises(DirectoryAway):
        LdapDirectory(Ldap(url="ldap://127.0.0.1:1", user_dn="uid={name},dc=bank")).check("alice", WORD)


def test_a_directory_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DirectoryAway):
            LdapDirectory(Ldap(url=url, user_dn="uid={name},dc=bank", timeout_s=1)).check("alice", WORD)


@pytest.mark.parametrize("way", ["ldaps", "start_tls"])
def test_tls_is_spoken_to_who_has_a_certificate_that_is_trusted(directory: LdapServer, way: str) -> None:
    url, start = (directory.secure_url, False) if way == "ldaps" else (directory.url, True)
    known = {"url": url, "start_tls": start, "user_dn": f"uid={{name}},{PEOPLE}"}
    assert LdapDirectory(Ldap(**known, ca_file=str(directory.certificate))).check("alice", WORD)  # type: ignore[arg-type]
    with pytest.raises(DirectoryAway):
        LdapDirectory(Ldap(**known)).check("alice", WORD)  # type: ignore[arg-type]
    elsewhere = url.replace("127.0.0.1", "localhost")
    with pytest.raises(DirectoryAway):
        LdapDirectory(Ldap(**{**known, "url": elsewhere}, ca_file=str(directory.certificate))).check("alice", WORD)  # type: ignore[arg-type]


def test_a_password_never_crosses_in_clear_where_tls_was_asked_for() -> None:
    """A directory without TLS gets no password: what it was sent is looked at."""
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received.extend(connection.recv(4096))
                # LDAPMessage 1, ExtendedResponse, unavailable: there is no TLS here.
                connection.sendall(bytes.fromhex("300c02010178070a013404000400"))
                connection.settimeout(2)
                try:
                    while data := connection.recv(4096):
                        received.extend(data)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"ldap://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(DirectoryAway):
            LdapDirectory(Ldap(url=url, start_tls=True, user_dn="uid={name},dc=bank", timeout_s=2)).check("alice", WORD)
        thread.join()
    assert received and WORD.encode() not in received


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "two").write_text("one\ntwo\n")
    for settings, words in (
        ({"bind_password_file": str(tmp_path / "none")}, "No such file"),
        ({"bind_password_file": str(tmp_path / "two")}, "holds no password"),
        ({"ca_file": str(tmp_path / "two")}, "holds no certificates in PEM"),
    ):
        with pytest.raises(ConfigError, match=words):
            LdapDirectory(Ldap(url="ldap://127.0.0.1", **settings))  # type: ignore[arg-type]


def toml(server: LdapServer) -> str:
    lines = {"url": server.url, "user_dn": f"uid={{name}},{PEOPLE}", "administrator_group": "cn=administrators,dc=bank"}
    return "[ldap]\n" + "".join(f'{name} = "{value}"\n' for name, value in lines.items())


@pytest.fixture
def web(directory: LdapServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebApp]:
    monkeypatch.setattr(login, "REFUSED_AFTER_S", 0.0)
    with web_app(tmp_path, toml(directory)) as made:
        yield made


def test_a_person_of_the_directory_logs_in_and_has_an_account_with_the_same_name(web: WebApp) -> None:
    for name in ("alice", "ALICE"):
        assert log_in_form(web.app.test_client(), name, WORD).status_code == 302
    assert log_in_form(web.app.test_client(), "alice", "wrong").status_code == 401
    assert log_in_form(web.app.test_client(), "alice", "").status_code == 401
    with web.database.begin() as session:
        assert [(user.name, user.source, user.role) for user in session.query(User)] == [("alice", "ldap", "user")]
    client = web.app.test_client()
    log_in_form(client, "alice", WORD)
    assert client.get("/account/password").status_code == 404
    assert "organisation" in re.sub(r"\s+", " ", client.get("/account").text)


def test_an_account_that_was_made_here_is_never_the_directorys(web: WebApp) -> None:
    web.add_user("bob")
    assert log_in_form(web.app.test_client(), "bob", "bob's word").status_code == 401
    assert log_in_form(web.app.test_client(), "bob", PASSWORD).status_code == 302


def test_a_disabled_account_stays_out_whatever_the_directory_says(web: WebApp) -> None:
    log_in_form(web.app.test_client(), "alice", WORD)
    with web.database.begin() as session:
        session.query(User).one().is_enabled = False
    assert log_in_form(web.app.test_client(), "alice", WORD).status_code == 401


def test_while_the_directory_is_away_the_page_says_so_and_local_accounts_still_log_in(
    directory: LdapServer, tmp_path: Path
) -> None:
    """As it is run, under gevent: a directory that does not answer holds up nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = toml(directory).replace(directory.url, f"ldap://127.0.0.1:{silent.getsockname()[1]}")
        with web_process(tmp_path, settings + "timeout_s = 3\n") as web:
            web.add_user("root")
            answers: list[int] = []

            def try_alice() -> None:
                with web.client() as browser:
                    answer = log_in_form(browser, "alice", WORD)
                    answers.append(answer.status_code)
                    assert "directory" in answer.text and "Traceback" not in answer.text

            waiting = threading.Thread(target=try_alice)
            waiting.start()
            silent.settimeout(10)
            silent.accept()
            with web.client() as browser:
                started = time.monotonic()
                assert log_in_form(browser, "root", PASSWORD).status_code == 302
                assert time.monotonic() - started < 2.5
            waiting.join()
            assert answers == [503]


def test_a_start_with_a_password_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    lines = (
        f'[ldap]\nurl = "ldap://127.0.0.1"\nbase = "dc=bank"\nbind_dn = "cn=f"\nbind_password_file = "{tmp_path}/no"\n'
    )
    environment = make_environment(tmp_path, lines)
    command = [sys.executable, "-m", "service.web"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "[ldap] bind_password_file: " in done.stderr and "hint: " in done.stderr
