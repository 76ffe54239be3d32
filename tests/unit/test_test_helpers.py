"""What test runs beside each other share: the bundles of the cache, and the ports of loopback."""

import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import combination
import demo_bundle
import ports
import pytest
import roots

ROOT = Path(__file__).resolve().parents[2]


def test_a_bundle_that_another_run_works_with_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_bundle, "BUNDLES", tmp_path)
    for age, name in enumerate(("newest", "second", "unused", "in use")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    roots.keep_in_use(tmp_path / "in use")
    demo_bundle._forget_old()
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "second", "in use"}


def test_the_matrix_has_every_database_with_and_without_nginx() -> None:
    script = (ROOT / "make" / "matrix.sh").read_text()
    named = re.findall(r'"(\w+ \w+)"', script.partition("for on in")[2].partition(";")[0])
    wanted = [f"{kind} {front}" for kind in combination.DATABASES for front in combination.FRONTS]
    assert sorted(named) == sorted(wanted)


def test_a_run_on_what_nobody_knows_is_refused() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FERRY_TEST_ON": "postgres nginx"}
    command = [sys.executable, "-c", "import combination"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (
        done.returncode and "FERRY_TEST_ON=postgres nginx: allowed: sqlite, postgresql, directly, nginx" in done.stderr
    )


@pytest.mark.postgresql
def test_a_run_that_is_killed_leaves_no_postgresql_behind() -> None:
    program = "import postgres_server, time; print(postgres_server.server()._folder, flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout
        folder = Path(run.stdout.readline().strip())
        server = Path("/proc", (folder / "data" / "postmaster.pid").read_text().split()[0], "cmdline")
        assert str(folder) in server.read_text()
        run.kill()
    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not server.exists() or str(folder) not in server.read_text()


def test_no_port_is_handed_out_twice_nor_one_that_is_taken() -> None:
    first = ports.free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first + 1))
        holder.listen()
        others = [ports.free_port() for _ in range(20)]
    assert len({first, first + 1, *others}) == 22
    assert all(ports.FIRST <= port < 32_768 for port in others)


def test_processes_of_one_parent_with_rows_of_their_own_are_told_no_port_in_common() -> None:
    with ProcessPoolExecutor(2) as pool:
        first, second = pool.map(_ports_of_row, (0, 1))
    assert len(first) == len(second) == 60 and first.isdisjoint(second)


def _ports_of_row(number: int) -> set[int]:
    ports.take_row(number)
    return {ports.free_port() for _ in range(60)}
