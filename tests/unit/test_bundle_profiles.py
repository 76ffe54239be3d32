"""Profiles: Ferry's own are good, and everything that no profile can say is named together with what is allowed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from bundle import profiles
from checksums.errors import UsageError

GOOD: dict[str, Any] = {
    "description": "a test",
    "target": {"python": "3.11", "platform": "x86_64", "glibc": "2.28"},
    "python": {"source": "host"},
    "model": {"source": "modelscope", "id": "Owner/Name", "license": "MIT", "commercial_use": True},
}


def broken(**changes: Any) -> dict[str, Any]:
    raw = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *tables, key = path.split("__")
        table = raw
        for name in tables:
            table = table[name]
        if value is None:
            del table[key]
        else:
            table[key] = value
    return raw


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_of_ferrys_own_can_be_read(name: str) -> None:
    assert profiles.load(name).name == name


def test_the_default_profile_names_a_model_whose_licence_forbids_commercial_use() -> None:
    model = profiles.load("qwen1.5-0.5b-chat").model
    assert (model.source, model.id, model.commercial_use) == ("modelscope", "Qwen/Qwen1.5-0.5B-Chat", False)


def test_a_revision_is_the_main_branch_unless_it_is_given() -> None:
    model = profiles.parse("test", GOOD).model
    assert isinstance(model, profiles.HubModel)
    assert model.revision == "master"


@pytest.mark.parametrize(
    ("changes", "named", "allowed"),
    [
        ({"model__revison": "x"}, "[model] revison", "revision"),
        ({"model__id": "no-owner"}, "no-owner", "OWNER/NAME"),
        ({"model__id": "../../etc"}, "../../etc", "OWNER/NAME"),
        ({"model__source": "elsewhere"}, "elsewhere", "modelscope, package"),
        ({"model__license": None}, "[model] license is missing", "license"),
        ({"model__commercial_use": "yes"}, "commercial_use", "bool"),
        ({"target__python": "2.7"}, "'2.7'", "3.10, 3.11"),
        ({"target__platform": "mips"}, "'mips'", "x86_64, aarch64"),
        ({"target__glibc": "2.5"}, "'2.5'", "2.28"),
        ({"target__gpu": True}, "[target] gpu", "glibc"),
        ({"python__source": "standalone"}, "'standalone'", "host"),
        ({"python": 3}, "[python]", "source"),
        ({"speed": "high"}, "speed", "target"),
        ({"target": None}, "target is missing", "target"),
    ],
)
def test_a_profile_that_says_something_impossible_is_refused(changes: dict[str, Any], named: str, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        profiles.parse("test", broken(**changes))
    assert named in caught.value.message
    assert allowed in caught.value.hint


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        profiles.load("qwen9")
    assert "qwen9" in caught.value.message
    assert "demo" in caught.value.hint


def test_a_file_of_ones_own_is_named_in_its_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[target\n")
    with pytest.raises(UsageError, match=r"mine\.toml: not a TOML file"):
        profiles.load(str(file))
