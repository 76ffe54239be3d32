"""The administrator's commands: `python -m service.web.admin …`, which the `ferry` command hands to.

A command parses, calls, presents. With --json one object goes to stdout, also for an error; exit status as the
contract says: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import click
from sqlalchemy.exc import OperationalError

from service.config import ConfigError
from service.paths import PathsError
from service.web import keys, privacy, selftest, tls
from service.web.admin_audit import audit
from service.web.admin_database import copy, migrate, revision
from service.web.admin_keys import key
from service.web.admin_place import Place, json_option, show
from service.web.admin_users import user
from service.web.audit import AuditUnavailable
from service.web.errors import AdminError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Manage Ferry's accounts, keys and database."""


for command in (user, key, audit, migrate, revision, copy):
    cli.add_command(command)


@cli.command("config", hidden=True)
@json_option
def show_config(as_json: bool) -> None:
    """Show where the service listens and which engine it asks."""
    config = Place().config
    value = {
        "url": selftest.url_of(config.web),
        "listen": config.web.listen,
        "engine_url": config.engine.url,
        "certificate": config.web.tls_certificate,
        "warning": tls.warning(config.web),
    }
    missing = {"engine_url": "(this server)"}
    show(as_json, value, "\n".join(f"{name}: {text or missing.get(name, '-')}" for name, text in value.items()))


@cli.command("selftest")
@click.option("--prompt", default=selftest.PROMPT, show_default=True, help="The question.")
@click.option("--privacy", "is_privacy", is_flag=True, help="Test that no conversation reads another's words.")
@click.option(
    "--minutes", type=click.FloatRange(0, 10_080), default=1.0, show_default=True, help="How long, for --privacy."
)
@json_option
def run_selftest(prompt: str, is_privacy: bool, minutes: float, as_json: bool) -> None:
    """Ask the running service a question and show the answer as it comes. Example: ferry selftest"""
    place = Place()
    if is_privacy:
        _test_privacy(place, minutes, as_json)
    with _keys(place, 1) as (secret,):
        on_piece = partial(click.echo, nl=False)
        result = selftest.ask(place.config.web, secret, prompt, (lambda _: None) if as_json else on_piece)
    value = {"ok": result.is_ok, "answer": result.answer, "chunks": result.chunks, "seconds": result.seconds}
    show(as_json, value, f"\n({result.chunks} chunks in {result.seconds} s)")
    sys.exit(0 if result.is_ok else 1)


def _test_privacy(place: Place, minutes: float, as_json: bool) -> NoReturn:
    started = time.monotonic()

    def go_on(rounds: int) -> bool:
        if not as_json:
            click.echo(f"round {rounds} is over", err=True)
        return time.monotonic() - started < 60 * minutes

    with _keys(place, privacy.USERS) as secrets_of_users:
        service = privacy.Service(place.config.web, secrets_of_users)
        report = privacy.examine(service, go_on)
    # Another server's answers may depend on who else is being served: only its leaks are counted.
    is_ok = report.is_ok or bool(place.config.engine.url and report.answers and not report.leaked)
    names = {"leaked": sorted(report.leaked), "differing": sorted(report.differing)}
    value = {"ok": is_ok, "answers": report.answers, "left": report.left, "repeated": report.repeated, **names}
    show(
        as_json,
        value,
        f"{report.answers} answers of {privacy.CONVERSATIONS} conversations, {report.left} left in the middle: "
        f"{len(report.leaked)} conversations with another's secret, {len(report.differing)} with another answer than "
        f"alone ({report.repeated} answers repeated their own secret)",
    )
    sys.exit(0 if is_ok else 1)


@contextmanager
def _keys(place: Place, count: int) -> Iterator[list[str]]:
    """Have keys for the time of a test; afterwards there is no trace of them."""
    names = [f"selftest-{secrets.token_hex(8)}" for _ in range(count)]
    with place.session() as session:
        made = [keys.add_key(session, name) for name in names]
    try:
        yield made
    finally:
        with place.session() as session:
            for name in names:
                keys.remove_key(session, name)


def present(message: str, hint: str, exit_code: int, as_json: bool) -> int:
    """Show an error where it belongs, and return the exit status."""
    if as_json:
        click.echo(json.dumps({"error": message, "hint": hint, "exit_code": exit_code}, ensure_ascii=False))
    else:
        click.echo(f"error: {message}" + (f"\nhint: {hint}" if hint else ""), err=True)
    return exit_code


def main(arguments: list[str]) -> int:
    """Run a command line. Returns its exit status."""
    os.umask(0o077)
    as_json = "--json" in arguments
    try:
        cli.main(arguments, prog_name="ferry", standalone_mode=False)
    except AdminError as error:
        return present(error.message, error.hint, error.exit_code, as_json)
    except AuditUnavailable as error:
        hint = "what the command did is done and not recorded; free some space, or mend the owner of the log's folder"
        return present(str(error), hint, 1, as_json)
    except (ConfigError, PathsError) as error:
        return present(str(error), error.hint, 2, as_json)
    except (OperationalError, OSError) as error:
        words = str(getattr(error, "orig", error))
        return present(
            f"the database cannot be used: {words}",
            "run it by the ferry command, which is the service's user",
            1,
            as_json,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        command = context.command_path if context else "ferry"
        return present(error.format_message(), f"see: {command} --help", 2, as_json)
    except click.Abort:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
