"""Checks of what an administrator set up: rights, systemd, programs, clock, access control, users, the address."""

from datetime import datetime, timezone

from checksums.manifest import TIME_FORMAT
from installer import directives
from installer.checks import ADVICE, MUST, Answer, Question, Subject, advice, must
from installer.checks_disk import HIDDEN
from installer.facts import Account, Facts

# ssh-keygen -Y verify came with 8.1; dates in allowed_signers with 8.7.
OPENSSH, OPENSSH_DATES = (8, 1), (8, 7)
# No Ferry is older.
FIRST_DAY = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()
# A build host's clock may be somewhat ahead, and on another side of midnight.
CLOCK_SLACK_S = 86_400
OUR_HOMES = frozenset({"/var/lib/ferry", "/var/cache/ferry"})
NO_LOGIN = frozenset({"nologin", "false", "true", "sync", ""})


@must
def root(facts: Facts, subject: Subject) -> Answer:
    euid = facts.machine.euid
    found = "root" if euid == 0 else f"user id {euid}"
    return None if subject.places.is_user else (euid == 0, found, "root", "run it with sudo, or add --user-mode")


@must
def systemd(facts: Facts, subject: Subject) -> Answer:
    runs = facts.system.is_systemd_running
    found = "running" if runs else "not running"
    return None if subject.places.is_user else (runs, found, "running", "or add --user-mode")


@must
def systemd_version(facts: Facts, subject: Subject) -> Answer:
    version = facts.system.systemd
    if subject.places.is_user or version is None:
        return None
    hint = "the units would not be kept apart; upgrade the system, or add --user-mode"
    return version >= directives.OLDEST, str(version), f"{directives.OLDEST} or newer", hint


@advice
def systemd_directives(facts: Facts, subject: Subject) -> Answer:
    version = facts.system.systemd
    if subject.places.is_user or version is None:
        return None
    ignored = directives.unknown_to(version)
    found = f"{version} ignores {', '.join(ignored)}" if ignored else f"{version} knows all"
    return not ignored, found, f"{directives.newest()} or newer", "these do not hold; the rest does"


@advice
def user_isolation(facts: Facts, subject: Subject) -> Answer:
    if not subject.places.is_user:
        return None
    ok = facts.system.isolates_users
    hint = "the engine could reach the network; sysctl kernel.unprivileged_userns_clone=1, or install as root"
    return ok, "a network of its own" if ok else "none", "a network of its own for the engine", hint


@advice
def apparmor(facts: Facts, subject: Subject) -> Answer:
    if not subject.places.is_user:
        return None
    ok = not facts.system.restricts_namespaces
    hint = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or install as root"
    found = "users may make namespaces" if ok else "users may not make namespaces"
    return ok, found, "users may make namespaces", hint


@advice
def selinux(facts: Facts, _subject: Subject) -> Answer:
    found, has_tool = facts.system.selinux, "restorecon" in facts.system.tools
    ok = found != "enforcing" or has_tool
    return ok, found, "off, or with restorecon to label files", "install policycoreutils"


@advice
def openssh_dates(facts: Facts, _subject: Subject) -> Answer:
    return _openssh(facts, OPENSSH_DATES, "trusted keys with a last day of use need it")


@must
def openssh(facts: Facts, _subject: Subject) -> Answer:
    return _openssh(facts, OPENSSH, "its ssh-keygen cannot verify signatures; upgrade OpenSSH")


@advice
def clock(facts: Facts, _subject: Subject) -> Answer:
    now = facts.machine.now
    return now >= FIRST_DAY, _day(now), f"{_day(FIRST_DAY)} or later", "set it: timedatectl set-time 'YYYY-MM-DD HH:MM'"


@advice
def clock_after_build(facts: Facts, subject: Subject) -> Answer:
    made = datetime.strptime(subject.manifest.created, TIME_FORMAT).replace(tzinfo=timezone.utc).timestamp()
    now = facts.machine.now
    hint = "logins and the audit log get wrong times; set it: timedatectl set-time 'YYYY-MM-DD HH:MM'"
    return now >= made - CLOCK_SLACK_S, _day(now), f"{_day(made)} or later, when the bundle was made", hint


@advice
def umask(facts: Facts, _subject: Subject) -> Answer:
    mask = facts.machine.umask
    return mask & 0o002 != 0, f"{mask:04o}", "new files are not writable by everybody", "umask 022"


@must
def python_place(facts: Facts, subject: Subject) -> Answer:
    """ProtectHome= and PrivateTmp= hide homes from the units, and their users pass only where everybody may."""
    if subject.places.is_user or facts.python is None or facts.python.problem:
        return None
    program = facts.python.program
    ok = facts.python.is_reachable and not any(program.is_relative_to(place) for place in HIDDEN)
    needed = "a place that the service's users reach, not a home or /tmp"
    return ok, str(program), needed, "name another with --python, for example one below /usr or /opt"


@must
def other_installation(facts: Facts, subject: Subject) -> Answer:
    if subject.places.is_user:
        return None
    other = facts.earlier.other_prefix
    ok = other in {None, str(subject.places.prefix)}
    return ok, other or "none", "none", f"uninstall it first, or: --prefix {other}"


@must
def earlier_mode(facts: Facts, subject: Subject) -> Answer:
    found, needed = facts.earlier.mode, subject.places.mode
    if found is None:
        return None
    return found == needed, f"{found} mode", f"{needed} mode", "use the same mode as before, or another --prefix"


@must
def state(facts: Facts, _subject: Subject) -> Answer:
    problem = facts.earlier.problem
    hint = "install the same bundle again into another --prefix, or restore state.json from a backup"
    found = problem or (f"installed in {facts.earlier.mode} mode" if facts.earlier.mode else "nothing installed")
    return not problem, found, "readable, or nothing installed", hint


@advice
def leftovers(facts: Facts, _subject: Subject) -> Answer:
    found = ", ".join(facts.earlier.leftovers)
    hint = "of a change that was cut off, or still goes on; to take it back or finish it: ferry recover"
    return not found, found or "none", "none", hint


@must
def users(facts: Facts, subject: Subject) -> Answer:
    """A person's account of the same name would own the conversations."""
    if subject.places.is_user:
        return None
    foreign = [account for account in facts.system.accounts if _is_foreign(account)]
    found = ", ".join(f"{one.name} with home {one.home}, shell {one.shell}" for one in foreign)
    return not foreign, found or "free, or Ferry's", "no one else's ferry or ferry-engine", "rename that account"


@must
def listen(facts: Facts, _subject: Subject) -> Answer:
    network = facts.network
    if network.listen is None:
        return None
    hint = "stop what listens there, or choose another address: --listen ADDRESS:PORT"
    return not network.busy, f"{network.listen}: {network.busy or 'free'}", "a free address", hint


@must
def privileged_port(facts: Facts, subject: Subject) -> Answer:
    """Root may bind it here and now; the web runs as a user without any capability and may not."""
    network = facts.network
    port = (network.listen or "").rpartition(":")[2]
    if subject.places.is_user or not port.isdigit():
        return None
    hint = "choose a higher port and put nginx in front, or lower net.ipv4.ip_unprivileged_port_start"
    return int(port) >= network.port_floor, f"port {port}", f"{network.port_floor} or higher", hint


@must
def loopback(facts: Facts, _subject: Subject) -> Answer:
    ok = facts.network.has_loopback
    return ok, "up" if ok else "127.0.0.1 cannot be used", "up", "ip link set lo up"


def _tool(name: str, package: str, severity: str = MUST, is_for_root: bool = False) -> Question:
    def ask(facts: Facts, subject: Subject) -> Answer:
        if is_for_root and subject.places.is_user:
            return None
        found = facts.system.tools.get(name)
        return found is not None, found or "none", "any", f"install {package}"

    return Question(name, severity, ask)


def _openssh(facts: Facts, needed: tuple[int, int], hint: str) -> Answer:
    found = facts.system.openssh
    return (found >= needed, ".".join(map(str, found)), f"{needed[0]}.{needed[1]} or newer", hint) if found else None


def _is_foreign(account: Account) -> bool:
    return account.home not in OUR_HOMES and account.shell.rpartition("/")[2] not in NO_LOGIN


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%d")


SYSTEM: tuple[Question, ...] = (
    root,
    systemd,
    systemd_version,
    systemd_directives,
    _tool("systemctl", "systemd", is_for_root=True),
    _tool("systemd-sysusers", "systemd (openSUSE: sysuser-tools)", is_for_root=True),
    _tool("systemd-tmpfiles", "systemd", is_for_root=True),
    _tool("journalctl", "systemd", ADVICE, is_for_root=True),
    _tool("getent", "libc-bin (RHEL: glibc-common)", is_for_root=True),
    _tool("userdel", "passwd (RHEL: shadow-utils); uninstall --purge wants it", ADVICE, is_for_root=True),
    _tool("ssh-keygen", "openssh-client (RHEL: openssh)"),
    _tool("sha256sum", "coreutils"),
    _tool("tar", "tar"),
    _tool("gzip", "gzip; a bundle with its own Python wants it", ADVICE),
    user_isolation,
    apparmor,
    selinux,
    openssh,
    openssh_dates,
    clock,
    clock_after_build,
    umask,
    python_place,
    other_installation,
    earlier_mode,
    state,
    leftovers,
    users,
    listen,
    privileged_port,
    loopback,
)
