"""What the service is given by its surroundings: sockets, systemd's notification socket, paths and cores."""

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine.cpu import count_threads
from service.notify import notify
from service.paths import Paths, PathsError, model_name
from service.sockets import MAX_PATH_BYTES, SocketError, listen, short


@pytest.fixture(params=["short", "long"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / ("x" * 120) if request.param == "long" else tmp_path
    folder.mkdir(exist_ok=True)
    return folder / "engine.sock"


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(short(path))


def test_a_socket_is_open_to_its_group_and_nobody_else(path: Path) -> None:
    with listen(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        connect(path)


def test_a_short_name_always_fits(path: Path) -> None:
    assert len(short(path).encode()) <= MAX_PATH_BYTES


def test_a_socket_that_a_dead_process_left_is_replaced(path: Path) -> None:
    listen(path).close()
    assert path.exists()
    with listen(path):
        connect(path)


def test_a_socket_where_somebody_answers_is_left_alone(path: Path) -> None:
    with listen(path), pytest.raises(SocketError, match="another process answers there"):
        listen(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SocketError, match="nowhere"):
        listen(tmp_path / "nowhere" / "engine.sock")


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    path.write_text("precious")
    with pytest.raises(SocketError):
        listen(path)
    assert path.read_text() == "precious"


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    name = f"@ferry-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


def test_systemd_hears_what_it_is_told(systemd: socket.socket) -> None:
    notify("READY=1")
    assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


def environment(release: Path) -> dict[str, str]:
    names = ("RELEASE", "CONFIG", "SOCKET", "DATA", "LOG", "CACHE")
    return {f"FERRY_{name}": str(release) for name in names}


def test_paths_come_from_the_environment_alone(tmp_path: Path) -> None:
    paths = Paths.from_environment(environment(tmp_path))
    assert (paths.model, paths.manifest) == (tmp_path / "model", tmp_path / "manifest.json")


def test_every_missing_path_is_named(tmp_path: Path) -> None:
    partial = {**environment(tmp_path), "FERRY_LOG": ""}
    del partial["FERRY_DATA"]
    with pytest.raises(PathsError, match="FERRY_DATA, FERRY_LOG"):
        Paths.from_environment(partial)


def test_the_model_is_called_by_the_last_part_of_its_id(tmp_path: Path) -> None:
    paths = Paths.from_environment(environment(tmp_path))
    paths.manifest.write_text(json.dumps({"model": {"id": "Qwen/Qwen1.5-0.5B-Chat"}}))
    assert model_name(paths) == "Qwen1.5-0.5B-Chat"


@pytest.mark.parametrize("content", ["", "{}", '{"model": 5}', '{"model": {"id": 5}}'])
def test_a_manifest_without_a_model_is_named(tmp_path: Path, content: str) -> None:
    paths = Paths.from_environment(environment(tmp_path))
    paths.manifest.write_text(content)
    with pytest.raises(PathsError, match=r"manifest\.json"):
        model_name(paths)


@pytest.fixture
def four_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cores with two threads each: 0 and 2 share one, 1 and 3 the other."""
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    return tmp_path


def test_threads_are_the_physical_cores(four_processors: Path) -> None:
    assert count_threads(0, four_processors) == 2


def test_threads_respect_the_affinity_mask(four_processors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2})
    assert count_threads(0, four_processors) == 1


def test_the_operators_number_of_threads_wins(four_processors: Path) -> None:
    assert count_threads(5, four_processors) == 5


def test_where_the_cores_are_hidden_every_processor_counts(four_processors: Path) -> None:
    assert count_threads(0, four_processors / "hidden") == 4
