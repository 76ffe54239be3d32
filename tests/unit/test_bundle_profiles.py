"""Profiles: Ferry's own are good, and everything that no profile can say is named together with what is allowed."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest

from bundle import profiles
from bundle.profiles import FolderModel, HubModel, PythonChoice
from checksums.errors import UsageError

GOOD: dict[str, Any] = {
    "description": "a test",
    "target": {"python": "3.11", "platform": "x86_64", "glibc": "2.28"},
    "python": {"source": "host"},
    "model": {"source": "modelscope", "id": "Owner/Name", "license": "MIT", "commercial_use": True},
}
ARCHIVE = {"source": "archive", "file": "python.tar.gz", "sha256": "a" * 64}
FOLDER = {"source": "folder", "path": "weights", "id": "Owner/Name", "license": "MIT", "commercial_use": True}
QWENS = sorted(set(profiles.names()) - {"demo"})


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


@pytest.mark.parametrize("name", QWENS)
def test_a_profile_from_the_hub_carries_its_own_python_and_tells_its_licence(name: str) -> None:
    found = profiles.load(name)
    assert isinstance(found.model, HubModel)
    assert found.model.id.lower() == f"qwen/{name}"
    assert found.python == PythonChoice("standalone")
    assert "licence" in found.description or found.model.license in found.description


@pytest.mark.parametrize(
    ("name", "is_free", "words"),
    [
        ("qwen1.5-0.5b-chat", False, "RESEARCH"),
        ("qwen1.5-1.8b-chat", False, "RESEARCH"),
        ("qwen1.5-7b-chat", True, "100 million"),
        ("qwen2.5-0.5b-instruct", True, "Apache-2.0"),
        ("qwen3-0.6b", True, "Apache-2.0"),
        ("demo", True, "Apache-2.0"),
    ],
)
def test_a_profile_says_whether_its_model_may_be_used_commercially(name: str, is_free: bool, words: str) -> None:
    model = profiles.load(name).model
    assert model.commercial_use is is_free
    assert words in model.license


def test_a_revision_is_the_main_branch_and_the_weights_are_whole_unless_it_is_said() -> None:
    model = profiles.parse("test", GOOD).model
    assert isinstance(model, HubModel)
    assert (model.revision, model.weights) == ("master", "full")


def test_paths_in_a_profile_are_relative_to_its_folder(tmp_path: Path) -> None:
    found = profiles.parse("test", broken(python=ARCHIVE, model=FOLDER), tmp_path)
    assert found.python == PythonChoice("archive", str(tmp_path / "python.tar.gz"), "a" * 64)
    assert isinstance(found.model, FolderModel)
    assert found.model.path == tmp_path / "weights"
    assert found.model.revision == "folder"


def test_a_python_from_the_command_line_is_a_source_or_an_archive_with_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "python.tar.gz"
    file.write_bytes(b"an archive")
    digest = hashlib.sha256(b"an archive").hexdigest()
    assert profiles.python_choice("host") == PythonChoice("host")
    assert profiles.python_choice("standalone") == PythonChoice("standalone")
    assert profiles.python_choice(str(file)) == PythonChoice("archive", str(file), digest)
    with pytest.raises(UsageError, match=r"--python archive: no such file") as caught:
        profiles.python_choice("archive")
    assert "host, standalone" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "named", "allowed"),
    [
        ({"model__revison": "x"}, "[model] revison", "revision"),
        ({"model__id": "no-owner"}, "no-owner", "OWNER/NAME"),
        ({"model__id": "../../etc"}, "../../etc", "OWNER/NAME"),
        ({"model__id": 7}, "[model] id: 7", "str"),
        ({"model__source": "elsewhere"}, "elsewhere", "modelscope, folder, package"),
        ({"model__source": ["folder"]}, "['folder']", "modelscope, folder, package"),
        ({"model": "Qwen"}, "[model]", "modelscope, folder, package"),
        ({"model__license": None}, "[model] license is missing", "license"),
        ({"model__license": ""}, "[model] license: ''", "str"),
        ({"model__license": "MIT\x1b[2J"}, "[model] license", "one line"),
        ({"model__commercial_use": "yes"}, "commercial_use", "bool"),
        ({"model__weights": "thin"}, "'thin'", "full, slim"),
        ({"model__path": "weights"}, "[model] path", "revision"),
        ({"model": {**FOLDER, "revision": "master"}}, "[model] revision", "path"),
        ({"model": {**FOLDER, "path": ""}}, "[model] path: ''", "str"),
        ({"target__python": "2.7"}, "'2.7'", "3.10, 3.11"),
        ({"target__python": 3.11}, "[target] python: 3.11", "str"),
        ({"target__platform": "mips"}, "'mips'", "x86_64, aarch64"),
        ({"target__glibc": "2.5"}, "'2.5'", "2.28"),
        ({"target__gpu": True}, "[target] gpu", "glibc"),
        ({"python__source": "conda"}, "'conda'", "host, standalone, archive"),
        ({"python__file": "x.tar.gz"}, "[python] file", "source"),
        ({"python": {"source": "archive"}}, "[python] file is missing", "sha256"),
        ({"python": {**ARCHIVE, "sha256": "12"}}, "[python] sha256", "sha256sum"),
        ({"python": 3}, "[python]", "host"),
        ({"speed": "high"}, "speed", "target"),
        ({"target": None}, "target is missing", "target"),
        ({"target": []}, "[target]", "glibc"),
        ({"description": 5}, "description: 5", "str"),
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


@pytest.mark.parametrize("text", ["[target\n", "a = 1\na = 2\n", "\x00", "a = " + "[" * 5000, "a = " + "9" * 5000])
def test_a_file_of_ones_own_is_named_in_its_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.toml: not a TOML file"):
        profiles.load(str(file))
