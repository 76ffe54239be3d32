"""The official JavaScript client, over the network: against the web tier, or the server that was named."""

from __future__ import annotations

import openai_npm_client
import pytest
from conformance_target import Target

NAMES = (
    "chats",
    "streams_with_usage",
    "puts_a_stream_together_by_itself",
    "reads_logprobs",
    "parses_an_answer_into_an_object",
    "parses_a_tools_arguments",
    "streams_a_call",
    "completes_and_lists",
    "throws_its_own_errors",
    "aborts_and_goes_on",
)


@pytest.fixture(scope="module")
def results(networked: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return openai_npm_client.run(networked, tmp_path_factory.mktemp("npm"))


@pytest.mark.npm
@pytest.mark.parametrize("name", NAMES)
def test_npm_client(results: dict[str, str], name: str) -> None:
    assert results[name] == "ok"


@pytest.mark.npm
def test_npm_client_has_no_check_that_is_not_looked_at(results: dict[str, str]) -> None:
    assert set(results) == set(NAMES)
