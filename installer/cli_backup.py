"""`ferry backup` and `ferry restore`: everything that no bundle brings back, in one file, and back from it."""

import sys
import time
from pathlib import Path

import click

from checksums.errors import FerryError
from installer import audit, backup, console, restore
from installer.backup import Backup
from installer.cli_common import as_json, as_path, dry_run, installation, need_rights, report
from installer.progress import Lines
from installer.restore import Restored

HOLDS = "It holds password hashes, conversations and the audit log: keep it as you keep the server."


@click.command(name="backup")
@click.argument("file", type=as_path, required=False)
@click.option("--sign-key", type=as_path, help="Sign it with this SSH key.")
@dry_run
@as_json
@click.pass_obj
def backup_command(prefix: Path, file: Path | None, sign_key: Path | None, dry_run: bool, as_json: bool) -> None:
    """Put settings, accounts, conversations and the audit log into FILE; the service goes on meanwhile.

    FILE is ferry-backup-TIME-VERSION.tar in this folder unless you name another. It is there whole or not at all, and
    only its owner reads it. It holds password hashes, conversations and the audit log, not encrypted: keep it as you
    keep the server. It holds no model and no program: those come back with the bundle.

    Example: ferry backup /mnt/backups/ferry.tar --sign-key /root/.ssh/backup_key
    """
    places, current = installation(prefix)
    need_rights(places)
    target = file or backup.default_file(current, time.time())
    made = backup.make(places, current, target, sign_key, dry_run, Lines())
    if not dry_run:
        audit.record(places, "backup", Lines(), file=made.file.name, signed="yes" if made.trusting else "no")
    report(_backup_object(made), _backup_text(made, dry_run), as_json)


@click.command(name="restore")
@click.argument("file", type=as_path)
@click.option("--allowed-signers", type=as_path, help="Take it only if a key of this list signed it.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@dry_run
@as_json
@click.pass_obj
def restore_command(
    prefix: Path, file: Path, allowed_signers: Path | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Put settings, accounts and conversations back as they were when FILE was made, and prove that it answers.

    Accounts and conversations made since are gone afterwards; what was disabled or revoked since is valid again. If
    the service does not answer with what was restored, everything is as before (exit status 5).

    This server's own stay: where it listens, which keys it trusts and how many of them must sign. The audit log keeps
    every line: where the backup's and this server's differ, both are kept.

    Example: ferry restore ferry-backup-20250131T140501Z-1.0.0.tar
    """
    places, current = installation(prefix)
    need_rights(places)

    def agree(question: str) -> bool:
        if yes:
            return True
        if sys.stdin.isatty():
            return console.ask(f"{question}\nDo it? Type yes: ")
        raise FerryError(f"nothing was changed; it would:\n{question}", "to be asked nothing: --yes")

    request = restore.Request(places, current, file, allowed_signers, agree, dry_run)
    done = restore.restore(request, Lines())
    report(_restore_object(done, dry_run), _restore_text(done, dry_run), as_json)


def _backup_object(made: Backup) -> dict[str, object]:
    of = made.description
    return {
        "file": str(made.file),
        "bytes": made.size_bytes,
        "files": [entry.path for entry in of.files],
        "left_out": list(made.left_out),
        "created": of.created,
        "release": of.release,
        "version": of.version,
        "revision": of.revision,
        "outside": of.outside,
        "signer": made.trusting or None,
    }


def _backup_text(made: Backup, is_dry_run: bool) -> str:
    of = made.description
    verb = "would be" if is_dry_run else "is"
    lines = [f"{made.file}: {verb} a backup of Ferry {of.version}, {len(of.files)} files, {made.size_bytes:,} bytes"]
    lines += [f"  {entry.path}  {entry.size:,}" for entry in of.files] if is_dry_run else []
    lines += [f"left out, since it is no plain file or has an odd name: {path}" for path in made.left_out]
    if of.outside:
        lines.append(f"NOT INSIDE: accounts and conversations are on {of.outside}; save them there: pg_dump")
    lines.append(HOLDS)
    if made.trusting:
        lines.append(f"signed; a list for ferry restore --allowed-signers needs this line:\n{made.trusting.rstrip()}")
    return "\n".join(lines)


def _restore_object(done: Restored, is_dry_run: bool) -> dict[str, object]:
    of = done.description
    return {
        "file": str(done.file),
        "changed": not is_dry_run,
        "created": of.created,
        "version": of.version,
        "signer": done.signer or None,
        "trusted": done.is_trusted,
        "notes": list(done.notes),
        "url": done.url,
    }


def _restore_text(done: Restored, is_dry_run: bool) -> str:
    if is_dry_run:
        return "\n".join([f"{done.file}: whole, and can be restored", *done.notes, "changed: nothing (--dry-run)"])
    first = f"restored what Ferry {done.description.version} had at {done.description.created}"
    return "\n".join([first, *done.notes, f"Ferry is running at {done.url}"])
