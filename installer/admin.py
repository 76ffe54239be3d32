"""What Ferry does to accounts, keys and self-tests: the release's own Python does it, as the service's user.

Places come in; either the answer of `python -m service.web.admin … --json` goes out, or this process becomes that
command.
"""

import json
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from checksums import process
from checksums.errors import FerryError
from installer.places import Places

USER = "ferry"
MODULE = "service.web.admin"


def environment(places: Places, host: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the whole environment of a service process: its paths, and of the host's only PATH and the time zone."""
    kept = {name: host[name] for name in ("PATH", "TZ") if name in host}
    if operator := host.get("SUDO_USER"):
        kept["FERRY_OPERATOR"] = operator  # who the audit log says it was
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(places.data), **kept, **places.environment()}


def ask(places: Places, *words: str, timeout_s: float = 120, release: Path | None = None) -> dict[str, Any]:
    """Run an admin command with --json and return its answer; `release` is the folder of another than the current one.

    Raises:
        FerryError: it failed; message and hint are the command's own.
    """
    user = None if places.is_user else USER
    folder = release or places.current
    done = process.run(
        [folder / "venv" / "bin" / "python", "-m", MODULE, *words, "--json"],
        cwd=folder / "app", env=environment(places) | {"FERRY_RELEASE": str(folder)},
        timeout_s=timeout_s, check=False, user=user, group=user,
    )  # fmt: skip
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    answer: dict[str, Any] = found if isinstance(found, dict) else {}
    if done.returncode == 0 and answer:
        return answer
    said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
    message = answer.get("error") or "\n".join([f"{MODULE} {words[0]} failed", *said.splitlines()[-8:]])
    raise FerryError(str(message), str(answer.get("hint") or "run: ferry status"))


def become(places: Places, *words: str) -> NoReturn:
    """Replace this process by an admin command, which talks to the terminal itself."""
    os.chdir(places.app)
    if not places.is_user:
        account = pwd.getpwnam(USER)
        os.initgroups(USER, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    python = str(places.python)
    os.execve(python, [python, "-m", MODULE, *words], environment(places))
