"""The commands that look at what is there: inspect, diff, verify, profiles."""

from pathlib import Path
from typing import Any

import click

from bundle import comparison, components, glance, inspection, licences, overview, profiles, reports
from bundle.cli_common import about, everywhere
from bundle.cli_rebuild import prove_rebuilt, rebuild_inputs, refuse_without_rebuild
from bundle.glance import Glance
from checksums.errors import UsageError
from checksums.layout import SBOM
from installer.verify import Trust


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
    return reports.as_json(report) if as_json else licences.text(manifest.name, report)


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
    click.echo(reports.as_json(found) if as_json else comparison.text(found))


def _glance(path: Path) -> Glance:
    with about(path):
        return glance.at(path, {components.RECORD})


@click.command(short_help="Check a bundle's signature and every byte of it.")
@click.argument("bundle", metavar="BUNDLE|PART...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--allowed-signers", type=click.Path(path_type=Path), help="Whose signatures count.")
@click.option("--threshold", type=click.IntRange(1, 16), default=1, show_default=True, help="How many must sign.")
@click.option("--insecure-unsigned", is_flag=True, help="Take a bundle that nobody signed.")
@click.option("--rebuild", is_flag=True, help="Make it again from its own lock with this checkout, and compare.")
@rebuild_inputs
@everywhere
def verify(
    bundle: tuple[Path, ...],
    allowed_signers: Path | None,
    threshold: int,
    insecure_unsigned: bool,
    rebuild: bool,
    as_json: bool,
    **inputs: Any,
) -> None:
    """Check a bundle's signature and every byte, with the code that the server runs.

    Example: python -m bundle verify dist/ferry-demo-0.1.0-x86_64.tar --allowed-signers dist/allowed_signers

    With --rebuild, in the checkout that it was made from, an auditor sees that it holds what its sources say: the same
    wheels by digest, the model at its commit, version and date of the bundle; exit 3 names every file that differs.
    Signatures cannot be made again; the list that they sign is compared.
    """
    if not rebuild:
        refuse_without_rebuild(**inputs)
    trust = Trust(allowed_signers, insecure_unsigned, threshold)
    progress = click.get_current_context().obj
    with about(*bundle):
        verified = inspection.verify(bundle, trust, progress)
    for note in verified.notes:
        progress.note(note)
    signers = list(verified.signers)
    manifest, count = verified.manifest, len(verified.digests)
    left_out = len(verified.left_out)
    report = {"ok": True, "name": manifest.name, "files": count, "left_out": left_out, "signers": signers}
    if rebuild:
        prove_rebuilt(verified, **inputs)
        report["rebuilt"] = "identical"
    said = f"signed by {', '.join(signers)}" if signers else "NOT SIGNED"
    text = f"{manifest.name}.tar: {count} files are whole; {said}"
    if left_out:
        text += f"\na delta {reports.delta_text(manifest)}"
    if rebuild:
        text += "\nmade again from its own lock: identical"
    click.echo(reports.as_json(report) if as_json else text)


@click.command("profiles")
@everywhere
def profiles_command(as_json: bool) -> None:
    """List the profiles that come with Ferry.

    Example: python -m bundle profiles
    """
    found = [profiles.load(name) for name in profiles.names()]
    if as_json:
        click.echo(reports.as_json([{"name": profile.name, "description": profile.description} for profile in found]))
    else:
        width = max(len(profile.name) for profile in found)
        click.echo("\n".join(f"{profile.name:{width}}  {profile.description}" for profile in found))
