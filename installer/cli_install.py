"""`ferry install`, which install.sh calls: a bundle is installed, or upgraded to."""

import platform
import sys
from pathlib import Path
from typing import Any

import click

from checksums.errors import UsageError
from installer import audit, console, network, present_trust, settings, state
from installer.cli_common import as_json, as_path, deadline, dry_run, report
from installer.install import Outcome, Request
from installer.install import install as install_bundle
from installer.places import Places, places_of
from installer.progress import Lines
from installer.verify import Trust


@click.command(name="install", hidden=True)
@click.argument("bundle", type=as_path, nargs=-1, required=True)
@click.option("--user-mode", is_flag=True)
@click.option("--listen")
@click.option("--allowed-signers", type=as_path)
@click.option("--threshold", type=click.IntRange(1, settings.MAX_THRESHOLD))
@click.option("--accept-signers")
@click.option("--insecure-unsigned", is_flag=True)
@click.option("--accept-license", is_flag=True)
@click.option("--yes", is_flag=True)
@click.option("--host-python", is_flag=True)
@deadline
@dry_run
@as_json
@click.pass_obj
def install_command(
    prefix: Path,
    bundle: tuple[Path, ...],
    user_mode: bool,
    listen: str | None,
    allowed_signers: Path | None,
    threshold: int | None,
    accept_signers: str | None,
    insecure_unsigned: bool,
    accept_license: bool,
    yes: bool,
    host_python: bool,
    deadline_s: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install a bundle, or the parts of one in any order, or upgrade to it."""
    if listen is not None and not network.is_address(listen):
        raise UsageError(f"--listen {listen}: not of the form ADDRESS:PORT", "for example: --listen 0.0.0.0:8080")
    ask = console.ask if sys.stdin.isatty() and not yes else None
    # The interpreter under any virtual environment: ours must not depend on somebody else's environment.
    python = Path(sys.executable).resolve()
    places = places_of(prefix, user_mode)
    trust = Trust(allowed_signers, insecure_unsigned, settings.threshold_of(places, threshold))
    request = Request(
        bundle, places, trust, python, listen, accept_license, dry_run, ask, host_python, accept_signers, deadline_s,
        is_watched=sys.stderr.isatty() and not as_json,
    )  # fmt: skip
    outcome = install_bundle(request, Lines(), console.note)
    if outcome.is_changed:
        now = state.read(places)
        before = now.previous if now else None
        event = "upgrade" if before else "install"
        audit.record(places, event, Lines(), release=outcome.release, before=before)
    report(_outcome_object(outcome), _words(outcome, places, dry_run), as_json)


def _outcome_object(outcome: Outcome) -> dict[str, Any]:
    answer = {name: getattr(outcome, name) for name in ("release", "version", "url", "user", "password")}
    return answer | ({"signers": outcome.rotation.as_object()} if outcome.rotation else {})


def _words(done: Outcome, places: Places, is_dry_run: bool) -> str:
    """Return what an install did."""
    if done.is_same:
        what = f"{done.mended} damaged files or folders were mended" if done.mended else "nothing was changed"
        lines = [f"{done.release} is installed already; {what}", "see: ferry status; ferry verify"]
        return "\n".join([*lines, *([f"but {present_trust.rotation(done.rotation)}"] if done.rotation else [])])
    if is_dry_run:
        return f"{done.release}: can be installed"
    lines = [f"Ferry {done.version} is running at {done.url}"]
    host, _, port = (done.listen or "").rpartition(":")
    if host in {"0.0.0.0", "[::]"}:
        lines.append(f"from other machines: http://{platform.node()}:{port} (or any address of this server)")
    lines.append(f"the command: {places.wrapper}")
    if done.password:
        lines += [f"user:     {done.user}", f"password: {done.password}   (for the first login; shown this once)"]
    if done.rotation:
        lines.append(present_trust.rotation(done.rotation))
    return "\n".join(lines)
