"""An index that fails, and one that lies: what is whole is kept and fetched once, what is wrong is refused by name."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import stub_wheels
from index_server import IndexServer, serving

from bundle import lock, resolve, targets, wheels
from bundle.lock import Lock
from bundle.progress import Progress
from bundle.sources import Sources
from checksums.errors import FerryError

ROOT = Path(__file__).resolve().parents[2]
QUIET = Progress(quiet=True)
TARGET = targets.make_target("3.12", "aarch64", "2.28")
NAMES = ("app", "inner", "victim")
VICTIM = "victim-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexServer]:
    folder = tmp_path / "files"
    stub_wheels.make(folder, "app", requires=["inner"])
    stub_wheels.make(folder, "inner", requires=["victim"])
    stub_wheels.make(folder, "victim")
    with serving(folder) as running:
        yield running


def resolved(index: IndexServer) -> Lock:
    return resolve.resolve("app", TARGET, Sources(index_url=index.url))


def collect(index: IndexServer, found: Lock) -> list[Path]:
    return wheels.collect(found.wheels, TARGET, Sources(index_url=index.url), QUIET)


def test_connections_that_are_reset_are_tried_again(index: IndexServer) -> None:
    found = resolved(index)
    index.faults = {f"/files/{wheel.file}": ["reset", "reset"] for wheel in found.wheels}
    assert [path.name for path in collect(index, found)] == [wheel.file for wheel in found.wheels]


def test_an_index_that_is_out_of_order_for_a_while_is_asked_again(
    index: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setattr("bundle.retry.FIRST_PAUSE_S", 0.01)
    found = resolved(index)
    index.faults = {f"/files/{VICTIM}": ["500", "500"]}
    assert len(collect(index, found)) == len(NAMES)


def test_small_wheels_come_together_and_large_ones_alone() -> None:
    sizes = {"a": 5_000_000, "b": 100, "c": 300_000_000, "d": 2_000_000, "e": 0, "f": 7_000_000}
    made = [
        lock.Locked(name, "1", f"{name}-1-py3-none-any.whl", "a" * 64, size, "index") for name, size in sizes.items()
    ]
    assert [[wheel.name for wheel in group] for group in wheels.groups(made)] == [["b", "d", "a"], ["f"], ["e"], ["c"]]


def test_after_a_kill_no_whole_wheel_is_fetched_again(index: IndexServer, tmp_path: Path) -> None:
    found = resolved(index)
    (tmp_path / "lock").write_text(lock.render(found, TARGET))
    last = sorted(found.wheels, key=lambda wheel: (wheel.size_bytes, wheel.file))[-1]
    index.faults[f"/files/{last.file}"] = ["hang"]
    index.requests.clear()
    program = (
        "import sys\nfrom pathlib import Path\nfrom bundle import lock, targets, wheels\n"
        "from bundle.progress import Progress\nfrom bundle.sources import Sources\nwheels.GROUP_BYTES = 1\n"
        "wheels.collect(lock.read(Path(sys.argv[1])).wheels, targets.make_target('3.12', 'aarch64', '2.28'),"
        " Sources(index_url=sys.argv[2]), Progress(quiet=True))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "lock"), index.url]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        until(lambda: f"/files/{last.file}" in index.requests)
        os.killpg(process.pid, signal.SIGKILL)
    assert wheels.missing(found.wheels) == [last]
    index.released.set()
    index.requests.clear()
    assert len(collect(index, found)) == len(NAMES)
    assert {path for path in index.requests if path.startswith("/files/")} == {f"/files/{last.file}"}
    assert not list(wheels.stored(last).parent.parent.glob(".fetch-*"))


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_true()


@dataclass(frozen=True)
class Lie:
    """One thing that an index does wrong with the package "victim", and what the refusal must name."""

    name: str
    told: Callable[[IndexServer], None]
    named: str = "victim"


def page(text: str, kind: str = "text/html") -> Callable[[IndexServer], None]:
    def tell(index: IndexServer) -> None:
        index.pages["victim"] = text.replace("ADDRESS", index.address).encode("utf-8", "surrogateescape")
        index.types["victim"] = kind

    return tell


def offer(attributes: str = "", *, digest: str | None = None, file: str = VICTIM) -> Callable[[IndexServer], None]:
    """Offer the victim's wheel with other attributes, another digest, or under another name."""

    def tell(index: IndexServer) -> None:
        line = index.link(index.folder / VICTIM, attributes).replace(VICTIM, file)
        if digest is not None:
            line = line.replace(line.partition("#")[2].partition('"')[0], digest)
        index.pages["victim"] = line.encode()

    return tell


def wheel(version: str = "1.0", requires: tuple[str, ...] = (), python: str = "") -> Callable[[IndexServer], None]:
    def tell(index: IndexServer) -> None:
        made = stub_wheels.make(index.folder, "victim", version, requires=requires, requires_python=python)
        made.rename(index.folder / VICTIM)

    return tell


def content(data: bytes) -> Callable[[IndexServer], None]:
    return lambda index: (index.folder / VICTIM).write_bytes(data) and None


def another_package(index: IndexServer) -> None:
    stub_wheels.make(index.folder, "stranger").rename(index.folder / VICTIM)


def fault(*faults: str, path: str = "/simple/victim/") -> Callable[[IndexServer], None]:
    def tell(index: IndexServer) -> None:
        index.faults[path] = [entry.replace("ADDRESS", index.address) for entry in faults] * 20

    return tell


JSON = "application/vnd.pypi.simple.v1+json"
ENTRY = '{"filename": "victim-1.0-py3-none-any.whl", "url": "ADDRESS/files/victim-1.0-py3-none-any.whl", '
DIGEST = '"hashes": {"sha256": "' + "0" * 64 + '"}'
LIES = [
    Lie("a page that is not there", fault("404")),
    Lie("a page that nobody may see", fault("403")),
    Lie("a page that fails", fault("500")),
    Lie("a redirect in a circle", fault("to ADDRESS/simple/victim/")),
    Lie("a redirect to a file of this host", fault("to file:///etc/hostname")),
    Lie("noise for a page", page("\x00\x01<a<<a href='" * 50)),
    Lie("noise for a list in JSON", page('{"files": [{', JSON)),
    Lie("a list of no files", page('{"meta": {"api-version": "1.0"}, "name": "victim", "files": []}', JSON)),
    Lie("a size below nothing", page('{"files": [' + ENTRY + DIGEST + ', "size": -5}]}', JSON)),
    Lie("a size that is a text", page('{"files": [' + ENTRY + DIGEST + ', "size": "large"}]}', JSON)),
    Lie("a digest that is another file's", offer(digest="sha256=" + "0" * 64)),
    Lie("a digest that is none", offer(digest="sha256=zz")),
    Lie("a digest of a weak kind", offer(digest="md5=" + "0" * 32)),
    Lie("a name with a path in it", offer(file="..%2F..%2Fvictim-1.0-py3-none-any.whl")),
    Lie("a name with two versions", offer(file="victim-1.0-2.0-3.0-py3-none-any.whl")),
    Lie("a name that is another package's", offer(file="stranger-1.0-py3-none-any.whl")),
    Lie("a wheel for no Python that there is", offer(' data-requires-python="&gt;=9"')),
    Lie("a wheel that is another package", another_package),
    Lie("a wheel of another version", wheel("2.0")),
    Lie("a wheel that is cut short", content(b"PK\x03\x04 and no more")),
    Lie("a wheel of nothing", content(b"")),
    Lie("a wheel that is a page", content(b"<html>Please log in</html>")),
    Lie("a wheel that fails", fault("500", path=f"/files/{VICTIM}")),
    Lie("a wheel that is not there", fault("404", path=f"/files/{VICTIM}")),
    Lie("a wheel that needs what is no requirement", wheel(requires=("!!",))),
    Lie("a wheel that needs a file of this host", wheel(requires=("evil @ file:///etc/hostname",)), "evil"),
    Lie(
        "a wheel that needs an address", wheel(requires=("evil @ http://127.0.0.1:9/evil-1-py3-none-any.whl",)), "evil"
    ),
    Lie("a wheel that needs what nobody has", wheel(requires=("nobody-has-this",)), "nobody-has-this"),
    Lie("a wheel that needs a GPU", wheel(requires=("nvidia-cublas",)), "nvidia-cublas"),
    Lie("a wheel for no Python that there is, inside", wheel(python=">=9")),
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_an_index_that_lies_is_refused_by_the_name_of_what_is_wrong(
    lie: Lie, index: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setattr("bundle.resolver.PATIENCE", {"UV_HTTP_RETRIES": "0"})
    monkeypatch.setattr("bundle.wheels.TRIES", 1)
    stub_wheels.make(index.folder, "nvidia-cublas")
    lie.told(index)
    with pytest.raises(FerryError) as caught:
        collect(index, resolved(index))
    assert caught.value.exit_code in (1, 3)
    assert lie.named in caught.value.message
    assert caught.value.hint
    stored = list((tmp_path / "cache").rglob("*.whl"))
    assert [path for path in stored if "victim" in path.name] == []


def test_where_an_index_gives_no_digest_it_is_taken_from_the_wheel_itself(index: IndexServer) -> None:
    offer(digest="")(index)
    digest = hashlib.sha256((index.folder / VICTIM).read_bytes()).hexdigest()
    assert resolved(index).wheel("victim").sha256 == digest


def test_a_version_that_was_withdrawn_is_refused_unless_it_is_locked(index: IndexServer) -> None:
    found = resolved(index)
    offer(' data-yanked="it was broken"')(index)
    with pytest.raises(FerryError, match=r"withdrawn by their authors: victim==1\.0 \(it was broken\)"):
        resolve.resolve("app\nvictim==1.0", TARGET, Sources(index_url=index.url))
    assert len(collect(index, found)) == len(NAMES)


def test_a_wheel_that_was_changed_after_it_was_locked_is_never_stored(index: IndexServer) -> None:
    found = resolved(index)
    with (index.folder / VICTIM).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(FerryError, match="victim") as caught:
        collect(index, found)
    assert caught.value.exit_code == 3
    assert not wheels.stored(found.wheel("victim")).exists()
