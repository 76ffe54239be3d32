"""The administration pages: what their forms do, what they refuse, what they leave in the audit log, who gets in."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select
from web_app import LoggedIn, WebApp, post, web_app
from web_process import PASSWORD, log_in_form

from service.web import accounts, console
from service.web.audit import AuditUnavailable
from service.web.models import ApiKey, Setting, User
from service.web.services import services

PAGES = ("/admin", "/admin/users", "/admin/keys", "/admin/settings", "/admin/release")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    folder = tmp_path_factory.mktemp("console")
    with web_app(folder, '[engine]\nsystem_prompt = "of the file"\n') as made:
        made.add_user("root", "administrator")
        yield made


@pytest.fixture(scope="module")
def root(web: WebApp) -> LoggedIn:
    return web.login("root")


def user_id(web: WebApp, name: str) -> int:
    with web.database.begin() as session:
        return accounts.get_user(session, name).id


def stored(web: WebApp, name: str) -> User:
    with web.database.begin() as session:
        return accounts.get_user(session, name)


def key_named(web: WebApp, name: str) -> ApiKey:
    with web.database.begin() as session:
        return session.scalars(select(ApiKey).where(ApiKey.name == name)).one()


def secret_in(page: str) -> str:
    found = re.search(r'id="secret"[^>]*>([^<]+)<', page)
    assert found
    return found[1]


def audited(web: WebApp, event: str) -> list[dict]:
    lines = [json.loads(line) for line in (web.paths.log / "audit.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("event") == event]


def test_only_administrators_get_in(web: WebApp, root: LoggedIn) -> None:
    web.add_user("alice")
    with web.database.begin() as session:
        accounts.add_user(session, "auditor", PASSWORD, "auditor")
    for name in ("alice", "auditor"):
        client = web.app.test_client()
        log_in_form(client, name, PASSWORD)
        for path in (*PAGES, "/api/admin/load", f"/admin/users/{user_id(web, name)}"):
            assert client.get(path).status_code == 403, path
    for path in (*PAGES, "/api/admin/load"):
        assert root.client.get(path).status_code == 200, path


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_has_all_its_words(web: WebApp, root: LoggedIn, language: str) -> None:
    web.add_key(f"shown {language}", "root")
    paths = (*PAGES, f"/admin/users/{user_id(web, 'root')}", "/admin/keys/1")
    for path in paths:
        page = root.client.get(path, headers={"Accept-Language": language}).text
        assert not re.search(r"admin_\w+|\{\w+\}(?!\W*<text)", re.sub(r"<script.*?</script>", "", page, flags=re.S)), (
            path
        )


def test_an_account_is_made_with_a_password_for_once(web: WebApp, root: LoggedIn) -> None:
    page = post(root, "/admin/users", name="carol", role="auditor")
    user = stored(web, "carol")
    assert (page.status_code, user.role, user.must_change) == (200, "auditor", True)
    assert log_in_form(web.app.test_client(), "carol", secret_in(page.text)).status_code == 302
    (line,) = [line for line in audited(web, "user_added") if line["subject"] == "carol"]
    assert line["user"] == "root" and secret_in(page.text) not in (web.paths.log / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "role", "problem"),
    [("ROOT", "user", "name_taken"), ("a\nb", "user", "name"), ("", "user", "name"), ("dave", "king", "role")],
)
def test_an_account_that_cannot_be_is_refused_in_words(
    web: WebApp, root: LoggedIn, name: str, role: str, problem: str
) -> None:
    answer = post(root, "/admin/users", name=name, role=role)
    assert answer.location == f"/admin/users?problem={problem}"
    assert 'role="alert"' in root.client.get(answer.location).text


def test_users_are_found_by_a_part_of_their_name_and_no_wildcard(web: WebApp, root: LoggedIn) -> None:
    for name in ("per%cent", "percent", "王小明"):
        web.add_user(name)

    def found(text: str) -> set[str]:
        page = root.client.get("/admin/users", query_string={"q": text}).text
        return set(re.findall(r'<a href="/admin/users/\d+">([^<]+)</a>', page))

    assert found("R%C") == {"per%cent"} and found("小") == {"王小明"} and found("_") == set()
    assert found("PERCENT") == {"percent"} and len(found("")) > 3


def test_a_disabled_account_is_out_at_once_and_comes_back_enabled(web: WebApp, root: LoggedIn) -> None:
    web.add_user("erin")
    erin, path = web.login("erin"), f"/admin/users/{user_id(web, 'erin')}/enabled"
    assert post(root, path, enabled="0").location.endswith("?done=disabled")
    assert erin.request("GET", "/api/conversations").status_code == 401
    assert post(root, path, enabled="1").location.endswith("?done=enabled")
    assert web.login("erin").request("GET", "/api/conversations").status_code == 200
    assert [line["event"] for line in audited(web, "user_disabled") + audited(web, "user_enabled")]


def test_the_last_administrator_is_neither_disabled_nor_demoted(web: WebApp, root: LoggedIn) -> None:
    path = f"/admin/users/{user_id(web, 'root')}"
    lines = len((web.paths.log / "audit.jsonl").read_text().splitlines())
    assert post(root, f"{path}/enabled", enabled="0").location.endswith("?problem=last_administrator")
    assert post(root, f"{path}/role", role="user").location.endswith("?problem=last_administrator")
    assert (stored(web, "root").role, stored(web, "root").is_enabled) == ("administrator", True)
    assert len((web.paths.log / "audit.jsonl").read_text().splitlines()) == lines


def test_of_two_administrators_one_may_go_and_not_both_at_once(web: WebApp, root: LoggedIn) -> None:
    with web.database.begin() as session:
        accounts.add_user(session, "second", PASSWORD, "administrator")
    ids = [user_id(web, name) for name in ("root", "second")]
    clients = [root, web.login("second")]
    start, answers = threading.Barrier(2), []

    def leave(client: LoggedIn, number: int) -> None:
        start.wait()
        answers.append(post(client, f"/admin/users/{number}/role", role="user").location)

    threads = [threading.Thread(target=leave, args=pair) for pair in zip(clients, ids, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roles = [stored(web, name).role for name in ("root", "second")]
    assert sorted(roles) == ["administrator", "user"], answers
    with web.database.begin() as session:
        accounts.get_user(session, "root").role = "administrator"
        accounts.get_user(session, "second").role = "user"


def test_who_waits_after_wrong_passwords_is_let_in_by_an_administrator(web: WebApp, root: LoggedIn) -> None:
    web.add_user("gina")
    for _ in range(6):
        log_in_form(web.app.test_client(), "gina", "wrong")
    path = f"/admin/users/{user_id(web, 'gina')}"
    assert log_in_form(web.app.test_client(), "gina", PASSWORD).status_code != 302
    assert "Too many wrong passwords" in root.client.get(path).text
    assert post(root, f"{path}/unlock").location.endswith("?done=unlocked")
    assert "Too many wrong passwords" not in root.client.get(path).text
    assert log_in_form(web.app.test_client(), "gina", PASSWORD).status_code == 302


def test_keys_are_found_by_their_name_and_their_owners(web: WebApp, root: LoggedIn) -> None:
    web.add_user("Heidi")
    web.add_key("first of hers", "Heidi")
    web.add_key("100%")

    def found(text: str) -> list[str]:
        page = root.client.get("/admin/keys", query_string={"q": text}).text
        return re.findall(r'<a href="/admin/keys/\d+">([^<]+)</a>', page)

    assert found("heid") == found("OF hers") == ["first of hers"]
    assert found("0%") == ["100%"] and found("nothing like it") == []


def test_a_list_of_many_has_pages(web: WebApp, root: LoggedIn) -> None:
    with web.database.begin() as session:
        for number in range(console.PER_PAGE + 1):
            session.add(User(name=f"many{number}", folded_name=f"many{number}", password_hash="", role="user"))
    pages = [root.client.get(f"/admin/users?q=many&page={number}").text for number in ("1", "2", "0", "x", "99")]
    counts = [len(re.findall(r'href="/admin/users/\d+"', page)) for page in pages]
    assert counts == [console.PER_PAGE, 1, console.PER_PAGE, console.PER_PAGE, 0]
    assert "Page 1 of 2" in pages[0] and 'href="/admin/users?page=2&amp;q=many"' in pages[0]


def test_a_new_password_ends_the_logins_and_one_kept_elsewhere_is_not_ours(web: WebApp, root: LoggedIn) -> None:
    web.add_user("frank")
    frank, path = web.login("frank"), f"/admin/users/{user_id(web, 'frank')}/password"
    page = post(root, path)
    assert frank.request("GET", "/api/conversations").status_code == 401
    assert log_in_form(web.app.test_client(), "frank", secret_in(page.text)).status_code == 302
    with web.database.begin() as session:
        accounts.get_user(session, "frank").source = "ldap"
    assert post(root, path).location.endswith("?problem=password_elsewhere")


@pytest.mark.parametrize(
    ("text", "tokens"), [("5000", 5000), ("1,000,000", 1_000_000), ("0", 0), ("", None), (" ", None)]
)
def test_quotas_are_set_for_users_and_keys(web: WebApp, root: LoggedIn, text: str, tokens: int | None) -> None:
    web.add_key(f"quota of {tokens}{len(text)}", "root")
    key = key_named(web, f"quota of {tokens}{len(text)}")
    assert post(root, f"/admin/users/{user_id(web, 'root')}/quota", tokens_per_day=text).status_code == 303
    assert post(root, f"/admin/keys/{key.id}/quota", tokens_per_day=text).status_code == 303
    assert stored(web, "root").tokens_per_day == key_named(web, key.name).tokens_per_day == tokens


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "2000000001", "9" * 400, "٣"])
def test_a_quota_that_is_no_number_changes_nothing(web: WebApp, root: LoggedIn, text: str) -> None:
    before = stored(web, "root").tokens_per_day
    answer = post(root, f"/admin/users/{user_id(web, 'root')}/quota", tokens_per_day=text)
    assert answer.location.endswith("?problem=quota") and stored(web, "root").tokens_per_day == before


def test_a_key_of_nobody_works_until_it_is_revoked(web: WebApp, root: LoggedIn) -> None:
    page = post(root, "/admin/keys", name="monitoring", owner="", tokens_per_day="70")
    secret, key = secret_in(page.text), key_named(web, "monitoring")
    assert (key.user_id, key.tokens_per_day) == (None, 70)
    headers = {"Authorization": f"Bearer {secret}"}
    assert web.app.test_client().get("/v1/models", headers=headers).status_code == 200
    assert post(root, f"/admin/keys/{key.id}/revoke").location.endswith("?done=revoked")
    assert web.app.test_client().get("/v1/models", headers=headers).status_code == 401
    assert "monitoring" not in root.client.get("/admin/keys").text
    assert "monitoring" in root.client.get("/admin/keys?all=1").text
    assert secret not in root.client.get("/admin/keys?all=1").text
    assert [line["subject"] for line in audited(web, "key_revoked")] == ["monitoring"]


@pytest.mark.parametrize(
    ("name", "owner", "problem"),
    [("x", "nobody here", "no_such_user"), ("twice", "", "key_taken"), ("", "", "key_name")],
)
def test_a_key_that_cannot_be_is_refused_in_words(
    web: WebApp, root: LoggedIn, name: str, owner: str, problem: str
) -> None:
    if name == "twice":
        web.add_key(name)
    answer = post(root, "/admin/keys", name=name, owner=owner)
    assert answer.location == f"/admin/keys?problem={problem}"


@pytest.mark.parametrize("path", ["users/999", "users/x", "users/1e3", "users/-1", "keys/999", "keys/x"])
def test_what_does_not_exist_is_not_found(root: LoggedIn, path: str) -> None:
    assert root.client.get(f"/admin/{path}").status_code == 404
    assert post(root, f"/admin/{path}/quota", tokens_per_day="1").status_code == 404


def test_a_form_without_the_token_changes_nothing(web: WebApp, root: LoggedIn) -> None:
    assert root.client.post("/admin/users", data={"name": "mallory", "role": "administrator"}).status_code == 403
    with web.database.begin() as session:
        assert accounts.find_user(session, "mallory") is None


def test_settings_hold_for_the_api_at_once_and_can_be_taken_back(web: WebApp, root: LoggedIn) -> None:
    headers = {"Authorization": f"Bearer {web.add_key('settings')}"}

    def sent(**fields: object) -> dict:
        body = {"model": "default", "messages": [{"role": "user", "content": "hello"}], **fields}
        assert web.app.test_client().post("/v1/chat/completions", json=body, headers=headers).status_code == 200
        return web.engine.requests[-1]

    assert sent()["messages"][0]["content"] == "of the file" and "max_tokens" not in sent()
    assert post(root, "/admin/settings/engine.system_prompt", value="of the page").status_code == 303
    assert post(root, "/admin/settings/engine.max_new_tokens", value="100").status_code == 303
    assert sent()["messages"][0]["content"] == "of the page"
    assert [sent()["max_tokens"], sent(max_tokens=50)["max_tokens"], sent(max_tokens=500)["max_tokens"]] == [
        100,
        50,
        100,
    ]
    assert "X-Ferry-Per-User" not in web.engine.headers[-1]
    assert post(root, "/admin/settings/queue.per_user", value="5").status_code == 303
    assert sent() and web.engine.headers[-1]["X-Ferry-Per-User"] == "5"
    assert sent(max_completion_tokens=500)["max_completion_tokens"] == 100
    page = root.client.get("/admin/settings").text
    assert "Set by root" in page and "max_new_tokens = 512" in page
    names = ["engine.system_prompt", "engine.max_new_tokens", "queue.per_user"]
    for name in names:
        assert post(root, f"/admin/settings/{name}", reset="1").status_code == 303
    assert sent()["messages"][0]["content"] == "of the file" and "max_tokens" not in sent()
    changed = audited(web, "setting_changed")
    assert [line["subject"] for line in changed] == names
    assert "of the page" not in json.dumps(changed)


def test_a_setting_that_cannot_be_is_shown_again_with_what_is_allowed(web: WebApp, root: LoggedIn) -> None:
    answer = post(root, "/admin/settings/history.turns", value="<b>none</b>")
    assert answer.status_code == 400 and "&lt;b&gt;none" in answer.text and 'aria-invalid="true"' in answer.text
    assert post(root, "/admin/settings/web.listen", value="0.0.0.0:80").status_code == 404
    with web.database.begin() as session:
        assert list(session.scalars(select(Setting))) == []


def test_what_cannot_be_recorded_is_not_done(web: WebApp, root: LoggedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    web.add_user("ivan")
    web.add_key("kept", "ivan")
    number, key = user_id(web, "ivan"), key_named(web, "kept")
    with web.app.app_context():
        log = services().audit

    def is_full(*_: object, **__: object) -> int:
        raise AuditUnavailable("the disk is full")

    monkeypatch.setattr(log, "write", is_full)
    forms = {
        "/admin/users": {"name": "judy", "role": "administrator"},
        f"/admin/users/{number}/role": {"role": "administrator"},
        f"/admin/users/{number}/enabled": {"enabled": "0"},
        f"/admin/users/{number}/password": {},
        f"/admin/users/{number}/quota": {"tokens_per_day": "1"},
        "/admin/keys": {"name": "judy's"},
        f"/admin/keys/{key.id}/quota": {"tokens_per_day": "1"},
        f"/admin/keys/{key.id}/revoke": {},
        "/admin/settings/history.turns": {"value": "1"},
    }
    before = stored(web, "ivan")
    for path, form in forms.items():
        assert post(root, path, **form).status_code == 503, path
    ivan, kept = stored(web, "ivan"), key_named(web, "kept")
    assert (ivan.role, ivan.is_enabled, ivan.tokens_per_day) == ("user", True, None)
    assert ivan.password_hash == before.password_hash and (kept.tokens_per_day, kept.revoked_at) == (None, None)
    with web.database.begin() as session:
        assert accounts.find_user(session, "judy") is None and list(session.scalars(select(Setting))) == []
