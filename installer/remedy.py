"""What has to be done about findings: which payload is wanted, which of it is whole here, what can be had from nowhere.

Findings and maybe a bundle come in, a `Plan` goes out; nothing is changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from checksums.errors import IntegrityError
from checksums.layout import INSTALLER, SBOM
from checksums.manifest import File
from installer import areas, interpreter, inventory, release
from installer.areas import HEAD, HOST, PYTHON, RELEASE, STORE, VENV, Installed
from installer.installed import Finding
from installer.places import Places
from installer.progress import Progress
from installer.renewal import APP
from installer.state import State
from installer.trees import LIST, TOP
from installer.verify import VerifiedBundle

GIVE = "give the bundle: ferry repair ferry-….tar"
SAME = "give the bundle of that very release: ferry repair ferry-….tar"
OTHER_PYTHON = (
    "install that Python again, or have the bundle installed on another one: sh install.sh ferry-….tar --python PATH"
)


@dataclass(frozen=True)
class Plan:
    """Findings, with the releases that are kept; `whole` is SHA-256 -> a file of this server, of what is wanted."""

    places: Places
    current: State
    found: tuple[Finding, ...]
    bundle: VerifiedBundle | None
    kept: tuple[Installed, ...]
    whole: dict[str, Path]

    @cached_property
    def wanted(self) -> dict[str, File]:
        """Return SHA-256 -> payload that is missing or damaged in one place or another."""
        return {file.sha256: file for finding in self.found for _, file in self.payload(finding)}

    @property
    def lacking(self) -> set[str]:
        """Return the SHA-256 of what is wanted and nowhere on this server."""
        return set(self.wanted) - set(self.whole)

    def payload(self, finding: Finding) -> Iterator[tuple[Installed, File]]:
        """Yield the payload that a finding is about: one file, or all below a folder, of which release."""
        path, area = finding.difference.path, finding.area
        if finding.difference.is_content and area.kind in {RELEASE, STORE}:
            for kept in self.kept:
                for file in kept.manifest.files:
                    at = areas.stored(file) if area.kind == STORE else release.installed_path(file.path)
                    is_there = area.kind == STORE or kept.folder == area.root
                    if is_there and (path in {at, TOP} or at.startswith(f"{path}/")) and self._has(area.kind, file):
                        yield kept, file

    def release(self, finding: Finding) -> Installed | None:
        """Return the release whose folder, environment or interpreter a finding is in."""
        return next((kept for kept in self.kept if finding.area.root in self._roots(kept)), None)

    def is_rebuilt(self, root: Path) -> bool:
        """Say whether an environment, an interpreter or an app has to be made anew."""
        for finding in self.found:
            at = finding.place
            is_tree = finding.area.kind in {VENV, PYTHON} and finding.area.root == root
            is_app = finding.area.kind == RELEASE and finding.area.root / APP == root
            is_below = at.is_relative_to(root) or root.is_relative_to(at) or finding.difference.path == LIST
            if finding.difference.is_content and (is_tree or (is_app and is_below)):
                return True
        return False

    def is_replaced(self, place: Path) -> bool:
        """Say whether what is made anew takes the place of a folder above."""
        apps = {kept.folder / APP for kept in self.kept}
        roots = {finding.area.root for finding in self.found if finding.area.kind in {VENV, PYTHON}}
        return any(place.is_relative_to(root) and self.is_rebuilt(root) for root in apps | roots)

    def is_used(self, finding: Finding) -> bool:
        """Say whether what runs uses the file, so that it has to be started again."""
        running = next((kept for kept in self.kept if kept.name == self.current.release), None)
        if running is None or not (finding.difference.is_content or finding.difference.entry is None):
            return False
        if finding.area.kind == RELEASE:
            top = finding.difference.path.split("/")[0]
            return finding.area.root == running.folder and top in {APP, "model", areas.VENV_LINK, LIST, TOP}
        if finding.area.kind == HOST:
            return finding.place != self.places.wrapper
        # What is wrong in the store alone: the release has the same file, whole, under its own name.
        return finding.area.root in self._roots(running)

    def demand(self) -> None:
        """Refuse what can be restored from nowhere.

        Raises:
            IntegrityError: all of it is named.
        """
        carried = self._carried()
        if lost := [finding for finding in self.found if self._is_lost(finding, carried)]:
            lines = [f"{finding.name}: {finding.difference.problem}" for finding in lost]
            raise IntegrityError("\n".join(["nothing here can restore:", *lines]), self._hint(lost))

    def _roots(self, kept: Installed) -> set[Path]:
        homes = {interpreter.home(kept.python, self.places)} if kept.python else set()
        return {kept.folder, kept.venv, *homes}

    def _has(self, kind: str, file: File) -> bool:
        return kind == RELEASE or file.path.startswith(release.SHARED)

    def _carried(self) -> set[str]:
        if self.bundle is None:
            return set()
        left_out = {file.path for file in self.bundle.left_out}
        return {file.sha256 for file in self.bundle.manifest.files if file.path not in left_out}

    def _is_lost(self, finding: Finding, carried: set[str]) -> bool:
        if is_base(finding):
            return True
        if is_head(finding):
            return self.bundle is None or release.name_of(self.bundle) != finding.area.release
        kept = self.release(finding)
        if finding.area.kind == VENV and finding.difference.is_content:
            return kept is None or areas.program(self.places, kept, self.current) is None
        digests = {file.sha256 for _, file in self.payload(finding)}
        return bool(digests & self.lacking - carried)

    def _hint(self, lost: list[Finding]) -> str:
        if any(is_base(finding) for finding in lost):
            return OTHER_PYTHON
        return SAME if self.bundle and any(is_head(finding) for finding in lost) else GIVE


def make(
    places: Places, current: State, found: list[Finding], bundle: VerifiedBundle | None, progress: Progress
) -> Plan:
    """Look for what is whole on this server of all that is wanted."""
    plan = Plan(places, current, tuple(found), bundle, tuple(areas.kept(places, current)), {})
    if plan.wanted:
        plan.whole.update(inventory.whole(plan.wanted.values(), places, progress, "looking for what is whole here"))
    return plan


def is_base(finding: Finding) -> bool:
    """Say whether a finding is about the server's own Python, which is not ours to mend."""
    return finding.area.kind == HOST and finding.area.root != Path("/")


def is_head(finding: Finding) -> bool:
    """Say whether it is about what stands before the payload of a bundle, or who signed it."""
    path, entry = finding.difference.path, finding.difference.entry
    is_beside = finding.area.kind == RELEASE and "/" not in path and entry is not None and entry.kind == "file"
    is_other = path in {LIST, INSTALLER, SBOM}
    return finding.area.kind == HEAD or (is_beside and finding.difference.is_content and not is_other)
