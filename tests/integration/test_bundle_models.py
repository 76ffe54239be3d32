"""Weights through the real ModelScope SDK, from a hub on loopback that behaves and misbehaves on demand."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_model
from local_hub import LISTING, LocalHub, serving

from bundle import hub, models, partial, retry, weights
from bundle.hub import Listing
from bundle.progress import Progress
from checksums.errors import CollectError, IntegrityError, UsageError

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
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.01)
    folder = tmp_path / "hub"
    shutil.copytree(published, folder)
    with serving(LocalHub(folder)) as running:
        yield running


def ask(local: LocalHub) -> Listing:
    return hub.ask(local.address, ID, "master")


def collect(local: LocalHub) -> Path:
    return models.collect(ask(local), local.address, "", 4, QUIET)


def test_every_file_of_the_listing_arrives_with_its_digest(local: LocalHub) -> None:
    listing = ask(local)
    folder = models.collect(listing, local.address, "", 4, QUIET)
    assert listing.commit == local.commit
    assert {file.path for file in listing.files} == {
        path.relative_to(local.folder).as_posix() for path in local.folder.rglob("*") if path.is_file()
    }
    assert {".gitattributes", "assets/figure.txt", WEIGHTS} <= {file.path for file in listing.files}
    for file in listing.files:
        assert hashlib.sha256((folder / file.path).read_bytes()).hexdigest() == file.sha256


def test_the_sdks_own_download_brings_the_same_files(local: LocalHub, tmp_path: Path) -> None:
    code = "import sys; from modelscope import snapshot_download as get; get(sys.argv[1], local_dir=sys.argv[2])"
    environment = {**os.environ, "MODELSCOPE_ENDPOINT": local.address, "MODELSCOPE_CACHE": str(tmp_path / "sdk")}
    theirs, ours = tmp_path / "theirs", collect(local)
    subprocess.run([sys.executable, "-c", code, ID, str(theirs)], env=environment, check=True, capture_output=True)
    for file in ask(local).files:
        assert (theirs / file.path).read_bytes() == (ours / file.path).read_bytes(), file.path


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


def test_a_part_file_with_other_bytes_does_not_pass_for_the_file(local: LocalHub, tmp_path: Path) -> None:
    """A partial download that passes for a whole one, and one that is gone on from wrongly: modelscope#1317, #1661."""
    whole = (local.folder / WEIGHTS).read_bytes()
    part = tmp_path / "cache/ferry/models" / ID / ".parts" / f"{hashlib.sha256(whole).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    with pytest.raises(IntegrityError, match=f"{WEIGHTS}: sha256 is"):
        collect(local)
    assert (collect(local) / WEIGHTS).read_bytes() == whole


def test_what_is_there_of_a_file_is_not_fetched_again(local: LocalHub, tmp_path: Path) -> None:
    whole = (local.folder / WEIGHTS).read_bytes()
    part = tmp_path / "cache/ferry/models" / ID / ".parts" / f"{hashlib.sha256(whole).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:1000])
    assert (collect(local) / WEIGHTS).read_bytes() == whole
    assert [words for path, words in local.requests if path == WEIGHTS] == [f"bytes=1000-{len(whole) - 1}"]
    assert not part.parent.exists()


def test_a_file_that_another_commit_has_is_not_fetched_again(local: LocalHub) -> None:
    collect(local)
    local.commit = "f" * 40
    (local.folder / "README.md").write_text("# The same weights, with another page\n")
    local.requests.clear()
    folder = collect(local)
    assert folder.name == local.commit
    assert [path for path, _ in local.requests] == [LISTING, "README.md"]


def test_two_files_of_the_same_bytes_are_fetched_once(local: LocalHub) -> None:
    shutil.copy(local.folder / "LICENSE", local.folder / "assets" / "LICENSE")
    folder = collect(local)
    assert (folder / "assets" / "LICENSE").read_bytes() == (local.folder / "LICENSE").read_bytes()
    assert len({path for path, _ in local.requests} & {"LICENSE", "assets/LICENSE"}) == 1


def test_a_file_of_no_bytes_arrives(local: LocalHub) -> None:
    (local.folder / "empty.txt").touch()
    assert (collect(local) / "empty.txt").read_bytes() == b""


FAULTS = ["cut", "reset", "shorter", "500", "503", "408", "429"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hub_that_fails_twice_and_then_answers_is_good_enough(local: LocalHub, fault: str) -> None:
    local.faults[WEIGHTS], local.fault_times[WEIGHTS] = fault, 2
    assert (collect(local) / WEIGHTS).read_bytes() == (local.folder / WEIGHTS).read_bytes()


@pytest.mark.parametrize("fault", ["reset", "500", "404", "403", "400", "shifted", "astray", "digits"])
def test_a_file_that_does_not_come_is_an_error_that_names_it_and_the_hub(
    local: LocalHub, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(partial, "PIECE_BYTES", 50_000)
    local.faults[WEIGHTS] = fault
    with pytest.raises(CollectError) as caught:
        collect(local)
    assert local.address in caught.value.message
    assert WEIGHTS in caught.value.message
    assert caught.value.exit_code == 1
    del local.faults[WEIGHTS]
    collect(local)


@pytest.mark.parametrize(("fault", "times"), [("404", 1), ("403", 1), ("400", 1), ("500", retry.TRIES)])
def test_what_the_hub_will_not_give_is_not_asked_for_again(local: LocalHub, fault: str, times: int) -> None:
    local.faults[WEIGHTS] = fault
    with pytest.raises(CollectError):
        collect(local)
    assert [path for path, _ in local.requests].count(WEIGHTS) == times


@pytest.mark.parametrize("fault", ["whole", "longer", "", "shorter"])
@pytest.mark.parametrize("piece_bytes", [50_000, 1 << 24])
def test_ranges_that_are_not_honoured_end_in_the_right_bytes(
    local: LocalHub, monkeypatch: pytest.MonkeyPatch, fault: str, piece_bytes: int
) -> None:
    """200 from the start where a range was asked for, a byte too many, half the bytes: one piece, and many."""
    monkeypatch.setattr(partial, "PIECE_BYTES", piece_bytes)
    local.faults[WEIGHTS], local.fault_times[WEIGHTS] = fault, 4 if fault == "shorter" else 1000
    assert (collect(local) / WEIGHTS).read_bytes() == (local.folder / WEIGHTS).read_bytes()


def test_a_hub_that_honours_no_range_does_not_undo_what_is_there(local: LocalHub, tmp_path: Path) -> None:
    whole = (local.folder / WEIGHTS).read_bytes()
    part = tmp_path / "cache/ferry/models" / ID / ".parts" / f"{hashlib.sha256(whole).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole[:70_000])
    local.faults[WEIGHTS] = "whole"
    assert (collect(local) / WEIGHTS).read_bytes() == whole


def test_a_file_of_another_size_than_listed_is_refused(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial, "PIECE_BYTES", 50_000)
    local.faults[WEIGHTS] = "resized"
    with pytest.raises(IntegrityError, match=rf"{WEIGHTS}: the hub sends \d+ bytes and lists"):
        collect(local)


def test_a_hub_that_is_silent_is_given_up_after_its_time(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelscope_hub._legacy_api.DOWNLOAD_TIMEOUT", 0.2)
    local.faults[WEIGHTS], local.delay_s = "slow", 1.0
    with pytest.raises(CollectError, match=rf"{WEIGHTS}: {ID} from {local.address}: .*[Tt]imed? ?out"):
        collect(local)


def test_one_failure_ends_the_others(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nobody has does not leave the operator waiting for a large one; what came of that one is kept."""
    monkeypatch.setattr("local_hub.BLOCK_BYTES", 1000)
    local.bytes_per_s = 30_000
    local.faults["config.json"] = "404"
    with pytest.raises(CollectError, match=r"config\.json"):
        collect(local)
    assert sum(answer.count for answer in local.answers) < (local.folder / WEIGHTS).stat().st_size


def test_a_disk_that_cannot_take_it_is_said_before_anything_is_fetched(local: LocalHub) -> None:
    local.listed[WEIGHTS] = {"Size": 1 << 44}
    with pytest.raises(CollectError, match=r"bytes are to be fetched and .* are free"):
        collect(local)
    assert local.answers == []


@pytest.mark.parametrize("fault", ["reset", "cut", "500", "503"])
def test_a_listing_that_fails_twice_is_asked_for_again(local: LocalHub, fault: str) -> None:
    local.faults[LISTING], local.fault_times[LISTING] = fault, 2
    assert ask(local).commit == local.commit


@pytest.mark.parametrize("fault", ["garbage", "endless"])
def test_an_answer_that_is_no_listing_is_refused(local: LocalHub, fault: str) -> None:
    local.faults[LISTING] = fault
    with pytest.raises(CollectError, match=f"{local.address}.*(no hub's answer|without end)"):
        ask(local)


@pytest.mark.parametrize("fault", ["404", "500"])
def test_a_listing_that_does_not_come_names_the_address(local: LocalHub, fault: str) -> None:
    local.faults[LISTING] = fault
    with pytest.raises(CollectError, match=f"{local.address}.*HTTP {fault}"):
        ask(local)


def test_a_hub_that_sends_us_on_to_no_address_is_named(local: LocalHub) -> None:
    local.faults[LISTING] = "astray"
    with pytest.raises(CollectError, match=f"{local.address} does not answer"):
        ask(local)


@pytest.mark.parametrize("token", ["se\ncret", "secret\u4ee4", "secret\udcff"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(local: LocalHub, token: str) -> None:
    with pytest.raises(UsageError, match="the hub's token") as caught:
        hub.ask(local.address, ID, "master", token)
    assert "cret" not in caught.value.message and local.requests == []


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
