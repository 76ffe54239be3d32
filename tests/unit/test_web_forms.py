"""What the pages' forms lead to: the address of one is no dead end, and what is shown once is not lost beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from web_app import LoggedIn, WebApp, post, web_app

from service.web import accounts


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("forms")) as made:
        made.add_user("root", "administrator")
        yield made


@pytest.fixture(scope="module")
def root(web: WebApp) -> LoggedIn:
    return web.login("root")


def test_a_form_that_is_put_right_shows_its_secret_without_the_problem_before(web: WebApp, root: LoggedIn) -> None:
    for path, name in (("/admin/users?problem=name_taken", "heinz"), ("/admin/keys?problem=owner", "a program")):
        page = post(root, path, name=name, role="user").text
        assert 'id="secret"' in page and 'role="alert"' not in page


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/account/keys", "/account"),
        ("/account/sessions/end-others", "/account"),
        ("/admin/users/{id}/password?lang=zh", "/admin/users/{id}"),
        ("/admin/settings/queue.total", "/admin/settings"),
        ("/logout", "/"),
    ],
)
def test_the_address_of_a_form_leads_to_the_page_that_it_stands_on(
    web: WebApp, root: LoggedIn, path: str, page: str
) -> None:
    with web.database.begin() as session:
        number = accounts.get_user(session, "root").id
    answer = root.client.get(path.format(id=number))
    assert (answer.status_code, answer.location) == (302, page.format(id=number))
    assert root.request("GET", "/v1/chat/completions").json["error"]["code"] == "method_not_allowed"


def test_a_page_with_a_secret_has_no_link_that_would_lose_it(web: WebApp, root: LoggedIn) -> None:
    for path, more in (("/admin/users", {"name": "ida", "role": "user"}), ("/account/keys", {"name": "mine"})):
        assert "?theme=" not in post(root, path, **more).text
        assert "?theme=" in root.client.get(path.replace("/keys", "")).text
