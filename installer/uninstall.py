"""Take an installation away: places come in, what is to go is listed, and goes; settings and data only with `purge`."""

from pathlib import Path

from installer import files, lock, units
from installer.host import host_of
from installer.places import Places
from installer.progress import Progress
from installer.release import STAGING


def paths(places: Places, purge: bool) -> list[Path]:
    """Return what goes, beside users; the state is the last."""
    registered = [] if places.is_user else units.FILES
    inside = [places.current, places.releases, places.venvs, places.store, places.cache, places.run]
    # This very command may run on it: it goes late.
    own = [places.pythons, *(kept(places) if purge else [])]
    return [*registered, *inside, *places.prefix.glob(f"{STAGING}*"), places.wrapper, *own, places.state]


def kept(places: Places) -> list[Path]:
    """Return what stays without `purge`: settings, accounts and conversations, the audit log."""
    return [places.etc, places.data, places.log]


def users(places: Places, purge: bool) -> tuple[str, ...]:
    """Return the users that go."""
    return units.USERS if purge and not places.is_user else ()


def uninstall(places: Places, purge: bool, progress: Progress) -> None:
    """Stop the service and remove what belongs to it; the state goes last, so that it can be run again."""
    host = host_of(places)
    with lock.exclusive(places.prefix):
        progress.step("stopping")
        host.stop()
        progress.step("removing")
        host.remove(purge)
        for path in paths(places, purge):
            files.remove(path)
        for folder in (places.wrapper.parent, places.prefix):
            if (
                folder.is_dir()
                and not folder.is_symlink()
                and folder.is_relative_to(places.prefix)
                and not any(folder.iterdir())
            ):
                folder.rmdir()
