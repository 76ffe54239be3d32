"""Checks of what cannot be changed by a setting: processor, kernel, C library, interpreter, memory, limits."""

from checksums.manifest import Manifest
from installer.checks import Answer, Question, Subject, advice, gib, must, numbers
from installer.facts import Facts
from installer.wheel_tags import Host, glibc_of, misfits

# x86-64-v2: numpy's wheels (2.4 and later) start on nothing less.
BASELINE = {
    "x86_64": frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    "aarch64": frozenset({"asimd"}),
}
# What torch's fast paths are compiled for; without them it runs several times slower.
VECTORS = {"x86_64": frozenset({"avx2", "fma"}), "aarch64": frozenset({"asimddp"})}
# The oldest whose distribution is alive and was looked at: RHEL 8. glibc itself would take 3.2.
KERNEL = "4.18"
# PrivateNetwork, ProtectSystem and PrivateTmp of the units rest on these.
NAMESPACES = frozenset({"ipc", "mnt", "net", "user", "uts"})
# Where memory is short of this, other programs of the server push the weights out of it.
SPARE_MEMORY = 1.25
MIN_CORES = 2
MIN_OPEN_FILES = 1024
# The web takes 12 and the engine two a core; the rest is for what runs beside them.
MIN_TASKS = 256
# Address space is not memory: torch maps its libraries (1 GB) and thread stacks on top of what it uses.
ADDRESS_SPACE_BYTES = 4 << 30


@must
def architecture(facts: Facts, subject: Subject) -> Answer:
    found, needed = facts.machine.architecture, subject.manifest.target.platform
    return found == needed, found, needed, f"get a bundle built for {found}"


@must
def cpu(facts: Facts, _subject: Subject) -> Answer:
    wanted = BASELINE.get(facts.machine.architecture, frozenset())
    return _features(facts, wanted, "use a server, or a virtual CPU type, that has them")


@advice
def cpu_vectors(facts: Facts, _subject: Subject) -> Answer:
    wanted = VECTORS.get(facts.machine.architecture, frozenset())
    return _features(facts, wanted, "it runs, several times slower; a virtual machine may hide them: CPU type host")


@advice
def cores(facts: Facts, _subject: Subject) -> Answer:
    found = facts.machine.cores
    return found >= MIN_CORES, f"{found}", f"{MIN_CORES} or more", "pages are slow while the model writes; add a core"


@advice
def kernel(facts: Facts, _subject: Subject) -> Answer:
    found = facts.machine.kernel
    return numbers(found)[:2] >= numbers(KERNEL), found, f"{KERNEL} or newer", "Ferry was not tried on older ones"


@advice
def namespaces(facts: Facts, _subject: Subject) -> Answer:
    missing = sorted(NAMESPACES - facts.machine.namespaces)
    hint = "the units are kept apart less well; a kernel with namespaces mends it"
    return not missing, f"without {', '.join(missing)}" if missing else "all", ", ".join(sorted(NAMESPACES)), hint


@advice
def seccomp(facts: Facts, _subject: Subject) -> Answer:
    has = facts.machine.has_seccomp
    return has, "yes" if has else "no", "yes", "the units' SystemCallFilter does not hold; use a kernel with seccomp"


@must
def glibc(facts: Facts, subject: Subject) -> Answer:
    found, needed = facts.machine.glibc, subject.manifest.target.glibc
    hint = "get a bundle built for an older system"
    return bool(found) and numbers(found) >= numbers(needed), found or "none", f"{needed} or newer", hint


@must
def wheels(facts: Facts, subject: Subject) -> Answer:
    """Every wheel's own tag, whatever the bundle says as a whole."""
    manifest, machine = subject.manifest, facts.machine
    host = Host(manifest.target.python, machine.architecture, numbers(machine.glibc))
    files = [wheel.file.rpartition("/")[2] for wheel in manifest.wheels]
    wrong = misfits(files, host)
    found = f"{len(wrong)} of {len(files)} do not fit: {', '.join(wrong[:3])}" if wrong else f"all {len(files)} fit"
    needed = f"{host.architecture}, Python {host.python}, glibc {glibc_of(files) or 'any'}"
    return not wrong, found, needed, "get a bundle built for this server"


@must
def python(facts: Facts, subject: Subject) -> Answer:
    needed = subject.manifest.target.python
    found, hint = _python(facts, subject.manifest), f"name one with --python: Python {needed}"
    if facts.python and facts.python.problem:
        return False, f"{facts.python.program}: {facts.python.problem}", needed, hint
    return found.split(".")[:2] == needed.split("."), f"{found}{'' if facts.python else ', carried'}", needed, hint


@must
def python_build(facts: Facts, subject: Subject) -> Answer:
    if facts.python is None or facts.python.problem:
        return None
    needed = f"cpython-{subject.manifest.target.python.replace('.', '')}"
    # cpython-311-x86_64-linux-gnu; a debug build says 311d, one without the GIL 313t: no wheel here is for those.
    found = "-".join(facts.python.abi.split("-")[:2]) or facts.python.implementation
    is_other_version = facts.python.version.split(".")[:2] != subject.manifest.target.python.split(".")
    return found == needed or is_other_version, found, needed, "name an ordinary CPython with --python"


@must
def python_modules(facts: Facts, _subject: Subject) -> Answer:
    if facts.python is None or facts.python.problem:
        return None
    missing = ", ".join(facts.python.missing)
    hint = "install the rest of this Python (Debian: python3, not python3-minimal), or name another with --python"
    return not missing, f"without {missing}" if missing else "all", "its whole standard library", hint


@must
def memory(facts: Facts, subject: Subject) -> Answer:
    found, needed = facts.memory.total_bytes, _memory(facts, subject)
    text = f"{gib(needed)} for weights and context"
    return (
        found >= needed,
        gib(found),
        text,
        "take a smaller model, a larger server or a lower context_tokens",
    )


@advice
def memory_available(facts: Facts, subject: Subject) -> Answer:
    if subject.is_installed:
        return None
    found, needed = facts.memory.available_bytes, _memory(facts, subject)
    return found >= needed, f"{gib(found)} now", gib(needed), "other programs take it; see: ps aux --sort=-rss | head"


@must
def memory_limit(facts: Facts, subject: Subject) -> Answer:
    limit, needed = facts.memory.limit_bytes, _memory(facts, subject)
    found = "none" if limit is None else f"{gib(limit)} by a control group"
    return limit is None or limit >= needed, found, gib(needed), "raise the limit of this container or slice"


@must
def memory_overcommit(facts: Facts, subject: Subject) -> Answer:
    left, needed = facts.memory.committable_bytes, _memory(facts, subject)
    if left is None or subject.is_installed:
        return None
    hint = "set vm.overcommit_memory to 0, or raise vm.overcommit_ratio, with sysctl"
    return left >= needed, f"{gib(left)} may be promised", gib(needed), hint


@advice
def swap(facts: Facts, subject: Subject) -> Answer:
    comfortable = round(SPARE_MEMORY * _memory(facts, subject))
    swap, total = facts.memory.swap_bytes, facts.memory.total_bytes
    ok = swap > 0 or total >= comfortable
    found = f"{gib(swap)}, memory {gib(total)}"
    return ok, found, f"some, or {gib(comfortable)} of memory", "add a swap file, so that a peak kills nothing"


@advice
def control_groups(facts: Facts, subject: Subject) -> Answer:
    if subject.places.is_user:
        return None
    hint = "boot with systemd.unified_cgroup_hierarchy=1; until then MemoryMax and IPAddressDeny may not hold"
    return facts.memory.cgroup == "v2", facts.memory.cgroup, "v2", hint


@must
def file_size_limit(facts: Facts, subject: Subject) -> Answer:
    needed = max((file.size for file in subject.manifest.files), default=0)
    return _limit(facts.limits.file_bytes, needed, "ulimit -f unlimited")


@advice
def open_files(facts: Facts, subject: Subject) -> Answer:
    found = facts.limits.open_files
    ok = not subject.places.is_user or found is None or found >= MIN_OPEN_FILES
    hint = f"ulimit -n {MIN_OPEN_FILES}, before: ferry start; else many users at once are turned away"
    return ok, _text(found), f"{MIN_OPEN_FILES}", hint


@must
def address_space(facts: Facts, subject: Subject) -> Answer:
    if not subject.places.is_user:
        return None
    return _limit(
        facts.limits.address_space_bytes,
        ADDRESS_SPACE_BYTES + _memory(facts, subject),
        "ulimit -v unlimited",
    )


@must
def processes(facts: Facts, subject: Subject) -> Answer:
    found = facts.limits.processes
    ok = not subject.places.is_user or found is None or found >= MIN_TASKS
    return ok, _text(found), f"{MIN_TASKS}", f"ulimit -u {MIN_TASKS}"


@must
def tasks(facts: Facts, _subject: Subject) -> Answer:
    left = facts.limits.tasks_left
    ok = left is None or left >= MIN_TASKS
    return ok, f"{_text(left)} left", f"{MIN_TASKS}", "raise kernel.pid_max, or pids.max of this container"


def _features(facts: Facts, wanted: frozenset[str], hint: str) -> Answer:
    missing = sorted(wanted - facts.machine.cpu_flags)
    return not missing, f"without {' '.join(missing)}" if missing else "all", " ".join(sorted(wanted)) or "any", hint


def _memory(facts: Facts, subject: Subject) -> int:
    return subject.manifest.requires.ram_bytes + facts.room.context_bytes


def _python(facts: Facts, manifest: Manifest) -> str:
    return facts.python.version if facts.python else manifest.python.version


def _limit(found: int | None, needed: int, hint: str) -> Answer:
    return found is None or found >= needed, "none" if found is None else gib(found), gib(needed), hint


def _text(number: int | None) -> str:
    return "unlimited" if number is None else str(number)


MACHINE: tuple[Question, ...] = (
    architecture,
    cpu,
    cpu_vectors,
    cores,
    kernel,
    namespaces,
    seccomp,
    glibc,
    wheels,
    python,
    python_build,
    python_modules,
    memory,
    memory_available,
    memory_limit,
    memory_overcommit,
    swap,
    control_groups,
    file_size_limit,
    open_files,
    address_space,
    processes,
    tasks,
)
