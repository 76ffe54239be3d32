"""The commands that look at what is there: inspect, diff, profiles."""

from pathlib import Path

import click

from bundle import comparison, components, glance, licences, overview, profiles, wording
from bundle.cli_common import about, everywhere
from bundle.glance import Glance
from checksums.errors import UsageError
from checksums.layout import SBOM


@click.command()
@click.argument("bundle", metavar="BUNDLE|PART...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--files", is_flag=True, help="List the files.")
@click.option("--sbom", is_flag=True, help="Show the bill of materials; with --json the CycloneDX file itself.")
@click.option("--licenses", is_flag=True, help="Say what each licence allows, the model's first.")
@everywhere
def inspect(bundle: tuple[Path, ...], files: bool, sbom: bool, licenses: bool, as_json: bool) -> None:
    """Show what a bundle says of itself; proves nothing (see verify). With --json: its manifest.

    Example: python -m bundle inspect dist/ferry-demo-0.1.0-x86_64.tar --licenses
    """
    if sbom and licenses:
        raise UsageError("--sbom and --licenses are two reports", "ask for one of them")
    with about(*bundle):
        seen = glance.at(bundle, {SBOM} if sbom else {components.RECORD} if licenses else ())
    if sbom:
        click.echo(_sbom(seen, as_json))
    elif licenses:
        click.echo(_licenses(seen, as_json))
    elif as_json:
        click.echo(seen.manifest.render().decode(), nl=False)
    else:
        click.echo(overview.text(seen, files))


def _sbom(seen: Glance, as_json: bool) -> str:
    from bundle import sbom  # its library takes half a second to import

    if SBOM not in seen.texts:
        raise UsageError(f"{seen.manifest.name}: carries no {SBOM}", "it was made by an older Ferry: build it again")
    shown = sbom.text(seen.texts[SBOM])
    return seen.text(SBOM).rstrip("\n") if as_json else shown


def _licenses(seen: Glance, as_json: bool) -> str:
    manifest = seen.manifest
    carried = components.of(manifest, seen.text(components.RECORD))
    report = licences.report(carried, [file.path for file in manifest.files])
    return wording.as_json(report) if as_json else licences.text(manifest.name, report)


@click.command(short_help="Say what changes from one bundle to another.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@everywhere
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Say what changes from one bundle to another, for who has to approve it; proves nothing (see verify).

    Example: python -m bundle diff dist/ferry-demo-0.1.0-x86_64.tar dist/ferry-demo-0.2.0-x86_64.tar
    """
    before, after = (_glance(path) for path in (old, new))
    found = comparison.compare(before, after)
    click.echo(wording.as_json(found) if as_json else comparison.text(found))


def _glance(path: Path) -> Glance:
    with about(path):
        return glance.at(path, {components.RECORD})


@click.command("profiles")
@everywhere
def profiles_command(as_json: bool) -> None:
    """List the profiles that come with Ferry.

    Example: python -m bundle profiles
    """
    found = [profiles.load(name) for name in profiles.names()]
    if as_json:
        click.echo(wording.as_json([{"name": profile.name, "description": profile.description} for profile in found]))
    else:
        width = max(len(profile.name) for profile in found)
        click.echo("\n".join(f"{profile.name:{width}}  {profile.description}" for profile in found))
