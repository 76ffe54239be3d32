"""Go back to the release before, on the data of today: places come in, an outcome goes out, or everything is as it was.

The release that runs knows how to bring its tables back to what the other one knows; where that loses something, it
says what, and the operator has to agree. The sequence stays: going back is no way to install an old bundle.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from checksums.errors import FerryError, UsageError
from checksums.layout import MANIFEST
from checksums.manifest import Manifest
from installer import admin, settings, state, switch, transaction
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress
from installer.state import State
from installer.verify import Trust

Ask = Callable[[str], bool]


@dataclass(frozen=True)
class Plan:
    """Where a rollback would go: a release, its version, the tables' revision before and after, and what that loses.

    `revision` is "" where the tables stay as they are.
    """

    before: State
    release: str
    version: str
    revision: str
    losses: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Say that there is nothing to do: the release that runs is one that was gone back to."""
        return self.release == self.before.release


def make_plan(places: Places) -> Plan:
    """Look where a rollback would go: nowhere, where one was made already since the last upgrade.

    Raises:
        UsageError: there is no release to go back to.
        FerryError: what there is cannot be read.
    """
    before, name = _aim(places)
    if name == before.release:
        return Plan(before, before.release, before.version, "", ())
    manifest = Manifest.parse((places.release(name) / MANIFEST).read_bytes())
    wanted, there = _revision(places, name), _revision(places, before.release)
    if not wanted or wanted == there:
        return Plan(before, name, manifest.version, "", ())
    found = admin.ask(places, "migrate", "--to", wanted, "--dry-run")
    return Plan(before, name, manifest.version, wanted, tuple(found["losses"]))


def _aim(places: Places) -> tuple[State, str]:
    """Return what runs and where a rollback would go, nothing asked of either.

    Raises:
        UsageError: there is no release to go back to.
    """
    before = state.need(places)
    if before.newest not in {None, before.release}:
        return before, before.release
    name = before.previous
    if name is None or not (places.release(name) / "venv" / "bin" / "python").exists():
        raise UsageError("there is no release before this one here", "to install one: sh install.sh ferry-….tar")
    return before, name


def describe(plan: Plan) -> str:
    """Return the plan as text for the operator."""
    if plan.is_done:
        return f"{plan.release} is what was gone back to already; to go forth again: ferry upgrade ferry-….tar"
    lines = [f"from {plan.before.release} back to {plan.release}"]
    if plan.revision:
        lines.append(f"the database goes back to revision {plan.revision}")
    return "\n".join([*lines, *(f"this loses: {loss}" for loss in plan.losses)])


def rollback(places: Places, ask: Ask | None, is_accepted: bool, progress: Progress) -> Plan:
    """Go back; return what was done.

    Raises:
        UsageError: nothing to go back to, or something would be lost and nobody agreed.
        HealthError: the other release did not answer; the one that ran is back.
    """
    transaction.recover(places, progress)
    # Nothing is begun that has nowhere to go.
    _aim(places)
    with transaction.begin(places, "rollback", progress) as changes:
        plan = make_plan(places)
        if plan.losses and not is_accepted and (ask is None or not ask(f"{describe(plan)}\nDo it? Type yes: ")):
            raise UsageError(f"nothing was changed\n{describe(plan)}", "to lose that: ferry rollback --yes")
        if not plan.is_done:
            _go_back(places, plan, changes, progress)
    return plan


def _go_back(places: Places, plan: Plan, changes: Changes, progress: Progress) -> None:
    before = plan.before
    target = switch.Target(places.release(plan.release), settings.listen_of(places, None), Trust(None))

    def migrate() -> None:
        if plan.revision:
            progress.step(f"bringing the database back to revision {plan.revision}")
            admin.ask(places, "migrate", "--to", plan.revision)

    switch.switch(places, target, before, changes, progress, migrate)
    python = str((places.current / "venv" / "bin" / "python").resolve())
    now = replace(
        before,
        release=plan.release, version=plan.version, previous=None, python=python,
        newest=before.newest or before.release,
    )  # fmt: skip
    changes.file(places.state, state.render(now))


def _revision(places: Places, release: str) -> str:
    """Return the revision of the tables that a release works with; "" where it is too old to say."""
    try:
        return str(admin.ask(places, "revision", release=places.release(release))["release"])
    except FerryError:
        return ""
