"""Mend an installation: what `verify` finds comes in, and everything is restored, or nothing is changed.

What is whole somewhere on this server, or follows from it, needs no bundle. All of it is one transaction. Where
something changed that the service uses, it is started again and has to answer a question; and `verify` must find
nothing more.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from checksums.errors import FerryError, HealthError, IntegrityError
from installer import (
    admin,
    areas,
    installed,
    interpreter,
    release,
    remedy,
    renewal,
    starting,
    state,
    transaction,
    wrapper,
)
from installer.areas import HOST, RELEASE, STORE
from installer.files import Changes
from installer.host import host_of
from installer.installed import Finding, Problem
from installer.places import Places
from installer.progress import Progress
from installer.remedy import Plan
from installer.renewal import APP, Restorer
from installer.state import State
from installer.trees import FOLDER, LINK
from installer.verify import VerifiedBundle

# A short answer, on a slow machine.
SELFTEST_TIMEOUT_S = 300


@dataclass(frozen=True)
class Outcome:
    """What was mended; `url` where the service was started again for it."""

    release: str
    version: str
    problems: tuple[Problem, ...]
    url: str | None = None


def repair(
    places: Places,
    current: State,
    bundle: VerifiedBundle | None,
    progress: Progress,
    is_dry_run: bool = False,
    ask: Callable[[Sequence[Problem]], bool] | None = None,
) -> Outcome:
    """Restore everything that is not as it has to be; `ask` may decline.

    Raises:
        IntegrityError: something is neither here nor in the bundle, all of it is named; or the bundle is damaged.
        HealthError: the service did not answer afterwards; what was before is back.
    """
    found = installed.find(places, current, progress)
    problems = tuple(finding.problem for finding in found)
    plan = remedy.make(places, current, found, bundle, progress)
    plan.demand()
    if is_dry_run or not found:
        return Outcome(current.release, current.version, problems)
    if ask and not ask(problems):
        raise FerryError("nothing was repaired", "to be asked nothing: ferry repair --yes")
    # The services read what is made here, whatever the operator's umask.
    os.umask(0o022)
    with transaction.begin(places, "repair", progress) as changes:
        if state.read(places) != current:
            raise FerryError(f"{places.prefix}: changed meanwhile", "try again")
        url = _mend(plan, changes, release.stage(places), progress)
    return Outcome(current.release, current.version, problems, url)


def mend(places: Places, current: State, bundle: VerifiedBundle | None, progress: Progress) -> Outcome:
    """Repair without a question: for an install of what is installed already."""
    return repair(places, current, bundle, progress)


def _mend(plan: Plan, changes: Changes, staging: Path, progress: Progress) -> str | None:
    """Do everything in its order, and look again; return the address where the service was started again."""
    is_up = host_of(plan.places).state() != "stopped"
    if is_up:
        changes.undo("start")
    restorer = Restorer(plan.places, changes, staging)
    is_used = any(plan.is_used(finding) for finding in plan.found)
    rewritten = _open(plan, restorer)
    if rewritten or any(is_folder_mode(finding) for finding in plan.found):
        # Only now can be told what else is wrong there.
        found = _left(plan, restorer, progress)
        plan = remedy.make(plan.places, plan.current, found, plan.bundle, progress)
        plan.demand()
        is_used = is_used or any(plan.is_used(finding) for finding in plan.found)
    _restore(plan, restorer, rewritten, progress)
    if left := _left(plan, restorer, progress):
        lines = [f"{finding.name}: {finding.difference.problem}" for finding in left]
        raise IntegrityError("\n".join(["could not be mended:", *lines]), remedy.GIVE)
    # A power cut must not lose what is relied upon from here on.
    os.sync()
    return _prove(plan.places, changes, progress) if is_up and is_used else None


def _open(plan: Plan, restorer: Restorer) -> set[str]:
    """Put right what keeps from looking further: modes, owners, signed lists; return the releases with new lists."""
    for finding in plan.found:
        entry, owner = finding.difference.entry, finding.area.owner
        if entry and not finding.difference.is_content:
            os.chown(finding.place, owner.user, -1 if owner.group is None else owner.group, follow_symlinks=False)
            if entry.kind != LINK:
                finding.place.chmod(entry.mode)
    rewritten = {finding.area.release for finding in plan.found if remedy.is_head(finding)}
    for name in rewritten:
        if plan.bundle:
            restorer.head(plan.bundle, plan.places.release(name))
    return rewritten


def is_folder_mode(finding: Finding) -> bool:
    """Say whether a folder may have been closed to us."""
    entry = finding.difference.entry
    return entry is not None and entry.kind == FOLDER and not finding.difference.is_content


def _left(plan: Plan, restorer: Restorer, progress: Progress) -> list[Finding]:
    """Look again; what waits aside for the commit is no finding."""
    found = installed.find(plan.places, plan.current, progress)
    return [finding for finding in found if finding.place not in restorer.moved]


def _restore(plan: Plan, restorer: Restorer, rewritten: set[str], progress: Progress) -> None:
    """Each step may count on those before it: environments are made from wheels, bytecode by an environment."""
    restorer.sources.update(plan.whole)
    if plan.bundle and plan.lacking:
        restorer.sources.update(renewal.take(plan.bundle, plan.lacking, restorer.staging, progress))
    progress.step("restoring what is missing or damaged")
    _restore_payload(plan, restorer)
    for finding in plan.found:
        if finding.difference.entry is None and not plan.is_replaced(finding.place):
            restorer.remove(finding.place)
    _rebuild(plan, restorer, progress)
    for kept in plan.kept:
        if is_rebuilt := plan.is_rebuilt(kept.folder / APP):
            progress.step(f"compiling the app of {kept.name}")
            restorer.app(kept)
        if is_rebuilt or kept.name in rewritten:
            restorer.list(kept)
    _restore_host(plan, restorer)


def _restore_payload(plan: Plan, restorer: Restorer) -> None:
    """Put every file, and what leads to it, into all its places."""
    done = set[str]()
    for finding in plan.found:
        entry = finding.difference.entry
        if entry and finding.difference.is_content and finding.area.kind in {RELEASE, STORE}:
            if entry.kind == FOLDER:
                restorer.folder(finding.place)
            if entry.kind == LINK:
                restorer.link(finding.place, entry.content)
        for kept, file in plan.payload(finding):
            if file.path.startswith(release.SHARED):
                if file.sha256 not in done:
                    restorer.shared(file, plan.kept)
                done.add(file.sha256)
            elif not release.installed_path(file.path).startswith(f"{APP}/"):
                restorer.own(file, kept)


def _rebuild(plan: Plan, restorer: Restorer, progress: Progress) -> None:
    """Make interpreters and environments anew, each once."""
    homes = {interpreter.home(kept.python, plan.places): kept for kept in plan.kept if kept.python}
    for home, kept in homes.items():
        if kept.python and plan.is_rebuilt(home):
            progress.step(f"unpacking Python {kept.manifest.python.version}")
            restorer.python(kept, kept.python)
    for venv, kept in {kept.venv: kept for kept in plan.kept}.items():
        python = areas.program(plan.places, kept, plan.current)
        if python and plan.is_rebuilt(venv):
            progress.step("making the Python environment, offline")
            restorer.venv(kept, python)


def _restore_host(plan: Plan, restorer: Restorer) -> None:
    """Put back what links and starts the release that runs."""
    places = plan.places
    found = {finding.place: finding for finding in plan.found if finding.area.kind == HOST}
    content = {path for path, finding in found.items() if finding.difference.is_content}
    if places.current in content:
        restorer.link(places.current, f"{places.releases.name}/{plan.current.release}")
    if places.wrapper in content:
        if not places.wrapper.is_file() or places.wrapper.is_symlink():
            restorer.remove(places.wrapper)
        wrapper.write(places, restorer.changes)
    if content - {places.current, places.wrapper}:
        host_of(places).prepare(places.release(plan.current.release), restorer.changes)


def _prove(places: Places, changes: Changes, progress: Progress) -> str:
    """Start what was mended, and let it answer a question; return its address."""
    host = host_of(places)
    host.stop()
    changes.undo("stop")
    try:
        url = starting.start(places, host, progress)
        progress.step("asking the model a question")
        admin.ask(places, "selftest", timeout_s=SELFTEST_TIMEOUT_S)
    except FerryError as error:
        raise HealthError(
            f"the repair was taken back, Ferry does not run on it: {error.message}", error.hint
        ) from error
    return url
