"""The administrator's commands without the half second of imports that each begins with.

In: arguments and an environment. Out: exit status and output of a process of its own, forked from one that has imported
service.web.admin and has done nothing else. tests/web_process.admin runs them as `ferry` does.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["service.web.admin"])
ROOT = Path(__file__).parent.parent
NAMES = ("stdin", "stdout", "stderr")


def run(environment: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as it would be run from the release's folder."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in NAMES]
        files[0].write_text(stdin)
        child = FORKING.Process(target=_command, args=(environment, arguments, [str(file) for file in files]))
        child.start()
        child.join(60)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(arguments, 60)
        return subprocess.CompletedProcess(arguments, child.exitcode, files[1].read_text(), files[2].read_text())


def _command(environment: dict[str, str], arguments: list[str], files: list[str]) -> None:
    for number, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (it lasts as long as the process)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    from service.web import admin

    sys.exit(admin.main(list(arguments)))
