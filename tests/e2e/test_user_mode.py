"""Without root and without systemd: everything below one folder of an ordinary user's, and gone with it."""

import json
from collections.abc import Iterator

import pytest
from container import Container
from demo_bundle import DemoBundle
from roots import server_root

AS_ALICE = ["runuser", "-u", "alice", "--", "env", "HOME=/home/alice", "PATH=/usr/bin:/bin"]
FERRY = "/home/alice/ferry/bin/ferry"
# Imports and loads what a start does, and prints the bytes of all modules of the environment, and of those without
# bytecode.
IMPORTED = """
import importlib.util, os, sys
from pathlib import Path
from service import config
from service.engine.answering import Answerer
from service.engine.room import Room
import service.web.app, service.engine.__main__, service.engine.batch, service.engine.proof
import gunicorn.app.wsgiapp, gunicorn.workers.ggevent
home = Path("/home/alice/ferry")
Answerer(home / "current/model", home / "cache", config.load(home / "etc/ferry.toml").engine, Room(0))
files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
found = [file for file in files if file.endswith(".py") and "site-packages" in file]
print(sum(os.path.getsize(file) for file in found))
print(sum(os.path.getsize(file) for file in found if not os.path.exists(importlib.util.cache_from_source(file))))
"""
COUNTED = f"cd /home/alice/ferry/current/app && ../venv/bin/python -B -c '{IMPORTED}'"


@pytest.fixture(scope="module")
def server(demo_media: DemoBundle) -> Iterator[Container]:
    made = Container(server_root())
    made.show("/media/usb", demo_media.folder)
    with made:
        made.run(["useradd", "--create-home", "alice"])
        yield made


def test_a_plain_user_installs_asks_and_removes_it(server: Container) -> None:
    before = server.listing("/", "/tmp")
    install = ["sh", "/media/usb/install.sh", "--user-mode", "--allowed-signers", "/media/usb/allowed_signers", "--yes"]
    server.run([*AS_ALICE, *install], timeout_s=900)
    installed = server.listing("/", "/tmp")
    outside = [path for path in installed if path not in before and not path.startswith("/home/alice/ferry")]
    assert outside == []

    server.run([*AS_ALICE, FERRY, "start"], timeout_s=200)
    status = json.loads(server.run([*AS_ALICE, FERRY, "status", "--json"]).stdout)
    assert (status["state"], status["url"]) == ("running", "http://127.0.0.1:8080")
    question = ["selftest", "--prompt", "What is the capital of France?"]
    assert "Paris" in server.run([*AS_ALICE, FERRY, *question]).stdout

    imported, uncompiled = map(
        int,
        server.run(
            [*AS_ALICE, "TORCHINDUCTOR_CACHE_DIR=/home/alice/ferry/cache/torchinductor", "sh", "-c", COUNTED]
        ).stdout.split(),
    )
    assert imported > 10_000_000 and uncompiled < imported * 0.02

    server.run([*AS_ALICE, FERRY, "stop"])
    assert server.run(["pgrep", "-u", "alice"], check=False).stdout == ""
    server.run([*AS_ALICE, FERRY, "uninstall", "--purge"], timeout_s=300)
    assert server.listing("/", "/tmp") == before
