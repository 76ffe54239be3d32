"""Checks of what is installed: the release, its settings, and whether it runs and answers. `ferry doctor` asks them."""

from installer.checks import Answer, Question, Subject, advice, must
from installer.facts import Facts


@must
def release(facts: Facts, subject: Subject) -> Answer:
    service = facts.service
    if service is None:
        return None
    ok = not service.release_problem
    hint = "install the bundle again: sh install.sh ferry-….tar; a damaged file is named by: ferry verify"
    return ok, service.release_problem or service.release, f"a whole release in {subject.places.current}", hint


@must
def settings(facts: Facts, subject: Subject) -> Answer:
    service = facts.service
    if service is None or service.release_problem:
        return None
    problem = service.settings_problem
    return (
        not problem,
        problem or "usable",
        "settings that can be used",
        f"edit {subject.places.config}; then: ferry start",
    )


@advice
def settings_private(facts: Facts, subject: Subject) -> Answer:
    service = facts.service
    if service is None or service.settings_mode is None:
        return None
    mode = service.settings_mode
    hint = f"it may hold a password: chmod o-rwx {subject.places.config}"
    # A folder of one's own that nobody else enters keeps it as well.
    return mode & 0o007 == 0, f"{mode:04o}", "not for everybody", hint


@advice
def encryption(facts: Facts, subject: Subject) -> Answer:
    found = facts.service
    if found is None or found.url is None:
        return None
    hint = f"TLS, or nginx in front: see docs/accounts.md; the settings are in {subject.places.config}"
    return not found.warning, found.warning or "as it should be", "no password in clear, and a valid certificate", hint


@must
def service(facts: Facts, subject: Subject) -> Answer:
    found = facts.service
    if found is None or found.release_problem:
        return None
    logs = f"the files in {subject.places.log}" if subject.places.is_user else "journalctl -u ferry -u ferry-engine"
    return found.state != "failed", found.state, "running", f"see {logs}; to try again: ferry start"


@advice
def running(facts: Facts, _subject: Subject) -> Answer:
    found = facts.service
    if found is None or found.release_problem or found.state == "failed":
        return None
    return found.state == "running", found.state, "running", "ferry start"


@advice
def ready(facts: Facts, _subject: Subject) -> Answer:
    found = facts.service
    if found is None or found.state != "running" or found.url is None:
        return None
    hint = "it may still be loading the model; see: ferry status, and then: ferry selftest"
    return (
        found.is_ready,
        "answers" if found.is_ready else "does not answer yet",
        f"an answer at {found.url}/readyz",
        hint,
    )


SERVICE: tuple[Question, ...] = (release, settings, settings_private, encryption, service, running, ready)
