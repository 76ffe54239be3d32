"""Package sources: what pip is configured with is what uv is told, and no password is ever printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle import sources
from bundle.sources import Sources
from checksums.errors import UsageError

CONFIG = """\
:env:.find-links='/from/environment'
global.cert='/etc/ssl/own.crt'
global.extra-index-url='file:///one/simple\\nhttps://two.example/simple'
global.find-links='/from/file'
global.index-url='https://user:secret@index.example/simple'
global.no-index='true'
install.find-links='/for/install/only'
"""


def test_pips_configuration_is_read_and_the_environment_wins() -> None:
    found = sources.parse(CONFIG)
    assert found.find_links == ("/from/environment",)
    assert found.extra_index_urls == ("file:///one/simple", "https://two.example/simple")
    assert (found.index_url, found.no_index) == ("https://user:secret@index.example/simple", True)
    assert found.certificates == "/etc/ssl/own.crt"


def test_uv_is_told_the_same_with_no_address_among_the_arguments() -> None:
    arguments, environment = sources.parse(CONFIG).for_uv()
    assert arguments == ["--no-index", "--find-links", "/from/environment"]
    assert environment["UV_DEFAULT_INDEX"] == "https://user:secret@index.example/simple"
    assert environment["SSL_CERT_FILE"] == "/etc/ssl/own.crt"


def test_no_configuration_leaves_pip_and_uv_to_themselves() -> None:
    assert sources.parse("") == Sources()
    assert Sources().for_uv() == ([], {})
    assert Sources().for_pip() == {}


def test_a_password_in_an_address_is_not_shown() -> None:
    text = "error: Failed to fetch: `https://user:secret@index.example/simple/torch/`"
    assert sources.without_passwords(text) == "error: Failed to fetch: `https://****@index.example/simple/torch/`"


def test_the_origin_of_a_wheel_is_a_word_and_no_address() -> None:
    places = Sources(find_links=("/wheels",), extra_index_urls=("file:///mirror/simple",))
    assert places.origin_of("file:///wheels/a-1-py3-none-any.whl") == "find-links"
    assert places.origin_of("file:///mirror/files/a-1-py3-none-any.whl") == "index"
    assert places.origin_of("https://user:secret@host/a-1-py3-none-any.whl") == "index"


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        sources.configured((str(tmp_path / "nowhere"),))
