"""What the server decides for itself and every release keeps: ferry.toml and allowed_signers.

The first install writes both; later ones leave them alone.
"""

import re
import shutil
from pathlib import Path

from checksums.errors import FerryError
from installer.files import Changes
from installer.places import Places

LISTEN_LINE = re.compile(r'^listen = "(?P<address>[^"]*)"', re.MULTILINE)
ROOT_LISTEN, USER_LISTEN = "0.0.0.0:8080", "127.0.0.1:8080"
GROUP = "ferry"


def listen_of(places: Places, wanted: str | None) -> str:
    """Return where the web will listen: the kept settings decide, then what was asked for, then the mode's default."""
    kept = LISTEN_LINE.search(places.config.read_text()) if places.config.is_file() else None
    return kept["address"] if kept else wanted or (USER_LISTEN if places.is_user else ROOT_LISTEN)


def render(default: str, listen: str) -> str:
    """Return the release's default ferry.toml with its own address to listen on."""
    text, count = LISTEN_LINE.subn(f'listen = "{listen}"', default, count=1)
    if count != 1:
        raise FerryError("service/ferry.toml of this release has no line for `listen`", "build the bundle again")
    return text


def write(places: Places, release: Path, listen: str, allowed_signers: Path | None, changes: Changes) -> None:
    """Write what is not there yet: ferry.toml, and the list that decided this install as the server's own."""
    changes.folder(places.etc, 0o700 if places.is_user else 0o755)
    if allowed_signers and not places.allowed_signers.exists():
        changes.file(places.allowed_signers, allowed_signers.read_bytes())
    if places.config.exists():
        return
    default = (release / "app" / "service" / "ferry.toml").read_text(encoding="utf-8", errors="replace")
    text = render(default, listen)
    # It may come to hold a password: only the service's group reads it.
    changes.file(places.config, text.encode(), 0o640)
    if not places.is_user:
        shutil.chown(places.config, "root", GROUP)
