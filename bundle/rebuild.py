"""A finished bundle -> the same one made again by this checkout, from what the bundle itself names, and compared.

Nothing is decided anew: the wheels are those of its manifest, by digest, the model is at its commit, version, sequence
and date are its own. Signatures cannot be made again and are not compared; SHA256SUMS, which they sign, is. What comes
out is the list of differences, none of which is a proof that the bundle is good or bad.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from bundle import build, hub, interpreter, model_files, models, pack, profiles, signing
from bundle.artifacts import Artifact, of_bytes
from bundle.build import Config, Plan
from bundle.components import NO_COMMERCIAL_USE
from bundle.lock import Lock, Locked
from bundle.profiles import AnyModel, FolderModel, HubModel, PackageModel, Profile, PythonChoice
from bundle.progress import Progress
from bundle.sources import Sources
from checksums.errors import UsageError
from checksums.layout import INTERPRETER_FOLDER, MANIFEST, NEXT_SIGNERS
from checksums.manifest import Manifest
from installer.verify import VerifiedBundle


@dataclass(frozen=True)
class Inputs:
    """What a bundle cannot say: where to fetch from, and the profile or archive of a host that only its owner has."""

    sources: Sources
    profile: str = ""
    python: str = ""
    next_signers: str = ""
    hub_endpoint: str = ""
    hub_token: str = ""


def differences(bundle: VerifiedBundle, inputs: Inputs, progress: Progress) -> list[str]:
    """Make a bundle again, every byte but those of its signatures, and return what differs, one line a file.

    Raises:
        CollectError, IntegrityError: something of it cannot be had any more.
        UsageError: something is needed that only its owner has; the hint names the option.
    """
    manifest = bundle.manifest
    config = configured(manifest, inputs)
    made, carried = build.carry(config, _plan(config, manifest), progress)
    made = replace(made, base=manifest.base)
    left_out = set(manifest.base.files if manifest.base else ())
    kept = [artifact for artifact in carried if artifact.path not in left_out]
    kept.append(of_bytes(MANIFEST, made.render()))
    pack.rehearse(kept, progress)
    return list(_compare(bundle, {artifact.path: artifact for artifact in kept}, made))


def _compare(bundle: VerifiedBundle, made: Mapping[str, Artifact], manifest: Manifest) -> Iterator[str]:
    for path in sorted({*bundle.digests, *made}, key=str.encode):
        theirs, ours = bundle.digests.get(path, ""), made[path].sha256 if path in made else ""
        if theirs and ours and theirs != ours:
            what = f" in {', '.join(_fields(bundle.manifest, manifest))}" if path == MANIFEST else ""
            yield f"{path}: differs{what}"
        elif theirs != ours:
            yield f"{path}: only in the bundle" if theirs else f"{path}: not in the bundle"


def _fields(one: Manifest, other: Manifest) -> Iterator[str]:
    first, second = json.loads(one.render()), json.loads(other.render())
    yield from (key for key in first if first[key] != second[key])


def configured(manifest: Manifest, inputs: Inputs) -> Config:
    """Return the configuration that a bundle was made with.

    Raises:
        UsageError: the manifest does not tell everything, and `inputs` does not tell the rest.
    """
    profile = Profile(manifest.profile, "", manifest.target, _python(manifest, inputs), _model(manifest, inputs))
    created = datetime.strptime(manifest.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return Config(
        profile=profile,
        release=manifest.version,
        epoch_s=int(created.timestamp()),
        sequence=manifest.sequence,
        sources=inputs.sources,
        hub_endpoint=inputs.hub_endpoint,
        hub_token=inputs.hub_token,
        next_signers=_next_signers(manifest, inputs),
    )


def _next_signers(manifest: Manifest, inputs: Inputs) -> bytes | None:
    if manifest.file(NEXT_SIGNERS) is None:
        return None
    if not inputs.next_signers:
        raise UsageError(f"{NEXT_SIGNERS}: comes from its builder's own file", "give that file: --next-signers FILE")
    return signing.next_signers(Path(inputs.next_signers), 1)


def _python(manifest: Manifest, inputs: Inputs) -> PythonChoice:
    if manifest.python.source != "archive":
        return PythonChoice(manifest.python.source)
    if inputs.python:
        return profiles.python_choice(inputs.python)
    if inputs.profile and (choice := profiles.load(inputs.profile).python).source == "archive":
        return choice
    carried = [file.path for file in manifest.files if file.path.startswith(INTERPRETER_FOLDER)]
    raise UsageError(f"{', '.join(carried)}: comes from its builder's own file", "give that file: --python ARCHIVE")


def _model(manifest: Manifest, inputs: Inputs) -> AnyModel:
    """Return the model as a profile names it; a hub's is told by the manifest, any other by a profile."""
    described = manifest.model
    weights = "slim" if any(file.upstream_sha256 for file in manifest.files) else "full"
    if described.source == "modelscope":
        license = described.license.removesuffix(f" {NO_COMMERCIAL_USE}")
        return HubModel(described.id, license, license == described.license, described.revision, weights)
    hint = "give the file that it was made with: --profile FILE"
    if not inputs.profile and manifest.profile not in profiles.names():
        raise UsageError(f"{manifest.profile}: not one of Ferry's own profiles", hint)
    model = profiles.load(inputs.profile or manifest.profile).model
    if (model.source, model.id) != (described.source, described.id):
        what = f"{described.id} from {described.source}"
        raise UsageError(f"the bundle carries {what}, the profile says {model.id} from {model.source}", hint)
    return replace(model, weights=weights) if isinstance(model, FolderModel) else model


def _plan(config: Config, manifest: Manifest) -> Plan:
    """Return the plan that the bundle itself is: its own lock, and the model's files at its very commit."""
    profile, model = config.profile, config.profile.model
    python = interpreter.plan(profile.python, profile.target)
    plan = Plan(lock_of(manifest), "the bundle's own lock", None, python)
    if isinstance(model, FolderModel):
        return replace(plan, listing=model_files.listed(model))
    if isinstance(model, PackageModel):
        return plan
    endpoint = models.endpoint(config.hub_endpoint)
    listing = hub.ask(endpoint, model.id, manifest.model.commit, config.hub_token)
    return replace(plan, listing=replace(listing, revision=model.revision))


def lock_of(manifest: Manifest) -> Lock:
    """Return the lock that a bundle was made from: every wheel that it lists, by its digest."""
    by_path = {file.path: file for file in manifest.files}
    wheels = (
        Locked(wheel.name, wheel.version, wheel.file.rpartition("/")[2], file.sha256, file.size, wheel.origin)
        for wheel in manifest.wheels
        if (file := by_path[wheel.file])
    )
    return Lock("", tuple(sorted(wheels, key=lambda wheel: wheel.name)))
