"""Requirements -> Lock, on any build host; and where the wheels of a lock can be had.

CPU torch: from the configured sources where they offer it, else from PyTorch's own CPU index, whose address uv knows.
"""

from collections.abc import Sequence
from dataclasses import replace

from bundle import lock
from bundle.lock import Lock, Locked
from bundle.missing import MissingError, find_missing, lacks_torch
from bundle.resolver import NoSolutionError, Offer, Question, ask, ask_needs
from bundle.sources import Sources
from checksums.errors import CollectError
from checksums.manifest import Target


def resolve(requirements: str, target: Target, sources: Sources) -> Lock:
    """Return the wheels that satisfy `requirements` (pip's syntax) on `target`, proved to be complete.

    Raises:
        MissingError: the sources have no wheel for some requirement or dependency; all of these are named.
        CollectError: the sources cannot be reached, or what they offer contradicts itself; the message is uv's.
    """
    question, offers = _answer(Question(requirements, target, sources))
    needs = ask_needs(question, [offer.wheel for offer in offers])
    wheels = tuple(replace(offer.wheel, needs=needs[offer.wheel.name]) for offer in offers)
    made = Lock(lock.requirements_digest(requirements), wheels)
    lock.check(made, target)
    lock.prove(made, requirements, target)
    return made


def locate(wheels: Sequence[Locked], target: Target, sources: Sources) -> Sources:
    """Ask the sources for exactly these wheels, before any is fetched; return the sources that together have them.

    Raises:
        CollectError: a source cannot be reached, or wheels of the lock are not offered; all of those are named.
    """
    pins = "".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels)
    _, found = _answer(Question(pins, target, sources, is_alone=True))
    offers = {offer.wheel.name: offer for offer in found}
    lost = [wheel.file for wheel in wheels if offers[wheel.name].wheel.sha256 != wheel.sha256]
    if lost:
        raise CollectError(
            f"not offered with the locked digest: {', '.join(lost)}",
            "add the source that has them (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL), or run: python -m bundle lock",
        )
    for index in sorted({offer.extra_index for offer in offers.values()} - {""}):
        sources = sources.with_index(index)
    return sources


def _answer(question: Question) -> tuple[Question, list[Offer]]:
    """Ask the configured sources, and PyTorch's index as well where it is torch that they lack."""
    try:
        return question, ask(question)
    except NoSolutionError as error:
        if not lacks_torch(question):
            raise _complete(question, error) from error
        unsolved = error
    with_torch = replace(question, with_torch_index=True)
    try:
        return with_torch, ask(with_torch)
    except NoSolutionError as error:
        raise _complete(with_torch, error) from error
    except CollectError as error:
        note = f"\nand PyTorch's own CPU index gave no answer: {'; '.join(error.message.splitlines()[1:3])}"
        raise _complete(question, unsolved, note) from error


def _complete(question: Question, error: NoSolutionError, note: str = "") -> CollectError:
    """Return the error that names everything that is missing; uv's own where nothing is, and it is a contradiction."""
    missing, rest = find_missing(question, error)
    if not missing:
        return CollectError(f"the wheels cannot be resolved:\n{error.message}", error.hint)
    if rest is not None:
        note = f"\nand of the others:\n{rest.message}{note}"
    return MissingError(missing, question.target, note)
