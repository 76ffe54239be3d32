"""Hand an upgrade over: the installed code proves the new bundle's head, and runs the install.pyz that it carries.

Whose bundles count is for the server's own list to say. The new program is run from memory, by the very bytes that were
proved, and this process becomes it: signals, terminal and exit status are its own.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from checksums.errors import HostError
from checksums.layout import INSTALLER
from installer import settings
from installer.places import Places
from installer.verify import Trust, VerifiedBundle, open_bundle, open_file


def hand_over(
    places: Places, bundle: Sequence[Path], is_unsigned: bool, python: str | None, words: list[str]
) -> NoReturn:
    """Become the install command of the bundle's own installer, with `words` as its options.

    `python` names an interpreter of the server's; without it the one of the release that runs is taken.

    Raises:
        UsageError: no such bundle.
        IntegrityError: the bundle is damaged or not trusted.
        HostError: no such interpreter.
    """
    trust = Trust(places.allowed_signers, is_unsigned, settings.threshold_of(places, None))
    with open_file(bundle) as stream:
        program = _in_memory(open_bundle(stream, trust))
    interpreter = _interpreter(python)
    mode = ["--user-mode"] if places.is_user else []
    unsigned = ["--insecure-unsigned"] if is_unsigned else []
    own = ["--allowed-signers", str(places.allowed_signers)] if places.allowed_signers.is_file() else []
    named = ["--host-python"] if python else []
    argv = [interpreter, "-I", "-B", program, "--prefix", str(places.prefix), "install", *map(str, bundle)]
    os.execv(interpreter, [*argv, *mode, *named, *own, *unsigned, *words])


def _in_memory(bundle: VerifiedBundle) -> str:
    """Put the proved program into a file that has no name; return a path that only this process and its heirs know."""
    descriptor = os.memfd_create("install.pyz", 0)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(bundle.head[INSTALLER])
    return f"/proc/self/fd/{descriptor}"


def _interpreter(python: str | None) -> str:
    if python is None:
        # The interpreter under the release's environment, which may be pruned while we run.
        return str(Path(sys.executable).resolve())
    found = shutil.which(python)
    if found is None:
        raise HostError(f"{python}: no such program", "name one that is there: ferry upgrade … --python PATH")
    return str(Path(found).absolute())
