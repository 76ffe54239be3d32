"""What test runs beside each other share: the bundles of the cache, and the ports of loopback."""

import os
import socket
from pathlib import Path

import demo_bundle
import ports
import pytest
import roots


def test_a_bundle_that_another_run_works_with_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_bundle, "BUNDLES", tmp_path)
    for age, name in enumerate(("newest", "second", "unused", "in use")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    roots.keep_in_use(tmp_path / "in use")
    demo_bundle._forget_old()
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "second", "in use"}


def test_no_port_is_handed_out_twice_nor_one_that_is_taken() -> None:
    first = ports.free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first + 1))
        holder.listen()
        others = [ports.free_port() for _ in range(20)]
    assert len({first, first + 1, *others}) == 22
    assert all(ports.FIRST <= port < 32_768 for port in others)
