"""Asks programs and account files: tools, versions, interpreters, users, what an earlier installation left."""

import json
import pwd
import re
import shutil
import socket
import stat
from pathlib import Path

from checksums import process
from checksums.errors import FerryError
from installer import isolation, journal, network, state, units
from installer.facts import Account, Earlier, Network, Python, System
from installer.places import Places
from installer.release import STAGING

TOOLS = (
    "ssh-keygen", "ssh", "sha256sum", "tar", "gzip", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "journalctl",
    "getent", "userdel", "groupdel", "unshare", "restorecon",
)  # fmt: skip
# Debian's minimal Python lacks some of them, and so does one that was compiled without its libraries.
MODULES = ("asyncio", "bz2", "ctypes", "lzma", "multiprocessing", "sqlite3", "ssl", "zlib")
PROBE = """
import importlib.util, json, platform, sys, sysconfig
def has(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True
print(json.dumps({
    "version": platform.python_version(), "implementation": sys.implementation.name,
    "abi": sysconfig.get_config_var("SOABI") or "", "missing": [n for n in sys.argv[1:] if not has(n)],
}))
"""
ASK_TIMEOUT_S = 20


def system(places: Places) -> System:
    """Return which programs are here and how this system keeps access."""
    tools = {name: path for name in TOOLS if (path := shutil.which(name))}
    return System(
        tools=tools,
        openssh=openssh_of(_said("ssh", "-V")) if "ssh" in tools else (),
        systemd=systemd_of(_said("systemctl", "--version")) if "systemctl" in tools else None,
        is_systemd_running=Path("/run/systemd/system").is_dir(),
        selinux=_selinux(),
        isolates_users=places.is_user and bool(isolation.command()),
        restricts_namespaces=_reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
        accounts=() if places.is_user else tuple(_accounts()),
    )


def python(program: Path) -> Python:
    """Ask an interpreter what it is."""
    real = program.resolve()
    reachable = _is_reachable(real)
    try:
        words: list[str | Path] = [program, "-I", "-B", "-c", PROBE, *MODULES]
        found = json.loads(process.run(words, timeout_s=ASK_TIMEOUT_S).stdout)
    except (FerryError, OSError, ValueError) as error:
        lines = str(getattr(error, "message", error)).splitlines()
        return Python(real, problem=lines[-1] if lines else "no answer", is_reachable=reachable)
    return Python(real, found["version"], found["implementation"], found["abi"], tuple(found["missing"]), "", reachable)


def network_of(listen: str | None) -> Network:
    """Return whether the wanted address can be listened at; None where Ferry itself does."""
    floor = _reads("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return Network(
        listen=listen,
        busy=network.why_busy(listen) if listen else "",
        has_loopback=_has_loopback(),
        port_floor=int(floor) if floor.isdigit() else 1024,
    )


def earlier(places: Places) -> Earlier:
    """Return what earlier installs left here, and whether the units belong to another prefix."""
    unit = units.SYSTEM / units.UNITS[0]
    try:
        found, problem = state.read(places), ""
    except (FerryError, OSError) as error:
        found, problem = None, str(getattr(error, "message", error))
    left = journal.path_of(places)
    scraps = [*places.prefix.glob(f"{STAGING}*"), *([left] if left.exists() else [])] if places.prefix.is_dir() else []
    return Earlier(
        other_prefix=units.prefix_of(unit.read_text()) if unit.is_file() else None,
        mode=found.mode if found else None,
        problem=problem,
        leftovers=tuple(sorted(path.name for path in scraps)),
    )


def openssh_of(said: str) -> tuple[int, ...]:
    """Read `OpenSSH_9.2p1 Debian-2, …` as (9, 2); () where it is something else."""
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else ()


def systemd_of(said: str) -> int | None:
    """Read `systemd 252 (252.39-1)` as 252."""
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else None


def _said(*words: str) -> str:
    """Return all that a program says; OpenSSH tells its version on standard error."""
    try:
        done = process.run(words, timeout_s=ASK_TIMEOUT_S, check=False)
    except (FerryError, OSError):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace")


def _reads(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _selinux() -> str:
    return {"1": "enforcing", "0": "permissive"}.get(_reads("/sys/fs/selinux/enforce"), "off")


def _accounts() -> list[Account]:
    found = []
    for name in units.USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        found.append(Account(name, entry.pw_dir, entry.pw_shell))
    return found


def _has_loopback() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError:
            return False
    return True


def _is_reachable(program: Path) -> bool:
    """Say whether everybody may pass through the folders of a program, and run it."""
    try:
        return all(place.stat().st_mode & stat.S_IXOTH for place in [program, *program.parents])
    except OSError:
        return False
