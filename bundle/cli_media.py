"""The commands that fit a bundle to its media: split, join."""

from pathlib import Path

import click

from bundle import media, wording
from bundle.cli_common import everywhere

out_option = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Where to write (default: beside what is read)."
)
SIZE_HELP = "The size of a part: bytes, K M G T (4G is 4,000,000,000: fits FAT32), or KiB MiB GiB TiB."


@click.command(short_help="Cut a bundle into parts.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--size", type=media.parse_size, metavar="SIZE", required=True, help=SIZE_HELP)
@out_option
@everywhere
def split(bundle: Path, size: int, out: Path | None, as_json: bool) -> None:
    """Cut a bundle into parts for media that hold no large files; the bundle stays.

    Every file in it is compared with its SHA256SUMS on the way. The parts are plain slices: `join`, install.sh and cat
    put them together.

    Example: python -m bundle split dist/ferry-demo-0.1.0-x86_64.tar --size 4G
    """
    made = media.split(bundle, size, out or bundle.parent, click.get_current_context().obj)
    report = {"parts": [str(path) for path in made[:-1]], "list": str(made[-1])}
    click.echo(wording.as_json(report) if as_json else "\n".join(map(str, made)))


@click.command(short_help="Put the parts of a bundle together.")
@click.argument("parts", metavar="PART...", type=click.Path(path_type=Path), nargs=-1, required=True)
@out_option
@everywhere
def join(parts: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Put the parts of a bundle together; they may lie in any folders, and those beside a named one are found.

    A part that is damaged or missing is named; only that one has to be copied again. A part that is named goes before
    one that is found.

    Example: python -m bundle join /media/a/ferry-demo-0.1.0-x86_64.tar.001 /media/b/ferry-demo-0.1.0-x86_64.tar.002
    """
    made = media.join(parts, out or parts[0].parent, click.get_current_context().obj)
    report = {"bundle": str(made), "size_bytes": made.stat().st_size}
    click.echo(wording.as_json(report) if as_json else str(made))
