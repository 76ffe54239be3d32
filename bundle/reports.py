"""What the commands say: plans, manifests and results as JSON values and as text. Pure."""

from pathlib import Path
from typing import Any

from bundle.build import Config, Plan
from bundle.components import NO_COMMERCIAL_USE
from bundle.lock import total_bytes
from bundle.pack import Written
from bundle.profiles import PackageModel
from bundle.wording import size
from checksums import parts
from checksums.manifest import Manifest


def paths(written: Written) -> list[Path]:
    """Return the files of a finished bundle, the tarball or its parts first."""
    return [*written.bundle, *written.others]


def built(written: Written, manifest: Manifest) -> dict[str, Any]:
    """Return what `build --json` says."""
    return {
        "bundle": str(written.tarball),
        "files": [str(path) for path in written.others],
        "name": manifest.name,
        "version": manifest.version,
        "sequence": manifest.sequence,
        "parts": [str(path) for path in written.bundle if parts.is_part(path)],
        "size_bytes": sum(path.stat().st_size for path in written.bundle),
        "left_out": len(manifest.base.files) if manifest.base else 0,
    }


def planned(config: Config, plan: Plan) -> dict[str, Any]:
    """Return what `plan --json` says."""
    model, target = config.profile.model, config.profile.target
    wheels = [{"file": w.file, "size": w.size_bytes, "sha256": w.sha256, "origin": w.origin} for w in plan.lock.wheels]
    files = (
        [{"path": f.path, "size": f.size_bytes, "sha256": f.sha256} for f in plan.listing.files] if plan.listing else []
    )
    return {
        "name": config.name,
        "target": vars(target),
        "python": planned_python(config, plan),
        "model": {
            "source": model.source,
            "id": model.id,
            "revision": model.revision,
            "commit": plan.listing.commit if plan.listing else "",
            "license": model.license,
            "commercial_use": model.commercial_use,
            "size": model_bytes(config, plan),
            "files": files,
        },
        "lock": plan.lock_origin,
        "requirements": list(plan.requirements),
        "size": total_bytes(plan.lock.wheels),
        "wheels": wheels,
        **_total(config, plan),
    }


def _total(config: Config, plan: Plan) -> dict[str, Any]:
    """Return what is carried together, and the parts whose size nobody has told yet."""
    sizes = {
        "wheels": min((wheel.size_bytes for wheel in plan.lock.wheels), default=0) and total_bytes(plan.lock.wheels),
        "model": model_bytes(config, plan),
    }
    if plan.python is not None:
        sizes["interpreter"] = plan.python.size_bytes
    return {"total_size": sum(sizes.values()), "unknown_sizes": [name for name, value in sizes.items() if not value]}


def planned_python(config: Config, plan: Plan) -> dict[str, Any]:
    """Return what `plan --json` says of the interpreter; of the server's own only that it is that."""
    if plan.python is None:
        return {"source": config.profile.python.source}
    found = plan.python
    return {
        "source": found.source,
        "version": found.version,
        "file": found.name,
        "sha256": found.sha256,
        "size": found.size_bytes,
        "from": found.origin,
    }


def _python_text(report: dict[str, Any]) -> str:
    if report["source"] == "host":
        return "the server's own"
    return f"{report['version']}, {report['file']}, {_fetched(report['size'])} ({report['source']})"


def model_bytes(config: Config, plan: Plan) -> int:
    """Return what fetching the model takes."""
    if plan.listing is not None:
        return plan.listing.size_bytes
    return config.profile.model.size_bytes if isinstance(config.profile.model, PackageModel) else 0


def plan_text(report: dict[str, Any]) -> str:
    """Return a plan for people; what matters comes last, where it stays on the screen."""
    model, target = report["model"], report["target"]
    commit = f" at {model['commit']}" if model["commit"] else ""
    lines = [f"  {wheel['file']}  {size(wheel['size'])}  {wheel['origin']}" for wheel in report["wheels"]]
    lines += [f"  {file['path']}  {size(file['size'])}" for file in model["files"]]
    return "\n".join(
        [
            *lines,
            "",
            f"bundle   {report['name']}",
            f"target   Python {target['python']}, {target['platform']}, glibc {target['glibc']}",
            f"python   {_python_text(report['python'])}",
            f"model    {model['id']} {model['revision']}{commit} from {model['source']}, {_fetched(model['size'])}",
            f"licence  {model['license']}{'' if model['commercial_use'] else ' ' + NO_COMMERCIAL_USE}",
            f"wheels   {len(report['wheels'])}, {size(report['size'])} ({report['lock']})",
            f"proof    {len(report['requirements'])} requirements and all that they need: "
            "a wheel each that fits the target",
            f"total    {size(report['total_size'])} to fetch{_unknown(report)}",
        ]
    )


def _fetched(size_bytes: int) -> str:
    return size(size_bytes) if size_bytes else "size unknown"


def _unknown(report: dict[str, Any]) -> str:
    names = report["unknown_sizes"]
    asked = " (the hub was not asked: --ask-hub)" if "model" in names and report["model"]["source"] != "package" else ""
    return f", and the {' and the '.join(names)}, of unknown size{asked}" if names else ""
