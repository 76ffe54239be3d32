"""`ferry user`, `ferry key`, `ferry selftest`: what the release's own Python carries out, options and all."""

import click

from installer import admin
from installer.cli_common import installation, need_rights


def _handed_on(name: str, text: str) -> click.Command:
    @click.command(
        name=name,
        help=text,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
    )
    @click.pass_context
    def command(context: click.Context) -> None:
        places, _ = installation(context.obj)
        need_rights(places)
        admin.become(places, name, *context.args)

    return command


user_command = _handed_on("user", "Accounts: add, list, passwd, enable, disable. Example: ferry user add alice")
key_command = _handed_on("key", "API keys: add, list, revoke. Example: ferry key add reports")
selftest_command = _handed_on("selftest", "Ask the model a question through the whole service. Example: ferry selftest")
