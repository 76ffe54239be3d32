"""What the server decides for itself and every release keeps: ferry.toml and allowed_signers.

The first install writes both; later ones leave them alone. Python 3.10 reads no TOML: of the two settings that the
installer needs, each has one form that is understood, and install.sh understands the same.
"""

import grp
import re
from pathlib import Path

from checksums.errors import FerryError, HostError
from installer.files import Changes
from installer.places import Places
from installer.verify import Trust

LISTEN_LINE = re.compile(r'^listen = "(?P<address>[^"]*)"', re.MULTILINE)
ROOT_LISTEN, USER_LISTEN = "0.0.0.0:8080", "127.0.0.1:8080"
GROUP = "ferry"
TRUST_SECTION = re.compile(r"^[ \t]*\[trust\]\s*(#.*)?$")
ANY_SECTION = re.compile(r"^[ \t]*\[")
MENTION = re.compile(r"^[^#]*threshold")
PROMPT = re.compile(r"^[ \t]*system_prompt[ \t]*=")
THRESHOLD_LINE = re.compile(r"^[ \t]*threshold[ \t]*=[ \t]*([0-9]{1,2})\s*(#.*)?$")
MAX_THRESHOLD = 16


def listen_of(places: Places, wanted: str | None) -> str:
    """Return where the web will listen: the kept settings decide, then what was asked for, then the mode's default."""
    kept = LISTEN_LINE.search(places.config.read_text()) if places.config.is_file() else None
    return kept["address"] if kept else wanted or (USER_LISTEN if places.is_user else ROOT_LISTEN)


def threshold_of(places: Places, wanted: int | None) -> int:
    """Return how many trusted keys have to sign: the kept settings decide, then what was asked for, then one.

    Raises:
        HostError: ferry.toml mentions a threshold in a form that cannot be relied upon.
    """
    if not places.config.is_file():
        return wanted or 1
    return threshold_in(places.config.read_bytes(), str(places.config))


def threshold_in(data: bytes, name: str) -> int:
    """Return how many trusted keys the text of a ferry.toml asks for.

    Raises:
        HostError: it mentions a threshold in a form that cannot be relied upon.
    """
    mentions, values, is_trust = 0, [], False
    for line in data.decode(errors="replace").split("\n"):
        is_trust = (not is_trust and bool(TRUST_SECTION.match(line))) if ANY_SECTION.match(line) else is_trust
        mentions += bool(MENTION.match(line)) and not PROMPT.match(line)
        if is_trust and (found := THRESHOLD_LINE.match(line)):
            values.append(int(found[1]))
    if mentions == 0:
        return 1
    if mentions != 1 or len(values) != 1 or not 1 <= values[0] <= MAX_THRESHOLD:
        raise HostError(
            f"{name}: cannot tell the threshold of [trust]",
            f"write it once, on a line of its own below [trust], from 1 to {MAX_THRESHOLD}: threshold = 2",
        )
    return values[0]


def render(default: str, listen: str, threshold: int = 1) -> str:
    """Return the release's default ferry.toml with this server's address to listen on, and its threshold."""
    text, count = LISTEN_LINE.subn(f'listen = "{listen}"', default, count=1)
    if count != 1:
        raise FerryError("service/ferry.toml of this release has no line for `listen`", "build the bundle again")
    if threshold == 1:
        return text
    text, count = re.subn(r"^threshold = 1$", f"threshold = {threshold}", text, count=1, flags=re.MULTILINE)
    return text if count else f"{text.rstrip()}\n\n[trust]\nthreshold = {threshold}\n"


def write(places: Places, release: Path, listen: str, trust: Trust, changes: Changes) -> None:
    """Write what is not there yet: ferry.toml, and the list that decided this install as the server's own."""
    changes.folder(places.etc, 0o700 if places.is_user else 0o755)
    if trust.allowed_signers and not places.allowed_signers.exists():
        changes.file(places.allowed_signers, trust.allowed_signers.read_bytes())
    if places.config.exists():
        return
    default = (release / "app" / "service" / "ferry.toml").read_text(encoding="utf-8", errors="replace")
    text = render(default, listen, trust.threshold)
    # It may come to hold a password: only the service's group reads it.
    owner = None if places.is_user else (0, grp.getgrnam(GROUP).gr_gid)
    changes.file(places.config, text.encode(), 0o640, owner)
