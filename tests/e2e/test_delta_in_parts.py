"""A change of the app crosses as a delta in parts, onto the server that wrote the inventory and onto no other."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import demo_bundle
import pytest
from container import Container
from demo_bundle import DemoBundle
from roots import server_root

from bundle import media
from bundle.progress import Progress

TRUST = ["--allowed-signers", "/media/usb/allowed_signers", "--yes"]


@pytest.fixture(scope="module")
def servers(demo_media: DemoBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Container]]:
    """A server with the demo on it, and one with nothing; both see a stick that is still empty."""
    installed, fresh = Container(server_root()), Container(server_root())
    stick = tmp_path_factory.mktemp("stick")
    stick.chmod(0o755)
    for server in (installed, fresh):
        server.show("/media/usb", demo_media.folder)
        server.show("/media/stick", stick)
    with installed, fresh:
        installed.run(["sh", "/media/usb/install.sh", *TRUST], timeout_s=900)
        inventory = stick / "inventory.json"
        inventory.write_text(installed.run(["ferry", "inventory"]).stdout)
        delta = build_delta(demo_media, inventory, tmp_path_factory.mktemp("build"))
        for number, part in enumerate(media.split(delta, 300_000, stick / "first", Progress(quiet=True))):
            if number % 2:
                (stick / "second").mkdir(exist_ok=True)
                part.rename(stick / "second" / part.name)
        yield installed, fresh


def build_delta(demo: DemoBundle, inventory: Path, folder: Path) -> Path:
    """Build the next version of the demo from a checkout in which one file of the app is new."""
    checkout = folder / "checkout"
    demo_bundle.copy_checkout(checkout)
    command = [sys.executable, "-m", "bundle", "build", "--profile", "demo", "--version", "0.1.1", "--quiet"]
    words = ["--out", str(folder / "out"), "--sign-key", str(demo.signing_key), "--base", str(inventory)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(int(demo_bundle.EPOCH) + 1)}
    subprocess.run([*command, *words], cwd=checkout, env=environment, check=True)
    (made,) = (folder / "out").glob("*.tar")
    return made


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
    installed = servers[0]
    done = upgrade(installed)
    assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads(installed.run(["ferry", "status", "--json"]).stdout)
    assert (status["version"], status["state"], status["ready"]) == ("0.1.1", "running", True)
    assert json.loads(installed.run(["ferry", "verify", "--json"]).stdout) == {"ok": True, "problems": []}
    assert installed.run(["cat", "/opt/ferry/current/app/service/news.txt"]).stdout == "one file is new\n"
    question = ["ferry", "selftest", "--prompt", "What is the capital of France?"]
    assert "Paris" in installed.run(question, timeout_s=300).stdout
