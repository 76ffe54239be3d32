"""The administrator's commands as the `ferry` command runs them: in a process of their own, with JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from web_process import PASSWORD, admin, make_environment


class Admin:
    def __init__(self, folder: Path) -> None:
        self.environment = make_environment(folder)

    def __call__(self, *arguments: str, stdin: str = "", status: int = 0) -> dict:
        done = admin(self.environment, *arguments, "--json", stdin=stdin)
        assert done.returncode == status, done.stdout + done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)


@pytest.fixture
def ferry(tmp_path: Path) -> Admin:
    return Admin(tmp_path)


def test_migrate_twice_changes_nothing_the_second_time(ferry: Admin) -> None:
    ferry("migrate", "--to", "base")  # a fresh database of the tests may have its tables already
    first = ferry("migrate")
    assert first["changed"] is True
    assert ferry("migrate") == {"revision": first["revision"], "changed": False}


def test_an_account_is_added_listed_disabled_and_enabled_before_the_web_ever_ran(ferry: Admin) -> None:
    added = ferry("user", "add", "alice", "--role", "administrator")
    assert added["user"] == "alice" and len(added["password"]) == 19
    assert ferry("user", "add", "bob", "--password-stdin", stdin=PASSWORD + "\n") == {"user": "bob", "password": None}
    assert ferry("user", "disable", "bob") == {"user": "bob", "enabled": False}
    users = ferry("user", "list")["users"]
    assert [(row["user"], row["role"], row["enabled"]) for row in users] == [
        ("alice", "administrator", True),
        ("bob", "user", False),
    ]
    assert ferry("user", "enable", "bob")["enabled"] is True
    changed = ferry("user", "passwd", "alice")
    assert changed["password"] != added["password"]
    log = Path(ferry.environment["FERRY_LOG"]) / "audit.jsonl"
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "password_reset"


def test_a_key_is_shown_once_and_revoked(ferry: Admin) -> None:
    ferry("user", "add", "alice")
    added = ferry("key", "add", "script", "--user", "alice")
    assert added["name"] == "script" and added["key"].startswith("ferry-")
    (row,) = ferry("key", "list")["keys"]
    assert (row["name"], row["user"], row["revoked"]) == ("script", "alice", None)
    assert added["key"] not in json.dumps(row)
    assert ferry("key", "revoke", "script") == {"name": "script", "revoked": True}
    assert ferry("key", "list")["keys"][0]["revoked"]


def test_config_tells_the_address(ferry: Admin) -> None:
    config = ferry("config")
    assert (config["url"], config["engine_url"]) == (f"http://{config['listen']}", "")
    assert (config["certificate"], config["warning"]) == ("", ""), "this machine alone: nothing crosses a network"


def test_passwords_that_would_cross_a_network_in_clear_are_told_until_they_do_not(ferry: Admin) -> None:
    settings = Path(ferry.environment["FERRY_CONFIG"])
    for listen, more, is_told in (
        ("0.0.0.0:80", "", True),
        ("10.1.2.3:80", "", True),
        ("[::1]:80", "", False),
        ("localhost:80", "", False),
        ("0.0.0.0:80", 'trusted_proxies = ["10.0.0.1"]', False),
    ):
        settings.write_text(f'[web]\nlisten = "{listen}"\n{more}\n')
        assert ("in clear" in ferry("config")["warning"]) == is_told, listen


def test_a_role_is_changed_and_the_last_administrator_stays(ferry: Admin) -> None:
    ferry("user", "add", "alice", "--role", "administrator")
    assert "only administrator" in ferry("user", "role", "alice", "user", status=1)["error"]
    ferry("user", "add", "bob")
    assert ferry("user", "role", "bob", "administrator") == {"user": "bob", "role": "administrator"}
    assert ferry("user", "role", "alice", "auditor")["role"] == "auditor"
    rows = {row["user"]: row for row in ferry("user", "list")["users"]}
    assert (rows["alice"]["role"], rows["bob"]["must_change"], rows["bob"]["source"]) == ("auditor", True, "local")


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "words"),
    [
        (["user", "disable", "nobody"], "", 1, "no such user"),
        (["key", "revoke", "nothing"], "", 1, "no such key"),
        (["key", "add", "k", "--user", "nobody"], "", 1, "no such user"),
        (["user", "add", "alice", "--password-stdin"], "short", 2, "5 characters"),
        (["user", "add", "a\tb"], "", 2, "is no name"),
        (["user", "add"], "", 2, "NAME"),
        (["user", "add", "alice", "--role", "king"], "", 2, "king"),
        (["nonsense"], "", 2, "nonsense"),
        (["selftest"], "", 1, "refused"),
    ],
)
def test_an_error_is_one_json_object_with_its_exit_status(
    ferry: Admin, arguments: list[str], stdin: str, status: int, words: str
) -> None:
    error = ferry(*arguments, stdin=stdin, status=status)
    assert error.keys() == {"error", "hint", "exit_code"}
    assert error["exit_code"] == status and words in error["error"] and error["hint"]


def test_a_name_that_is_taken_is_refused_and_the_selftest_leaves_no_key(ferry: Admin) -> None:
    ferry("user", "add", "alice")
    assert "exists already" in ferry("user", "add", "ALICE", status=1)["error"]
    ferry("selftest", status=1)
    assert ferry("key", "list") == {"keys": []}


def test_to_a_person_errors_go_to_standard_error_with_a_hint(ferry: Admin) -> None:
    done = admin(ferry.environment, "user", "disable", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: user nobody: no such user\nhint: list them with: ferry user list\n"


def test_a_bad_setting_and_a_missing_environment_stop_every_command(ferry: Admin) -> None:
    Path(ferry.environment["FERRY_CONFIG"]).write_text("[web]\nlistn = 1\n")
    assert "listn" in ferry("user", "list", status=2)["error"]
    del ferry.environment["FERRY_DATA"]
    assert "FERRY_DATA" in ferry("user", "list", status=2)["error"]


def test_files_are_readable_by_the_service_alone(ferry: Admin) -> None:
    ferry("user", "add", "alice")
    for folder in ("FERRY_DATA", "FERRY_LOG"):
        for path in Path(ferry.environment[folder]).iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_data_folder_that_cannot_be_used_is_told(ferry: Admin) -> None:
    data = Path(ferry.environment["FERRY_DATA"])
    data.rmdir()
    data.write_text("in the way")
    assert "cannot be used" in ferry("user", "list", status=1)["error"]
