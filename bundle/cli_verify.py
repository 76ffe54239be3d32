"""The command that proves a bundle: verify."""

from pathlib import Path
from typing import Any

import click

from bundle import inspection, wording
from bundle.cli_common import about, everywhere
from bundle.cli_rebuild import prove_rebuilt, rebuild_inputs, refuse_without_rebuild
from installer.verify import Trust


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
        text += f"\na delta {wording.delta_text(manifest)}"
    if rebuild:
        text += "\nmade again from its own lock: identical"
    click.echo(wording.as_json(report) if as_json else text)
