"""Gathers the facts that the checks judge: a subject comes in, `Facts` go out. Takes a fraction of a second."""

import sys
from pathlib import Path

from installer import facts_disk, facts_host, facts_system, interpreter
from installer.checks import Subject
from installer.facts import Facts, attempt


def gather(subject: Subject) -> Facts:
    """Find out all that the checks want to know; a part that cannot be gathered says so when it is asked."""
    places = subject.places
    return Facts(
        machine=attempt(facts_host.machine),
        memory=attempt(lambda: facts_host.memory(places.is_user)),
        limits=attempt(lambda: facts_host.limits(places.is_user)),
        volumes=facts_disk.volumes(places),
        python=None if subject.is_carried else attempt(lambda: facts_system.python(program(subject))),
        system=attempt(lambda: facts_system.system(places)),
        network=attempt(lambda: facts_system.network_of(subject.listen)),
        earlier=attempt(lambda: facts_system.earlier(places)),
        room=attempt(lambda: facts_disk.room(subject.manifest, places, program(subject))),
    )


def program(subject: Subject) -> Path:
    """Return the interpreter that the release runs on, there or not; without a word of it, the one that runs this."""
    file = interpreter.carried(subject.manifest) if subject.is_carried else None
    if file:
        return interpreter.program(file, subject.places, subject.manifest.target.python)
    return subject.python or Path(sys.executable).resolve()
