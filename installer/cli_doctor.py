"""`ferry doctor`: what ails this server, and a report for whoever helps."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from checksums.errors import HostError
from installer import doctor, present_checks, support
from installer.cli_common import as_json, as_path, dry_run, report
from installer.doctor import Diagnosis
from installer.progress import Lines


@click.command(name="doctor")
@click.option("--report", "file", type=as_path, help="Write what a helper needs to know into this file.")
@click.option("--quick", is_flag=True, help="Leave out the 3 seconds that measure the speed of memory.")
@dry_run
@as_json
@click.pass_obj
def doctor_command(prefix: Path, file: Path | None, quick: bool, dry_run: bool, as_json: bool) -> None:
    """Examine this server and what is installed; works when nothing else does.

    Ends with exit status 4 where something keeps Ferry from running here; a "note" is only good to know. The file of
    --report is plain text and holds no secret, question or answer: read it before you hand it on. --dry-run says what
    would be in it.

    Example: ferry doctor --report report.txt
    """
    if dry_run:
        _plan(file, as_json)
        return
    if file:
        support.demand_file(file)
    progress = Lines()
    found = doctor.examine(prefix, progress, is_measured=not quick)
    if file:
        support.write(file, found, progress)
    report(_object(found, file), _text(found, file), as_json)
    if not found.is_ok:
        click.get_current_context().exit(HostError.exit_code)


def _plan(file: Path | None, as_json: bool) -> None:
    titles = [section.title for section in support.SECTIONS] if file else []
    lines = (
        [f"would write {file}, with:", *(f"  {title}" for title in titles)] if file else ["would examine this server"]
    )
    report({"report": str(file) if file else None, "sections": titles}, "\n".join(lines), as_json)


def _object(found: Diagnosis, file: Path | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"ok": found.is_ok, "checks": [asdict(check) for check in found.checks]}
    if found.speed:
        answer["speed"] = {"bytes_per_s": round(found.speed.bytes_per_s)} | {
            "tokens_per_s": [round(found.speed.low, 1), round(found.speed.high, 1)]
        }
    return answer | ({"report": str(file)} if file else {})


def _text(found: Diagnosis, file: Path | None) -> str:
    lines = [*present_checks.lines(found.checks), present_checks.summary(found.checks)]
    if found.speed:
        lines.append(found.speed.text)
    return "\n".join([*lines, *([f"the report: {file}"] if file else [])])
