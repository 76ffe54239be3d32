"""A hub's listing: the commit is found wherever the hub names it, and what cannot be checked is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from local_hub import LocalHub

from bundle import hub
from checksums.errors import CollectError, IntegrityError

OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.safetensors").write_bytes(b"weights")
    answer = LocalHub(tmp_path).listing()["Data"]
    assert isinstance(answer, dict)
    return answer


def files(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [raw for raw in data["Files"] if raw["Type"] == "blob"]


def test_files_are_listed_with_size_and_digest_and_folders_are_not(data: dict[str, Any]) -> None:
    listing = hub.read("Owner/Name", "master", data)
    assert [file.path for file in listing.files] == ["config.json", "folder/model.safetensors"]
    assert listing.size_bytes == 9


def test_the_commit_is_the_repositorys_latest(data: dict[str, Any]) -> None:
    data["LatestCommitter"]["Id"] = NEW
    assert hub.read("Owner/Name", "master", data).commit == NEW


def test_without_a_latest_commit_it_is_the_one_that_changed_a_file_last(data: dict[str, Any]) -> None:
    data["LatestCommitter"]["Id"] = ""
    first, second = files(data)
    first |= {"Revision": NEW, "CommittedDate": 2}
    second |= {"Revision": OLD, "CommittedDate": 1}
    assert hub.read("Owner/Name", "master", data).commit == NEW


@pytest.mark.parametrize("dates", [("2024-05-01", "2023-01-01"), (2, None), (2.5, "1999"), ("2024", 0)])
def test_dates_may_be_written_in_any_way(data: dict[str, Any], dates: tuple[object, object]) -> None:
    del data["LatestCommitter"]
    for raw, date, commit in zip(files(data), dates, (NEW, OLD), strict=True):
        raw |= {"Revision": commit, "CommittedDate": date}
    assert hub.read("Owner/Name", "master", data).commit in {NEW, OLD}


@pytest.mark.parametrize("latest", [None, [], ["x"], "x", 3, {"Id": None}])
def test_a_latest_committer_of_any_other_kind_is_passed_over(data: dict[str, Any], latest: object) -> None:
    data["LatestCommitter"] = latest
    for raw in files(data):
        raw["Revision"] = NEW
    assert hub.read("Owner/Name", "master", data).commit == NEW


@pytest.mark.parametrize("place", [{"LatestCommitter": {"CommitId": NEW}}, {"CommitId": NEW}, {"Revision": NEW}])
def test_a_commit_is_found_where_other_hubs_name_it(data: dict[str, Any], place: dict[str, object]) -> None:
    listing = {"Files": data["Files"], **place}
    assert hub.read("Owner/Name", "master", listing).commit == NEW


def test_a_files_own_id_is_no_commit(data: dict[str, Any]) -> None:
    del data["LatestCommitter"]
    for raw in files(data):
        raw |= {"Id": OLD, "Revision": NEW}
    assert hub.read("Owner/Name", "master", data).commit == NEW


def test_the_beginning_of_a_commit_is_taken_as_the_hub_writes_it(data: dict[str, Any]) -> None:
    data["LatestCommitter"] = {"Id": "baf901bb"}
    assert hub.read("Owner/Name", "master", data).commit == "baf901bb"


def test_a_commit_is_written_in_small_letters(data: dict[str, Any]) -> None:
    data["LatestCommitter"]["Id"] = "ABCDEF0123" * 4
    assert hub.read("Owner/Name", "master", data).commit == "abcdef0123" * 4


def test_a_revision_that_is_a_commit_is_that_commit(data: dict[str, Any]) -> None:
    data["LatestCommitter"] = None
    assert hub.read("Owner/Name", OLD, data).commit == OLD


def test_a_hub_that_names_no_commit_is_refused(data: dict[str, Any]) -> None:
    data["LatestCommitter"] = {}
    for raw in data["Files"]:
        raw["Revision"] = ""
    with pytest.raises(CollectError, match="names no commit"):
        hub.read("Owner/Name", "master", data)


@pytest.mark.parametrize(
    "change",
    [
        {"Sha256": ""},
        {"Sha256": None},
        {"Sha256": "not hexadecimal"},
        {"Size": -1},
        {"Size": "9"},
        {"Path": "../../etc/passwd"},
        {"Path": "/etc/passwd"},
        {"Path": "a\nb"},
        {"Path": "", "Name": ""},
        {"Path": "config.json"},
    ],
)
def test_a_file_that_cannot_be_checked_or_carried_is_refused(data: dict[str, Any], change: dict[str, Any]) -> None:
    files(data)[1].update(change)
    with pytest.raises(IntegrityError):
        hub.read("Owner/Name", "master", data)


@pytest.mark.parametrize("answer", [None, [], {}, {"Files": None}, {"Files": ["x"]}])
def test_an_answer_that_is_no_listing_is_refused(answer: Any) -> None:
    with pytest.raises(CollectError, match="lists no files"):
        hub.read("Owner/Name", "master", answer)


def test_an_empty_listing_is_refused() -> None:
    with pytest.raises(IntegrityError, match="lists no files"):
        hub.read("Owner/Name", "master", {"Files": []})
