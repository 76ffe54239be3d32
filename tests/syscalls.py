"""Watch the system calls of processes with strace, and read out of its log who was called and what was read of a file.

In: a command to run under strace, or a process whose children to follow. Out: the addresses that anybody spoke to, and
the ranges of a file that were read, before and after a program had ended well.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NETWORK = "connect,sendto,sendmsg,sendmmsg"
READING = "execve,openat,lseek,read,readv,pread64,preadv,preadv2,mmap,sendfile,splice,copy_file_range,dup,dup2,dup3"
ADDRESS = re.compile(r"\{sa_family=(AF_\w+)([^}]*)\}")
# inet_addr("127.0.0.1") and inet_pton(AF_INET6, "::1", &sin6_addr) as strace prints them
LOOPBACK = re.compile(r'"(127\.[0-9.]+|::1|::ffff:127\.[0-9.]+)"')
# Netlink asks this machine's own kernel about itself; systemd and the C library do, and it goes nowhere.
LOCAL = {"AF_UNIX", "AF_NETLINK", "AF_UNSPEC"}
LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += +(-?\d+)")
FINISHED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")


@dataclass(frozen=True)
class Call:
    """One system call that has returned: who, which, with what, and the result."""

    process: int
    name: str
    arguments: str
    result: int


def tracing(log: Path, calls: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs another one, and all that it starts, under strace."""
    how = ["--follow-forks", "--seccomp-bpf", "--decode-fds=path", "--string-limit=12", "--quiet=attach,personality"]
    return ["strace", *how, f"--trace={calls}", f"--output={log}", *argv]


@contextmanager
def following(process: int, log: Path) -> Iterator[None]:
    """Trace, inside the block, whom a process and everything that it starts in that time speaks to."""
    command = ["strace", "--follow-forks", f"--trace={NETWORK}", f"--output={log}", f"--attach={process}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        try:
            assert strace.stderr is not None
            assert "attached" in strace.stderr.readline()
            yield
        finally:
            strace.send_signal(signal.SIGINT)


def calls(log: Path) -> Iterator[Call | int]:
    """Yield every call in the order in which they returned, and the number of a process that ended well."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        who = line.partition(" ")[0]
        if line.endswith(" <unfinished ...>"):
            begun[who] = line.removesuffix(" <unfinished ...>")
            continue
        if resumed := FINISHED.match(line):
            line = begun.pop(who, f"{who} {resumed[2]}(") + resumed[3]
        if "+++ exited with 0 +++" in line:
            yield int(who)
        elif found := LINE.match(line):
            yield Call(int(found[1]), found[2], found[3], int(found[4]))


def spoken_to(log: Path) -> dict[str, int]:
    """Return the addresses outside this machine that anybody tried to reach, and how often each kind was spoken to."""
    seen: dict[str, int] = {}
    for call in calls(log):
        for family, rest in ADDRESS.findall(call.arguments) if isinstance(call, Call) and call.name in NETWORK else ():
            is_local = family in LOCAL or LOOPBACK.search(rest)
            name = family if is_local else f"outside: {family}{rest}"
            seen[name] = seen.get(name, 0) + 1
    return seen


@dataclass
class Reads:
    """How much of a file was read: in all, and up to which byte before the gate opened."""

    total_bytes: int = 0
    farthest_before: int = 0
    is_open: bool = False


FD = re.compile(r"^(\d+)<([^>]*)>")
HUGE = 1 << 62  # a read from nobody knows where


def reads_of(log: Path, file: str, gate: str) -> Reads:
    """Follow every read of the file of this name; the gate opens when a program called with that word ends well."""
    seen, waiting, places = Reads(), set[int](), dict[tuple[int, str], int]()
    for call in calls(log):
        if isinstance(call, int):
            seen.is_open = seen.is_open or call in waiting
        elif call.name == "execve" and gate in call.arguments:
            waiting.add(call.process)
        elif call.result >= 0 and (f"{file}>" in call.arguments or _opens(call, file)):
            _note(seen, call, places)
    return seen


def _opens(call: Call, file: str) -> bool:
    return call.name == "openat" and f'{file}"' in call.arguments


def _note(seen: Reads, call: Call, places: dict[tuple[int, str], int]) -> None:
    found = FD.match(call.arguments)
    here = (call.process, found[1] if found else "")
    if call.name == "openat":
        places[call.process, str(call.result)] = 0
    elif call.name.startswith("dup"):
        places[call.process, str(call.result)] = places.get(here, HUGE)
    elif call.name == "lseek":
        places[here] = call.result
    elif call.name == "mmap":
        _count(seen, HUGE, int(call.arguments.split(", ")[1]))
    elif call.name.startswith("pread"):
        _count(seen, int(call.arguments.rsplit(", ", 1)[1]), call.result)
    elif call.name != "execve":
        at = places.get(here, HUGE)
        places[here] = at + call.result
        _count(seen, at, call.result)


def _count(seen: Reads, at: int, size_bytes: int) -> None:
    seen.total_bytes += size_bytes
    if not seen.is_open and size_bytes:
        seen.farthest_before = max(seen.farthest_before, at + size_bytes)
