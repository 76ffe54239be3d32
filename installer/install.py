"""The whole way of a bundle onto this server: a `Request` comes in, an `Outcome` goes out, or everything is as before.

Verify, examine, unpack while hashing, environment, then the switch. All of it is one transaction: only a release that
has answered a real question stays.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from checksums.errors import FerryError, IntegrityError, UsageError
from checksums.manifest import File, Manifest
from installer import (
    admin,
    environment,
    hardening,
    installed,
    interpreter,
    inventory,
    licence,
    lock,
    preflight,
    release,
    repair,
    rotation,
    settings,
    speed,
    state,
    status,
    switch,
    transaction,
)
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress
from installer.rotation import Rotation
from installer.state import State
from installer.verify import Discard, Trust, VerifiedBundle, copy_payload, open_bundle, open_file

ACCOUNT = "admin"


@dataclass(frozen=True)
class Request:
    """What the operator asked for; `python` is the interpreter to build on, `ask` a question to the terminal.

    `bundle` is one file, or parts of one in any order. With `is_host_python` an interpreter that the bundle carries is
    left alone: the operator named one. `deadline_s` is how long the release may take until it has answered,
    `is_watched` says that somebody sits before the terminal.
    """

    bundle: Sequence[Path]
    places: Places
    trust: Trust
    python: Path
    listen: str | None = None
    accept_license: bool = False
    dry_run: bool = False
    ask: Callable[[str], bool] | None = None
    is_host_python: bool = False
    accept_signers: str | None = None
    deadline_s: float | None = None
    is_watched: bool = False


@dataclass(frozen=True)
class Plan:
    """What an install would do; `before` is what runs now, `base` where this server has what a delta leaves out.

    `signers` names the list of keys that the bundle brings.
    """

    release: str
    version: str
    before: State | None
    listen: str
    new_bytes: int
    is_same: bool
    base: Mapping[str, Path] = field(default_factory=dict)
    signers: str = ""


@dataclass(frozen=True)
class Outcome:
    """What an install did; `password` only where it made the first account; `mended` is how much was damaged."""

    release: str
    version: str
    is_changed: bool
    is_same: bool = False
    listen: str | None = None
    url: str | None = None
    user: str | None = None
    password: str | None = None
    rotation: Rotation | None = None
    mended: int = 0


def install(request: Request, progress: Progress, show: Callable[[str], object]) -> Outcome:
    """Install, or upgrade to, what the bundle carries; `show` is told what the operator has to read.

    Raises:
        UsageError: no such bundle, or the licence was not accepted.
        IntegrityError: the bundle is damaged, not trusted, or older than what was installed.
        HostError: this server cannot run it, or lacks what a delta leaves out.
        HealthError: the release did not answer; what was before is back.
    """
    with open_file(request.bundle) as stream:
        progress.step("verifying the signed head of the bundle")
        bundle = open_bundle(stream, request.trust)
        rotation.demand_digest(bundle, request.accept_signers)
        if not request.dry_run:
            transaction.recover(request.places, progress)
        plan = make_plan(bundle, request)
        if plan.is_same:
            return _keep(bundle, request, plan, progress)
        plan = replace(plan, base=inventory.find(bundle, request.places, progress))
        progress.step("examining this server")
        checks = preflight.examine(_subject(bundle, request, plan))
        preflight.demand(checks)
        for line in preflight.warnings(checks):
            show(line)
        show(licence.describe(bundle.manifest, request.bundle[0], plan.base))
        if request.dry_run:
            with progress.bar("verifying every file", _payload_bytes(bundle)) as on_bytes:
                copy_payload(bundle, lambda _: Discard(), on_bytes)
            show(describe(plan, request.places))
            return Outcome(plan.release, plan.version, is_changed=False)
        licence.accept(bundle.manifest, request.bundle[0], plan.base, request.accept_license, request.ask)
        outcome = _carry_out(bundle, request, plan, progress)
    try:
        _tell(bundle.manifest, request, progress, show)
    except (FerryError, OSError) as error:
        # It runs, whatever could not be tried out.
        show(f"warning: {error}")
    return outcome


def _tell(manifest: Manifest, request: Request, progress: Progress, show: Callable[[str], object]) -> None:
    """Say what holds on this server, and to whoever waits for it what speed to expect."""
    progress.step("trying out what the units forbid")
    for line in hardening.lines(hardening.probe(request.places)):
        show(line)
    if request.is_watched:
        progress.step("measuring how fast memory is read (3 seconds)")
        show(speed.expect(manifest, request.places).text)


def make_plan(bundle: VerifiedBundle, request: Request) -> Plan:
    """Compare the bundle with what is installed.

    Raises:
        IntegrityError: it is older, or has the same sequence and other content.
        UsageError: it was installed in the other mode, or the prefix cannot be a folder.
    """
    places, manifest = request.places, bundle.manifest
    _check_prefix(places.prefix)
    name, before = release.name_of(bundle), state.read(places)
    if before and before.mode != places.mode:
        raise UsageError(f"{places.prefix}: installed in {before.mode} mode", "use the same mode, or another --prefix")
    if before and name not in {before.release, before.newest} and manifest.sequence <= before.sequence:
        what = "older than" if manifest.sequence < before.sequence else "not the same as, but numbered like,"
        raise IntegrityError(
            f"sequence {manifest.sequence}: {what} what was installed here ({before.release})",
            "get a newer bundle; to go back to the release before: ferry rollback",
        )
    listen = settings.listen_of(places, request.listen)
    is_same = before is not None and before.release == name
    signers = rotation.digest(bundle)
    return Plan(name, manifest.version, before, listen, _new_bytes(bundle, places), is_same, signers=signers)


def _check_prefix(prefix: Path) -> None:
    there = next(path for path in (prefix, *prefix.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UsageError(f"{there}: is there and is no folder", "choose another --prefix")


def describe(plan: Plan, places: Places) -> str:
    """Return the plan as text for the operator."""
    before = plan.before.release if plan.before else "nothing"
    return "\n".join(
        [
            f"would install {plan.release} below {places.prefix} ({places.mode} mode); installed now: {before}",
            f"would listen on {plan.listen}, and take {plan.new_bytes / preflight.GIB:.2f} GiB of disk",
            f"settings: {places.etc}, data: {places.data}, log: {places.log}, command: {places.wrapper}",
            *([f"{rotation.BRINGS}: {plan.signers}"] if plan.signers else []),
            "changed: nothing (--dry-run)",
        ]
    )


def _subject(bundle: VerifiedBundle, request: Request, plan: Plan) -> preflight.Subject:
    # Where an installation is, Ferry itself listens at its address.
    listen = None if plan.before else plan.listen
    is_carried = _carried(bundle, request) is not None
    return preflight.Subject(bundle.manifest, request.places, listen, plan.new_bytes, is_carried, python=request.python)


def _carried(bundle: VerifiedBundle, request: Request) -> File | None:
    """Return the interpreter archive that the release will run on; None where it is one of the server's."""
    return None if request.is_host_python else interpreter.carried(bundle.manifest)


def _python(bundle: VerifiedBundle, request: Request) -> Path:
    """Return the interpreter that the release will run on."""
    file = _carried(bundle, request)
    return interpreter.program(file, request.places, bundle.manifest.target.python) if file else request.python


def _new_bytes(bundle: VerifiedBundle, places: Places) -> int:
    """Return what the release takes on disk beyond what the store has."""
    there = sum(file.size for file in bundle.manifest.files if places.stored(file.sha256).is_file())
    return max(0, bundle.manifest.requires.disk_bytes - there)


def _payload_bytes(bundle: VerifiedBundle) -> int:
    return sum(file.size for file in bundle.payload)


def _keep(bundle: VerifiedBundle, request: Request, plan: Plan, progress: Progress) -> Outcome:
    """Mend what is installed; the list of keys that came with it may have been declined before."""
    brought, mended = None, 0
    if plan.before and not request.dry_run:
        mended = len(repair.mend(request.places, plan.before, bundle, progress).problems)
    if rotation.digest(bundle) and not request.dry_run:
        with lock.exclusive(request.places.prefix):
            brought = rotation.offer(bundle, request.places, request.ask, request.accept_signers)
    url = status.url_of(request.places)
    return Outcome(
        plan.release, plan.version, is_changed=mended > 0, is_same=True, url=url, rotation=brought, mended=mended
    )


def _carry_out(bundle: VerifiedBundle, request: Request, plan: Plan, progress: Progress) -> Outcome:
    places = request.places
    # The services read what is made here, whatever the operator's umask.
    os.umask(0o022)
    with transaction.begin(places, "upgrade" if plan.before else "install", progress) as changes:
        if state.read(places) != plan.before:
            raise FerryError(f"{places.prefix}: changed meanwhile", "try again")
        outcome = _change(bundle, request, plan, changes, progress)
    with lock.exclusive(places.prefix):
        # At a first install the operator has just said whom to trust.
        ask = request.ask if plan.before else None
        brought = rotation.offer(bundle, places, ask, request.accept_signers)
    return replace(outcome, rotation=brought)


def _change(bundle: VerifiedBundle, request: Request, plan: Plan, changes: Changes, progress: Progress) -> Outcome:
    places, before = request.places, plan.before
    changes.undo("prune", switch.kept(before))
    staging = release.stage(places)
    made = _lay_down(bundle, request, plan, staging, changes, progress)
    target = switch.Target(made, plan.listen, request.trust, request.deadline_s)
    with release.clearing(staging):
        url = switch.switch(places, target, before, changes, progress)
    user, password = (None, None) if before else _first_account(places)
    python = str(_python(bundle, request))
    previous, sequence = before.release if before else None, bundle.manifest.sequence
    now = State(places.mode, plan.release, plan.version, sequence, python, previous, newest=plan.release)
    changes.file(places.state, state.render(now))
    changes.finish("prune", switch.kept(now))
    return Outcome(
        plan.release, plan.version, is_changed=True, listen=plan.listen, url=url, user=user, password=password
    )


def _lay_down(
    bundle: VerifiedBundle, request: Request, plan: Plan, staging: Path, changes: Changes, progress: Progress
) -> Path:
    """Put the release and its environment below the prefix; nothing that runs uses them yet."""
    places, manifest = request.places, bundle.manifest
    with progress.bar("unpacking and verifying", _payload_bytes(bundle)) as on_bytes:
        target = release.unpack(bundle, places, staging, plan.base, on_bytes)
    rotation.demand_list(target)
    if file := _carried(bundle, request):
        progress.step(f"unpacking Python {manifest.python.version}")
        interpreter.make(file, places, staging, target, manifest.target.python, changes)
    progress.step("making the Python environment, offline")
    final, python = places.release(plan.release), _python(bundle, request)
    with environment.compiling_app(python, target / "app", final / "app"):
        venv = environment.make(manifest, places, staging, target, python, changes)
    (target / "venv").symlink_to(Path("../../venvs", venv.name))
    progress.step("compiling the engine for this processor")
    if reason := environment.add_kernels(venv, target / "app", places):
        progress.step(f"warning: that failed, answers will be slower: {reason}")
    installed.record(target, manifest)
    release.publish(places, staging, target, plan.release, changes)
    # From here on the new files may be relied upon: a power cut must not lose what `current` will point to.
    os.sync()
    return final


def _first_account(places: Places) -> tuple[str | None, str | None]:
    """Make the first account, unless the data of an earlier installation has accounts already."""
    if admin.ask(places, "user", "list").get("users"):
        return None, None
    made = admin.ask(places, "user", "add", ACCOUNT, "--role", "administrator")
    return str(made["user"]), str(made["password"])
