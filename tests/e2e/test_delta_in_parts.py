"""A change of the app crosses as a delta in parts, onto the server that wrote the inventory and onto no other."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from container import Container
from demo_bundle import DemoBundle, delta_bundle
from installed import installed
from roots import server_root

from bundle import media
from bundle.progress import Progress

TRUST = ["--allowed-signers", "/media/usb/allowed_signers", "--yes"]


@pytest.fixture(scope="module")
def servers(demo_media: DemoBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Container]]:
    """A server with the demo on it, and one with nothing; both see a stick that is still empty."""
    base, fresh = Container(*installed(demo_media)), Container(server_root())
    stick = tmp_path_factory.mktemp("stick")
    stick.chmod(0o755)
    for server in (base, fresh):
        server.show("/media/usb", demo_media.folder)
        server.show("/media/stick", stick)
    with base, fresh:
        delta = delta_bundle(demo_media, base.run(["ferry", "inventory"]).stdout)
        for number, part in enumerate(media.split(delta, 300_000, stick / "first", Progress(quiet=True))):
            if number % 2:
                (stick / "second").mkdir(exist_ok=True)
                part.rename(stick / "second" / part.name)
        yield base, fresh


def upgrade(server: Container, stick: str = "/media/stick") -> "subprocess.CompletedProcess[str]":
    """Run install.sh on one part of each folder."""
    parts = server.run(["sh", "-c", f"ls -r {stick}/*/*.tar.00[12]"]).stdout.split()
    return server.run(["sh", "/media/usb/install.sh", *parts, *TRUST], check=False, timeout_s=900)


def test_a_server_without_the_base_refuses_and_is_as_it_was(servers: tuple[Container, Container]) -> None:
    fresh = servers[1]
    before = fresh.listing("/", "/tmp")
    done = upgrade(fresh)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "a delta on 0.1.0-" in done.stderr and "lacks" in done.stderr and "LICENSE" in done.stderr
    assert fresh.listing("/", "/tmp") == before


def test_the_server_that_wrote_the_inventory_takes_it(servers: tuple[Container, Container]) -> None:
    base = servers[0]
    done = upgrade(base)
    assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads(base.run(["ferry", "status", "--json"]).stdout)
    assert (status["version"], status["state"], status["ready"]) == ("0.1.1", "running", True)
    assert json.loads(base.run(["ferry", "verify", "--json"]).stdout) == {"ok": True, "problems": []}
    assert base.run(["cat", "/opt/ferry/current/app/service/news.txt"]).stdout == "one file is new\n"
    question = ["ferry", "selftest", "--prompt", "What is the capital of France?"]
    assert "Paris" in base.run(question, timeout_s=300).stdout
