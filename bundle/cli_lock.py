"""The command that resolves a profile's wheels anew."""

from pathlib import Path

import click

from bundle import build as building
from bundle import lock, pins, profiles, resolve, sources, version, wording
from bundle.cli_common import everywhere
from bundle.targets import lock_name
from checksums.errors import IntegrityError


@click.command("lock", short_help="Pin the wheels and the interpreter for a profile's target.")
@click.option("--profile", required=True, metavar="NAME|FILE", help="Its target is what the wheels are resolved for.")
@click.option("--find-links", multiple=True, metavar="DIR", help="A folder of wheels, beside pip's own sources.")
@click.option("--index-url", default="", metavar="URL", help="The package index, instead of pip's own.")
@everywhere
def lock_command(profile: str, find_links: tuple[str, ...], index_url: str, as_json: bool) -> None:
    """Resolve requirements.in for a profile's target, write bundle/locks/, and show what changed.

    The interpreter that travels is pinned anew as well: to the newest build that pbs-installer knows.

    Example: python -m bundle lock --profile qwen1.5-0.5b-chat
    """
    target = profiles.load(profile).target
    path = building.LOCKS / lock_name(target)
    old = _old(path)
    requirements = (version.CHECKOUT / "requirements.in").read_text(encoding="utf-8")
    new = resolve.resolve(requirements, target, sources.configured(find_links, index_url))
    written = path.with_suffix(".new")
    written.write_text(lock.render(new, target), encoding="utf-8")
    written.replace(path)
    changes = [*lock.changes(old, new), *pins.refresh(target)]
    report = {"lock": path.name, "wheels": len(new.wheels), "changes": changes}
    click.echo(wording.as_json(report) if as_json else "\n".join([*changes, f"{path.name}: {len(new.wheels)} wheels"]))


def _old(path: Path) -> lock.Lock | None:
    """Return the lock that is replaced; a damaged one is no reason to keep it."""
    try:
        return lock.read(path) if path.is_file() else None
    except IntegrityError:
        return None
