"""Requests that schemathesis makes up from the API's description, against the running web: no fault, and every refusal
has the shape that the description gives it. FERRY_EXAMPLES sets how many for each operation (make soak: many)."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from web_process import WebProcess, web_process

from service.web import description

EXAMPLES = int(os.environ.get("FERRY_EXAMPLES", "6"))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def tried() -> Iterator[tuple[str, str]]:
    """Yield each operation with right requests, and with wrong ones where anything about them can be wrong."""
    known = description.whole()
    for address, method, each in description.operations(known):
        yield f"{method.upper()} {address}", "positive"
        if "requestBody" in each or "parameters" in each or "parameters" in known["paths"][address]:
            yield f"{method.upper()} {address}", "negative"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, database_kind: str) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), database=database_kind) as running:
        running.add_user("alice", "administrator")
        yield running


@pytest.fixture(scope="module")
def headers(web: WebProcess) -> dict[str, str]:
    """Be logged in and have a key at once: what is let in is tested elsewhere."""
    browser = web.login("alice")
    return {
        "Cookie": f"ferry_session={browser.cookies['ferry_session']}",
        "X-CSRF-Token": browser.headers["X-CSRF-Token"],
        "Authorization": f"Bearer {web.add_key('schema')}",
    }


def of_front(web: WebProcess, address: str) -> dict[str, str]:
    """Return what nginx wants to see, where it asks for its password: below /v1 it does not, and the key is Ferry's."""
    return web.front.password if web.front and not address.startswith("/v1/") else {}


@pytest.fixture(scope="module")
def conversation_id(web: WebProcess, headers: dict[str, str]) -> str:
    with web.client() as client:
        sent = headers | of_front(web, "/api/")
        made = client.post("/api/conversations", headers=sent).json()["id"]
        client.post(f"/api/conversations/{made}/messages", headers=sent, json={"content": "echo 1"})
    return str(made)


@pytest.fixture(scope="module")
def api(conversation_id: str) -> Any:
    """The description, with a conversation that is really there and its messages among what is tried."""
    described = copy.deepcopy(description.whole())
    parameters = described["components"]["parameters"]
    real = {"enum": [conversation_id]}
    parameters["conversation_id"]["schema"] = {"anyOf": [real, parameters["conversation_id"]["schema"]]}
    parameters["message_id"]["schema"]["maximum"] = 4
    return schemathesis.openapi.from_dict(described)


@pytest.mark.parametrize(("operation", "mode"), list(tried()))
def test_every_operation_answers_as_described(
    api: Any, web: WebProcess, headers: dict[str, str], operation: str, mode: str
) -> None:
    method, address = operation.split()
    how = {"base_url": web.url, "headers": headers | of_front(web, address), "timeout": 30}
    if web.front:
        how["verify"] = str(web.front.certificate)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=api[address][method].as_strategy(generation_mode=GenerationMode(mode)))
    def ask(case: Any) -> None:
        case.call_and_validate(checks=list(CHECKS), **how)

    ask()
