"""Does the hardening hold on this kernel? Places come in, one finding for each directive of each unit goes out.

systemd accepts a directive that the kernel does not enforce, silently. So a small program (installer/probe.py) runs in
the very sandbox of each unit, as `systemctl cat` shows it, and tries what it is to forbid. In user mode there are no
units: then it is said what isolation there is. Nothing is changed here.
"""

import json
import os
import pkgutil
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from checksums import process
from checksums.errors import FerryError
from checksums.process import Completed, ProcessError
from installer import isolation, units
from installer.places import Places
from installer.probe import PROBES, UNTRIED

Properties = list[tuple[str, str]]
PROBE_TIMEOUT_S = 60
SELINUX = Path("/sys/fs/selinux/enforce")
# What has no part in the sandbox: how the unit is started, watched and named.
NOT_SANDBOX = re.compile(
    r"(Type|NotifyAccess|Exec\w+|Environment|KillMode|Timeout\w+|WatchdogSec|Restart\w*|SyslogIdentifier|OOMPolicy)"
)
UNKNOWN = re.compile(r"(?:Unknown assignment: |Cannot set property )(\w+)")
# What it means for the operator where a directive does not hold.
MEANS = {
    "PrivateNetwork": "the engine could reach the network",
    "RestrictAddressFamilies": "it could open other sockets than it needs",
    "IPAddressDeny": "one fence less: PrivateNetwork and RestrictAddressFamilies stand on their own",
    "ProtectSystem": "what breaks in could change more than Ferry's data",
    "ProtectHome": "what breaks in could read home folders",
    "InaccessiblePaths": "only their owner and mode keep the engine from accounts and conversations",
    "ProtectProc": "it sees the server's other processes",
    "SystemCallFilter": "it may call all of the kernel",
    "MemoryDenyWriteExecute": "what breaks in could bring code of its own",
    "MemoryMax": "a leak could take the whole server's memory",
    "TasksMax": "a runaway could fill the process table",
    "LimitNOFILE": "many users at once would be turned away",
}
FENCES_LESS = "one fence less around what breaks in"


@dataclass(frozen=True)
class Finding:
    """One measure; where it does not hold, `detail` says what that means, else what was tried."""

    name: str
    holds: bool
    detail: str


def probe(places: Places) -> list[Finding]:
    """Try out the isolation of an installation; root is needed where it was installed by root."""
    if places.is_user:
        return list(_user_mode(places))
    return [finding for unit in units.UNITS for finding in _probe_unit(unit, places)]


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return what to show an operator: how many measures hold, and each that does not."""
    failed = [finding for finding in findings if not finding.holds]
    head = f"hardening: {len(findings) - len(failed)} of {len(findings)} measures hold on this kernel"
    return [head, *(f"  {finding.name}: {finding.detail}" for finding in failed)]


def relabel(paths: Sequence[Path], selinux: Path = SELINUX) -> bool:
    """Let SELinux's own policy label what was installed. Returns: whether this server has SELinux."""
    if shutil.which("restorecon") is None or not selinux.exists():
        return False
    process.run(["restorecon", "-R", *(path for path in paths if os.path.lexists(path))])
    return True


def parse(text: str) -> Properties:
    """Return the assignments of [Service] in unit files, those of drop-ins after those that they add to."""
    section, found = "", []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section == "[Service]" and re.match(r"\w+=", line):
            key, _, value = line.partition("=")
            found.append((key, value.strip().replace("%%", "%")))
    return found


def sandbox(properties: Properties) -> Properties:
    """Return those that make up the sandbox."""
    return [(key, value) for key, value in properties if not NOT_SANDBOX.fullmatch(key)]


def wanted(properties: Properties) -> dict[str, str]:
    """Return what is to hold: the last value of each directive that is not off."""
    return {key: value for key, value in dict(properties).items() if value not in {"no", "false", "infinity"}}


def _probe_unit(unit: str, places: Places) -> list[Finding]:
    name = unit.removesuffix(".service")
    try:
        properties = sandbox(parse(process.run(["systemctl", "cat", unit]).text))
        asked = {key: value for key, value in wanted(properties).items() if key in PROBES and key != "IPAddressDeny"}
        found = _run(properties, asked, places)
        if denied := dict(properties).get("IPAddressDeny"):
            # Where no socket can be opened at all, whether packets are let through cannot be seen.
            open_ = [pair for pair in properties if pair[0] != "RestrictAddressFamilies"]
            found |= _run(open_, {"IPAddressDeny": denied}, places)
    except FerryError as error:
        return [Finding(f"{name}: sandbox", False, f"could not be probed: {error.message}")]
    return [_finding(f"{name}: {key}", key, dict(properties)[key], found[key]) for key in PROBES if key in found]


def _finding(name: str, key: str, value: str, found: str) -> Finding:
    if not found:
        return Finding(name, True, f"{key}={value} holds")
    means = MEANS.get(key, FENCES_LESS)
    if found.startswith(UNTRIED):
        return Finding(name, False, f"{key}={value} {found}; if it does not hold, {means}")
    return Finding(name, False, f"this kernel does not enforce {key}={value} ({found}): {means}")


def _run(properties: Properties, asked: dict[str, str], places: Places) -> dict[str, str]:
    """Run the probe with these properties; those that this systemd does not know cannot hold and are left out."""
    program = pkgutil.get_data("installer", "probe.py") or b""
    words = [str(places.python), "-I", "-", json.dumps(asked)]
    for _ in range(len(properties) + 1):
        options = [word for key, value in properties for word in ("-p", f"{key}={value}")]
        command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *options, *words]
        done = process.run(command, input_bytes=program, timeout_s=PROBE_TIMEOUT_S, check=False)
        unknown = UNKNOWN.search(done.stderr.decode(errors="replace"))
        if done.returncode == 0 or not unknown:
            break
        properties = [pair for pair in properties if pair[0] != unknown[1]]
    return _answer(command, done, asked)


def _answer(command: Sequence[str], done: Completed, asked: dict[str, str]) -> dict[str, str]:
    try:
        found = json.loads(done.stdout)
        return {key: str(found[key]) for key in asked}
    except (ValueError, KeyError, TypeError):
        # The end of a long command, which an operator would have no use for, is left out.
        raise ProcessError([command[0]], done) from None


def _user_mode(places: Places) -> Iterator[Finding]:
    network = _engine_network(places)
    alone = "the engine has a network namespace of its own: it reaches nothing"
    reaches = "this kernel gives an ordinary user no network namespace: the engine could reach the network"
    yield Finding("engine: network", network, alone if network else reaches)
    both = "the web and the engine run as you and may read and change what you may; "
    root = "an installation by root has separate users, a read-only system and limits of memory"
    yield Finding("users and files", False, both + root)


def _engine_network(places: Places) -> bool:
    """Tell whether the engine that runs has a network of its own; where none runs, whether the next will."""
    try:
        pid = (places.run / "engine.pid").read_text().split()[0]
        return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    except (OSError, IndexError):
        return bool(isolation.command())
