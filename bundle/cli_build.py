"""The commands that make a bundle, or say what would be in it: build, plan."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bundle import build as building
from bundle import delta, media, models, profiles, reports, signing, sources, version, wording
from bundle.build import Config
from bundle.cli_common import Command, everywhere
from bundle.cli_media import SIZE_HELP
from checksums.errors import UsageError
from checksums.layout import MAX_TOP_BYTES, NEXT_SIGNERS
from checksums.manifest import NAME

KEY_HELP = "An SSH key: the private one, or the public one of an agent's or a security key's. May come several times."
JOBS_HELP = "How many ranges of the weights are fetched at the same time."


def _inputs(command: Command) -> Command:
    """Add the options that say what a bundle is made from."""
    options = [
        click.option("--profile", required=True, metavar="NAME|FILE", help="One of `profiles`, or a TOML file."),
        click.option("--version", "release", default=version.VERSION, show_default=True, help="The bundle's version."),
        click.option("--sequence", type=click.IntRange(0), help="Grows with every release (default: commit time)."),
        click.option(
            "--python", metavar="host|standalone|ARCHIVE", help="The Python: the server's, a fetched one, or this file."
        ),
        click.option(
            "--find-links", multiple=True, metavar="DIR", help="A folder of wheels, beside pip's own sources."
        ),
        click.option("--index-url", default="", metavar="URL", help="The package index, instead of pip's own."),
        click.option("--hub-endpoint", default="", metavar="URL", help="The hub (default: MODELSCOPE_ENDPOINT)."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _config(
    profile: str,
    release: str,
    sequence: int | None,
    python: str | None,
    find_links: tuple[str, ...],
    index_url: str,
    hub_endpoint: str,
) -> Config:
    if not NAME.fullmatch(release):
        raise UsageError(f"--version {release!r}: cannot be part of a file name", "for example: --version 1.2.0")
    chosen = profiles.load(profile)
    _check_length(f"ferry-{chosen.name}-{release}-{chosen.target.platform}")
    epoch_s = version.build_epoch()
    return Config(
        profile=replace(chosen, python=profiles.python_choice(python)) if python else chosen,
        release=release,
        epoch_s=epoch_s,
        sequence=epoch_s if sequence is None else sequence,
        sources=sources.configured(find_links, index_url),
        hub_endpoint=hub_endpoint,
        hub_token=os.environ.get("MODELSCOPE_API_TOKEN", ""),
    )


def _check_length(name: str) -> None:
    if len(name) > MAX_TOP_BYTES:
        raise UsageError(f"{name}: longer than {MAX_TOP_BYTES} characters", "give a shorter --version or profile name")


@click.command()
@_inputs
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the bundle goes.")
@click.option("--sign-key", "keys", multiple=True, type=click.Path(path_type=Path), help=KEY_HELP)
@click.option("--valid-before", default="", metavar="YYYYMMDD", help="Until when servers count these keys.")
@click.option("--next-signers", type=click.Path(path_type=Path), help="The list of keys that servers shall take next.")
@click.option("--threshold", type=click.IntRange(1, 16), default=1, help="How many keys servers ask for.")
@click.option("--base", type=click.Path(path_type=Path), help="A server's `ferry inventory`: leave out what it has.")
@click.option("--split", "part_bytes", type=media.parse_size, metavar="SIZE", help=SIZE_HELP)
@click.option("--jobs", type=click.IntRange(1, 32), default=models.JOBS, show_default=True, help=JOBS_HELP)
@everywhere
def build(
    out: Path,
    keys: tuple[Path, ...],
    valid_before: str,
    next_signers: Path | None,
    threshold: int,
    base: Path | None,
    part_bytes: int | None,
    jobs: int,
    as_json: bool,
    **inputs: Any,
) -> None:
    """Collect wheels and weights and write the bundle.

    Example: python -m bundle build --profile demo --out dist --sign-key ~/.ssh/id_ed25519

    By two keys, for servers that ask for both: add --sign-key first --sign-key second --threshold 2

    Only what one server lacks: python -m bundle build --profile demo --out delta --base inventory.json
    """
    progress = click.get_current_context().obj
    config = replace(_config(**inputs), base=delta.read(base) if base else None, part_bytes=part_bytes, jobs=jobs)
    signed = signing.check(keys, threshold, valid_before)
    if next_signers:
        config = replace(config, next_signers=signing.next_signers(next_signers, threshold))
    written, manifest = building.build(config, signed, out, progress)
    if config.base and config.sequence <= config.base.sequence:
        progress.note(f"that server took sequence {config.base.sequence}: it will not take this {config.sequence}")
    if brought := manifest.file(NEXT_SIGNERS):
        progress.note(f"servers take the list of keys unattended with --accept-signers sha256:{brought.sha256}")
    if not keys:
        progress.note("the bundle is not signed: servers refuse it unless told --insecure-unsigned")
    click.echo(
        wording.as_json(reports.built(written, manifest)) if as_json else "\n".join(map(str, reports.paths(written)))
    )


@click.command(short_help="Say what a bundle would carry, from where, and how large.")
@_inputs
@click.option("--ask-hub", is_flag=True, help="List the model's files too; --hub-endpoint implies it.")
@everywhere
def plan(ask_hub: bool, as_json: bool, **inputs: Any) -> None:
    """Say what a bundle would carry, from where, and how large; fetches no payload.

    Needs no network where the target has a committed lock, and proves that every requirement has a wheel.

    Example: python -m bundle plan --profile qwen1.5-0.5b-chat
    """
    config = _config(**inputs)
    report = reports.planned(config, building.make_plan(config, ask_hub or bool(config.hub_endpoint)))
    click.echo(wording.as_json(report) if as_json else reports.plan_text(report))
