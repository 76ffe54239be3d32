"""Weights through the real ModelScope SDK, from a hub on loopback that behaves and misbehaves on demand."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import tiny_model
from local_hub import LISTING, LocalHub, serving

from bundle import hub, models, weights
from bundle.hub import Listing
from bundle.progress import Progress
from checksums.errors import CollectError, IntegrityError

QUIET = Progress(quiet=True)
ID = "Qwen/Qwen1.5-0.5B-Chat"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("published"))


@pytest.fixture
def local(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that serves the small model, with caches and a home of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # The SDK waits 1, 2, 4, … seconds between its tries; one try shows the same.
    monkeypatch.setattr("modelscope_hub._download.DOWNLOAD_RETRY_TIMES", 1)
    folder = tmp_path / "hub"
    shutil.copytree(published, folder)
    with serving(LocalHub(folder)) as running:
        yield running


def ask(local: LocalHub) -> Listing:
    return hub.ask(local.address, ID, "master")


def collect(local: LocalHub) -> Path:
    return models.collect(ask(local), local.address, "", QUIET)


def test_every_file_of_the_listing_arrives_with_its_digest(local: LocalHub) -> None:
    listing = ask(local)
    folder = models.collect(listing, local.address, "", QUIET)
    assert listing.commit == local.commit
    assert {file.path for file in listing.files} == {
        path.relative_to(local.folder).as_posix() for path in local.folder.rglob("*") if path.is_file()
    }
    assert {".gitattributes", "assets/figure.txt", WEIGHTS} <= {file.path for file in listing.files}
    for file in listing.files:
        assert hashlib.sha256((folder / file.path).read_bytes()).hexdigest() == file.sha256


def test_the_real_transformers_config_passes_the_gate(local: LocalHub) -> None:
    listing = ask(local)
    paths = [file.path for file in listing.files]
    weights.check_names(ID, paths)
    facts = weights.read_facts(ID, collect(local), paths)
    assert facts.dtype == "bfloat16"
    assert facts.kv_bytes_per_token == 2 * 4 * 2 * 2 * 16


def test_a_second_run_fetches_nothing(local: LocalHub) -> None:
    first = collect(local)
    local.requests.clear()
    assert collect(local) == first
    assert local.requests == [(LISTING, "")]


def test_a_cached_file_that_was_cut_short_is_fetched_again(local: LocalHub) -> None:
    folder = collect(local)
    (folder / WEIGHTS).write_bytes(b"short")
    local.requests.clear()
    collect(local)
    assert [asked for asked, _ in local.requests if asked != LISTING] == [WEIGHTS]


def test_nothing_is_written_into_the_users_own_modelscope_folders(local: LocalHub, tmp_path: Path) -> None:
    collect(local)
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").rglob("*"))


def test_other_bytes_than_listed_are_refused_with_both_digests(local: LocalHub) -> None:
    local.faults[WEIGHTS] = "garbage"
    listed = hashlib.sha256((local.folder / WEIGHTS).read_bytes()).hexdigest()
    sent = hashlib.sha256(bytes(byte ^ 1 for byte in (local.folder / WEIGHTS).read_bytes())).hexdigest()
    with pytest.raises(IntegrityError) as caught:
        collect(local)
    assert all(word in caught.value.message for word in (WEIGHTS, listed, sent[:16]))


@pytest.mark.parametrize("lie", [{"Sha256": "0" * 64}, {"Size": 5}, {"Sha256": hashlib.sha256(b"").hexdigest()}])
def test_a_listing_that_does_not_match_its_file_is_refused(local: LocalHub, lie: dict[str, object]) -> None:
    local.listed["config.json"] = lie
    with pytest.raises(IntegrityError, match=r"config\.json"):
        collect(local)


def test_what_the_sdk_calls_complete_is_checked_again(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partial download that passes for a whole one: modelscope#1317."""

    def pretends(_id: str, local_dir: str, **_: object) -> str:
        shutil.copytree(local.folder, local_dir, dirs_exist_ok=True)
        Path(local_dir, WEIGHTS).write_bytes(b"half of it")
        Path(local_dir, "LICENSE").unlink()
        return local_dir

    monkeypatch.setattr(import_module("modelscope.hub.snapshot_download"), "snapshot_download", pretends)
    with pytest.raises(IntegrityError) as caught:
        collect(local)
    assert f"{WEIGHTS}: sha256 is" in caught.value.message
    assert "LICENSE: sha256 is missing" in caught.value.message


@pytest.mark.parametrize("fault", ["cut", "404", "500"])
def test_a_file_that_does_not_come_is_an_error_that_names_it_and_the_hub(local: LocalHub, fault: str) -> None:
    local.faults[WEIGHTS] = fault
    with pytest.raises(CollectError) as caught:
        collect(local)
    assert local.address in caught.value.message
    assert WEIGHTS in caught.value.message
    del local.faults[WEIGHTS]
    collect(local)


@pytest.mark.parametrize("fault", ["404", "500"])
def test_a_listing_that_does_not_come_names_the_address(local: LocalHub, fault: str) -> None:
    local.faults[LISTING] = fault
    with pytest.raises(CollectError, match=f"{local.address}.*HTTP {fault}"):
        ask(local)


def test_a_slow_hub_is_waited_for(local: LocalHub) -> None:
    local.faults[WEIGHTS], local.delay_s = "slow", 0.5
    assert (collect(local) / WEIGHTS).read_bytes() == (local.folder / WEIGHTS).read_bytes()


def test_a_hub_that_is_down_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(CollectError, match=f"{address} does not answer: .*refused"):
        hub.ask(address, ID, "master")


def test_a_password_in_the_hubs_address_is_not_shown() -> None:
    with pytest.raises(CollectError, match=r"http://\*\*\*\*@127\.0\.0\.1:1 does not answer"):
        hub.ask("http://me:secret@127.0.0.1:1", ID, "master")


def test_the_hub_is_the_given_one_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://hub.example:1/")
    assert models.endpoint() == "http://hub.example:1"
    assert models.endpoint("http://other.example") == "http://other.example"
    monkeypatch.delenv("MODELSCOPE_ENDPOINT")
    assert models.endpoint().startswith("https://")
