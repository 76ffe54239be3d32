"""What `verify --rebuild` takes beside a bundle, and what it says."""

import os

import click

from bundle.cli_common import Command
from checksums.errors import IntegrityError, UsageError
from installer.verify import VerifiedBundle

OPTIONS = {
    "profile": click.option("--profile", default="", metavar="FILE", help="The TOML file it was made with."),
    "python": click.option("--python", default="", metavar="ARCHIVE", help="The interpreter's file, if one's own."),
    "find_links": click.option("--find-links", multiple=True, metavar="DIR", help="A folder of wheels to take."),
    "index_url": click.option("--index-url", default="", metavar="URL", help="The package index, instead of pip's."),
    "next_signers": click.option("--next-signers", default="", metavar="FILE", help="The list of keys that it brings."),
    "hub_endpoint": click.option("--hub-endpoint", default="", metavar="URL", help="The hub to ask for the model."),
}
HINT = "use the checkout that it was made from (its date is the commit's), and what its builder was given"


def rebuild_inputs(command: Command) -> Command:
    """Add the options that --rebuild takes."""
    for option in reversed(OPTIONS.values()):
        command = option(command)
    return command


def refuse_without_rebuild(**inputs: object) -> None:
    """Refuse options that mean nothing without --rebuild."""
    if given := [name for name, value in inputs.items() if value]:
        raise UsageError(f"--{given[0].replace('_', '-')}: belongs to --rebuild", "add --rebuild, or leave it out")


def prove_rebuilt(bundle: VerifiedBundle, find_links: tuple[str, ...], index_url: str, **inputs: str) -> None:
    """Make a bundle again and compare.

    Raises:
        IntegrityError: files differ; all are named.
    """
    from bundle import rebuild, sources  # what a plain `verify` has no need of

    token = os.environ.get("MODELSCOPE_API_TOKEN", "")
    given = rebuild.Inputs(sources.configured(find_links, index_url), hub_token=token, **inputs)
    found = rebuild.differences(bundle, given, click.get_current_context().obj)
    if found:
        raise IntegrityError("\n".join(["made again, it is not the same:", *found]), HINT)
