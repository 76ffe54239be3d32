"""Boot a real systemd with no network but `lo`: the isolated server of the end-to-end tests.

In: a root folder (tests/roots.py), perhaps what another container kept, and host folders to show inside, read-only.
Out: a Container to run commands in, to reboot, and to enter with the test's own sockets. Nothing outlives it: its
processes live in a PID namespace that dies with its first process, its mounts in a mount namespace, and both die with
this process, even by SIGKILL; the folders left by such a death are swept at the next start.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cgroups
from roots import CACHE, locked

MACHINES = CACHE / "machines"
REBOOT_STATUS = 133  # systemd-nspawn --keep-unit: "start me again" (EXIT_FORCE_RESTART)
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
CLONE_NEWNET = 0x40000000

NAMESPACES = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]

# Runs as the first process of its own PID and mount namespace. /run is covered so that nspawn's own notes stay in here
# too; the cgroups are this container's alone, else two containers' systemds would both take /payload for theirs.
BOOT = r"""
set -eu
folder=$1 root=$2 name=$3 kind=$4; shift 4
while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift
mount -t tmpfs tmpfs /run
[ "$kind" = copy ] || \
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" "$folder/merged"
exec systemd-nspawn --directory="$folder/merged" --machine="$name" --private-network --boot --register=no --keep-unit \
    --console=pipe --quiet --resolv-conf=off --timezone=off --link-journal=no --hostname=server "$@"
"""


class Container:
    """A booted Debian that sees no network. Use it in a `with`, or call `stop()` in a `finally`.

    Its disk begins as a root with these layers over it, the topmost first.
    """

    def __init__(self, *layers: Path) -> None:
        self.name = f"ferry-{os.getpid()}-{secrets.token_hex(3)}"
        self.folder = MACHINES / self.name
        MACHINES.mkdir(parents=True, exist_ok=True)
        with locked(MACHINES.with_suffix(".lock")):  # between its making and its locking, another's sweep would take it
            _sweep()
            self.folder.mkdir()
            self._lock = _lock(self.folder)
        for part in ("upper", "work", "merged"):
            (self.folder / part).mkdir()
        self._layers = layers
        self._binds: list[str] = []
        self._kind = "overlay" if _can_overlay(self.folder, self._lower) else "copy"
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def __enter__(self) -> Container:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def show(self, inside: str, host: Path) -> None:
        """From the next start on, show a host folder inside, read-only."""
        self._binds.append(f"--bind-ro={host}:{inside}")

    def start(self) -> None:
        """Boot, and return when systemd says that the system is up."""
        if self._kind == "copy" and not (self.folder / "merged/etc").exists():
            for layer in reversed(self._layers):
                subprocess.run(["cp", "-a", "--reflink=auto", f"{layer}/.", str(self.folder / "merged")], check=True)
        groups = [group / self.name for group in cgroups.hierarchies()]
        for group in groups:
            group.mkdir(exist_ok=True)
        boot = ["sh", "-c", BOOT, "boot", str(self.folder), self._lower, self.name, self._kind]
        command = ["setpriv", "--pdeathsig", "KILL", *NAMESPACES, *boot, *map(str, groups), "--", *self._binds]
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.leader = self._wait(self._find_leader, 20)
        self._wait(self._is_up, 60)

    def stop(self) -> None:
        """Switch off as a power cut would, and leave nothing behind."""
        if self._process is not None:
            _end(self._process, self.leader)
        cgroups.remove(self.name)
        shutil.rmtree(self.folder)
        os.close(self._lock)

    def reboot(self) -> None:
        """Reboot through systemd; what was written stays, /run and every process does not."""
        assert self._process is not None
        self.run(["systemctl", "reboot"])
        status = self._process.wait(60)
        if status != REBOOT_STATUS:
            raise RuntimeError(f"the container ended with {status} instead of rebooting:\n{self._console()}")
        cgroups.remove(self.name)
        self.start()

    def keep(self, folder: Path) -> None:
        """Switch off in good order, and move to `folder` what was written, a layer for other containers."""
        assert self._process is not None
        self.run(["systemctl", "poweroff"])
        status = self._process.wait(60)
        if status:
            raise RuntimeError(f"the container ended with {status} instead of switching off:\n{self._console()}")
        (self.folder / ("upper" if self._kind == "overlay" else "merged")).rename(folder)

    def power_cut(self) -> None:
        """Switch off as a power cut would, and boot again from the same disk."""
        assert self._process is not None
        _end(self._process, self.leader)
        cgroups.remove(self.name)
        self.start()

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: bytes | None = None,  # as subprocess.run calls it
        timeout_s: float = 120,
        under: Callable[[Sequence[str]], list[str]] = list,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside, with a clean environment; with `check`, a failure shows its output.

        `under` puts this host's own tracer before what enters the container.
        """
        environment = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        command = ["nsenter", "--target", str(self.leader), "--all", "env", "-i", *environment, *argv]
        done = subprocess.run(under(command), input=input or b"", capture_output=True, timeout=timeout_s, check=False)
        output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{output[-4000:]}\n{errors[-4000:]}")
        return subprocess.CompletedProcess(list(argv), done.returncode, output, errors)

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file inside, through the container's own view of its links."""
        script = 'umask 077; mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "put", path, f"{mode:o}"], input=content)

    def listing(self, *roots: str) -> dict[str, str]:
        """Return path -> type, mode, owner, link target and size of all that is below `roots` (default: the disk)."""
        script = r"""find "$@" -xdev -printf '%p\t%y %m %u:%g %l ' \( -type f -printf '%s\n' -o -printf '\n' \)"""
        out = self.run(["sh", "-c", script, "listing", *(roots or ("/",))]).stdout
        return dict(line.split("\t", 1) for line in out.splitlines())

    @contextmanager
    def network(self) -> Iterator[None]:
        """Put this thread's sockets, and the processes it starts, on the container's `lo` inside the block."""
        libc = ctypes.CDLL(None, use_errno=True)
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.leader}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(there, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns into the container's network")
            yield
        finally:
            libc.setns(here, CLONE_NEWNET)
            os.close(here)
            os.close(there)

    @property
    def _lower(self) -> str:
        return ":".join(map(str, self._layers))

    def _find_leader(self) -> int:
        """Return the container's systemd: process 1 of the innermost PID namespace in our cgroup."""
        for procs in (cgroups.hierarchies()[0] / self.name).rglob("cgroup.procs"):
            for pid in procs.read_text().split():
                if _is_container_init(Path("/proc") / pid):
                    return int(pid)
        return 0

    def _is_up(self) -> bool:
        state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        return state in ("running", "degraded")

    def _wait(self, probe: Callable[[], int], seconds: float) -> int:
        """Return the probe's first true answer; fail with the console's end when it died or took too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if found := probe():
                return found
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not boot:\n{self._console()}")

    def _console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")[-3000:]


def _end(process: subprocess.Popen[bytes], leader: int) -> None:
    """Kill the container's first process, so that nspawn and unshare reap and follow; failing that, kill from above."""
    try:
        if leader and process.poll() is None:
            os.kill(leader, signal.SIGKILL)
            process.wait(10)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    process.kill()
    process.wait()


def _is_container_init(proc: Path) -> bool:
    try:
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    except OSError:  # it ended meanwhile
        return False
    numbers = status["NSpid"].split()
    return len(numbers) > 2 and numbers[-1] == "1" and status["Name"] == "systemd"


def _can_overlay(folder: Path, lower: str) -> bool:
    """Tell whether an overlay over these can be mounted here; it cannot when the cache is itself on an overlay."""
    options = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
    mount = [*NAMESPACES, "mount", "-t", "overlay", "overlay", "-o", options, str(folder / "merged")]
    return subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _lock(folder: Path) -> int:
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _sweep() -> None:
    """Remove what a killed test run left on disk: the folders whose lock nobody holds."""
    for folder in MACHINES.iterdir():
        try:
            lock = _lock(folder)
        except OSError:  # in use
            continue
        cgroups.remove(folder.name)
        shutil.rmtree(folder)
        os.close(lock)
