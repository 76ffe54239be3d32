"""The command line of the server's side: `install` for install.sh, and everything that `ferry` does.

A command parses, calls one function of the core and presents what it returns. Results go to standard output, steps and
errors to standard error; with --json an error is an object on standard output.
"""

from importlib import import_module
from pathlib import Path

import click

from checksums.errors import IntegrityError, UsageError
from installer import console
from installer.cli_common import as_path
from installer.places import ROOT_PREFIX

# Which module holds a command.
COMMANDS = {
    "audit": "cli_audit",
    "backup": "cli_backup",
    "doctor": "cli_doctor",
    "install": "cli_install",
    "inventory": "cli_verify",
    "key": "cli_accounts",
    "recover": "cli_release",
    "repair": "cli_repair",
    "restore": "cli_backup",
    "rollback": "cli_release",
    "selftest": "cli_accounts",
    "start": "cli_service",
    "status": "cli_service",
    "stop": "cli_service",
    "trust": "cli_trust",
    "uninstall": "cli_uninstall",
    "upgrade": "cli_release",
    "user": "cli_accounts",
    "verify": "cli_verify",
}


class Commands(click.Group):
    """Imports what a command needs when that command is run: compiling all of it takes longer than most commands do.

    https://click.palletsprojects.com/en/stable/complex/#lazily-loading-subcommands
    """

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names."""
        return sorted(COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        try:
            module = import_module(f"installer.{COMMANDS[cmd_name]}")
        except Exception as error:
            raise IntegrityError(
                f"Ferry's program, or the Python that it runs on, is damaged: {error}",
                "install the same bundle again: sh install.sh ferry-….tar",
            ) from error
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.option("--prefix", type=as_path, default=ROOT_PREFIX, help="Where Ferry is installed.", show_default=True)
@click.option("--debug", is_flag=True, expose_value=False, help="Show where an error comes from.")
@click.pass_context
def cli(context: click.Context, prefix: Path) -> None:
    """Run a private chat service that came as one signed bundle. Example: ferry status --json"""
    context.obj = prefix
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(UsageError.exit_code)


def main() -> None:
    """Run the command line and end the process."""
    console.run(cli)
