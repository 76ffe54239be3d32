"""Run inside a unit's sandbox: try what it is to forbid, and print as JSON what was possible all the same.

In: one argument, JSON of directives and their values as the unit has them. Out: for each of them "" where it holds, and
else what was found. Standard library only: installer/hardening.py hands it to the release's own interpreter, on
standard input. What is tried is harmless where it succeeds.
"""

import errno
import json
import mmap
import os
import resource
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PER_LINUX32 = 8
PTRACE_PEEKTEXT = 1
FAMILIES = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
POSSIBLE, UNTRIED = "it was possible", "could not be tried"
# cgroup v2 writes "max"; v1 the largest number of whole pages.
NO_LIMIT = (1 << 63) - (1 << 16)


def refused(deed: Callable[[], object], *reasons: int) -> str:
    """Return "" where the deed is refused, and for one of the reasons if any are named."""
    try:
        deed()
    except OSError as error:
        return "" if not reasons or error.errno in reasons else f"only refused by: {error.strerror}"
    return POSSIBLE


def first(*findings: str) -> str:
    return next((finding for finding in findings if finding), "")


def call(name: str, *arguments: int) -> None:
    """Call a function of the C library, in a process that ends with it. Raises: OSError."""
    child = os.fork()
    if child == 0:
        os._exit(_call(name, *arguments))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        raise RuntimeError(f"signal {-status}")
    if status:
        raise OSError(status, os.strerror(status))


def _call(name: str, *arguments: int) -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if getattr(libc, name)(*arguments) == -1 else 0


def private_network(_: str) -> str:
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    others = [name for line in lines if (name := line.partition(":")[0].strip()) != "lo"]
    return f"the interfaces {', '.join(others)} are there" if others else ""


def address_families(allowed: str) -> str:
    def can_open(family: str) -> bool:
        kind = socket.SOCK_RAW if family in {"AF_NETLINK", "AF_PACKET"} else socket.SOCK_STREAM
        # Without the filter a raw packet socket is refused too, but as EPERM.
        return bool(refused(lambda: socket.socket(getattr(socket, family), kind).close(), errno.EAFNOSUPPORT))

    opened = [family for family in FAMILIES if family not in allowed.split() and can_open(family)]
    return f"sockets of {', '.join(opened)} are not forbidden" if opened else ""


def address_filter(_: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return refused(lambda: one.sendto(b"x", one.getsockname()), errno.EPERM)


def read_only_system(_: str) -> str:
    def write(folder: str) -> None:
        descriptor, path = tempfile.mkstemp(prefix=".ferry-probe-", dir=folder)
        os.close(descriptor)
        Path(path).unlink()

    for folder in ("/etc", "/usr", "/var", str(Path.cwd())):
        # By EACCES it is the file's own rights that forbid it; they are for others to check.
        if found := refused(lambda folder=folder: write(folder), errno.EROFS):  # type: ignore[misc]
            return f"{folder} is not read-only ({found})"
    return ""


def hidden_homes(_: str) -> str:
    return first(*(f"{home} can be seen" for home in ("/home", "/root") if _is_visible(home)))


def hidden_paths(paths: str) -> str:
    return first(*(f"{path} can be seen" for path in paths.split() if _is_visible(path)))


def _is_visible(path: str) -> bool:
    """Tell whether a folder is the host's own: what systemd puts over it has no rights for anybody."""
    try:
        return bool(stat.S_IMODE(Path(path).stat().st_mode))
    except OSError:
        return False


def other_processes(_: str) -> str:
    return "process 1 can be seen" if Path("/proc/1").exists() else ""


def kernel_tunables(_: str) -> str:
    # Not by writing: the rights of its files are looked at before the mount is, and forbid it to all but root.
    tunables = Path("/proc/sys")
    is_writable = tunables.exists() and not os.statvfs(tunables).f_flag & os.ST_RDONLY
    return "/proc/sys is not read-only" if is_writable else ""


def clock(_: str) -> str:
    # A time that no kernel sets: without the filter it is refused as EINVAL.
    return refused(lambda: time.clock_settime(time.CLOCK_REALTIME, -1.0), errno.EPERM)


def private_tmp(_: str) -> str:
    points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return "" if {"/tmp", "/var/tmp"} <= points else "/tmp is everybody's"


def private_devices(_: str) -> str:
    nodes = [Path(entry.path) for entry in os.scandir("/dev")]
    bad = [str(node) for node in nodes if node.name in {"mem", "kmsg", "port", "kmem"} or node.is_block_device()]
    return f"{', '.join(sorted(bad)[:3])} can be seen" if bad else ""


def namespaces(_: str) -> str:
    return first(refused(lambda: call("unshare", CLONE_NEWUSER)), refused(lambda: call("unshare", CLONE_NEWNET)))


def setuid_files(_: str) -> str:
    with tempfile.NamedTemporaryFile() as file:
        return refused(lambda: os.fchmod(file.fileno(), 0o4700))


def personality(_: str) -> str:
    return refused(lambda: call("personality", PER_LINUX32))


def executable_memory(_: str) -> str:
    return refused(lambda: mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close())


def no_new_privileges(_: str) -> str:
    return "" if _status("NoNewPrivs") == "1" else "the kernel does not say so"


def capabilities(_: str) -> str:
    sets = [f"{name}={found}" for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb") if int(found := _status(name), 16)]
    return ", ".join(sets)


def system_calls(_: str) -> str:
    if _status("Seccomp") != "2":
        return "no filter is active"
    # Without the filter process 0 is refused as one that is not there.
    return first(refused(lambda: call("ptrace", PTRACE_PEEKTEXT, 0, 0, 0), errno.EPERM))


def open_files(wanted: str) -> str:
    found = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return "" if found >= int(wanted) else f"it is {found}"


def memory(wanted: str) -> str:
    return _group_limit("memory", ("memory.max", "memory.limit_in_bytes"), _bytes(wanted))


def tasks(wanted: str) -> str:
    return _group_limit("pids", ("pids.max", "pids.max"), int(wanted))


def _bytes(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def _status(name: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "0")


def _group_limit(controller: str, names: tuple[str, str], wanted: int) -> str:
    """Compare a limit with what the kernel's own files say, cgroups(7)."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in {"", controller} or controller in controllers.split(","):
            is_unified = not controllers
            for mount in _mounts(controller, is_unified):
                file = Path(mount + path) / names[0 if is_unified else 1]
                if file.is_file():
                    found = file.read_text().strip()
                    limit = int(found) if found.isdigit() else NO_LIMIT
                    return "" if limit <= wanted else f"{file}: {'no limit' if limit >= NO_LIMIT else found}"
    return f"the {controller} controller is not systemd's (cgroup v1, or not delegated)"


def _mounts(controller: str, is_unified: bool) -> list[str]:
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    if is_unified:
        return [line[1] for line in lines if line[2] == "cgroup2"]
    return [line[1] for line in lines if line[2] == "cgroup" and controller in line[3].split(",")]


PROBES: dict[str, Callable[[str], str]] = {
    "PrivateNetwork": private_network,
    "RestrictAddressFamilies": address_families,
    "IPAddressDeny": address_filter,
    "ProtectSystem": read_only_system,
    "ProtectHome": hidden_homes,
    "InaccessiblePaths": hidden_paths,
    "ProtectProc": other_processes,
    "ProtectKernelTunables": kernel_tunables,
    "ProtectClock": clock,
    "PrivateTmp": private_tmp,
    "PrivateDevices": private_devices,
    "RestrictNamespaces": namespaces,
    "RestrictSUIDSGID": setuid_files,
    "LockPersonality": personality,
    "MemoryDenyWriteExecute": executable_memory,
    "NoNewPrivileges": no_new_privileges,
    "CapabilityBoundingSet": capabilities,
    "SystemCallFilter": system_calls,
    "LimitNOFILE": open_files,
    "MemoryMax": memory,
    "TasksMax": tasks,
}


def examine(name: str, value: str) -> str:
    """Run one probe; one that cannot run has found nothing that holds."""
    try:
        return PROBES[name](value)
    except Exception as error:
        return f"{UNTRIED}: {error}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: examine(name, value) for name, value in json.loads(sys.argv[1]).items()}))
