"""The commands that look at what is there: inspect, verify, profiles."""

from pathlib import Path

import click

from bundle import inspection, profiles, reports
from bundle.cli_common import everywhere
from installer.verify import Trust


@click.command()
@click.argument("bundle", metavar="BUNDLE|PART...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--files", is_flag=True, help="List the files.")
@click.option("--licenses", is_flag=True, help="List the licences.")
@everywhere
def inspect(bundle: tuple[Path, ...], files: bool, licenses: bool, as_json: bool) -> None:
    """Show what a bundle says of itself; proves nothing (see verify).

    Example: python -m bundle inspect dist/ferry-demo-0.1.0-x86_64.tar --licenses
    """
    manifest = inspection.read_manifest(bundle)
    if as_json:
        click.echo(manifest.render().decode(), nl=False)
    else:
        click.echo(reports.manifest_text(manifest, files, licenses))


@click.command()
@click.argument("bundle", metavar="BUNDLE|PART...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--allowed-signers", type=click.Path(path_type=Path), help="Whose signatures count.")
@click.option("--insecure-unsigned", is_flag=True, help="Take a bundle that nobody signed.")
@everywhere
def verify(bundle: tuple[Path, ...], allowed_signers: Path | None, insecure_unsigned: bool, as_json: bool) -> None:
    """Check a bundle's signature and every byte, with the code that the server runs.

    Example: python -m bundle verify dist/ferry-demo-0.1.0-x86_64.tar --allowed-signers dist/allowed_signers
    """
    trust = Trust(allowed_signers, insecure_unsigned)
    verified = inspection.verify(bundle, trust, click.get_current_context().obj)
    signers = list(verified.signers)
    manifest, count = verified.manifest, len(verified.digests)
    left_out = len(verified.left_out)
    report = {"ok": True, "name": manifest.name, "files": count, "left_out": left_out, "signers": signers}
    said = f"signed by {', '.join(signers)}" if signers else "NOT SIGNED"
    text = f"{manifest.name}.tar: {count} files are whole; {said}"
    if left_out:
        text += f"\na delta {reports.delta_text(manifest)}"
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
        click.echo("\n".join(f"{profile.name:20} {profile.description}" for profile in found))
