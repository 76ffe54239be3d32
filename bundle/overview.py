"""What `inspect` says of a bundle to a tired person: one screen, the answers to what is asked first. Pure."""

from bundle import components, licences
from bundle.glance import Glance
from bundle.wording import delta_text, size
from checksums.layout import INTERPRETER_FOLDER, NEXT_SIGNERS, WHEELS
from checksums.manifest import Manifest

GROUPS = {
    "wheels": WHEELS,
    "model": components.MODEL_FOLDER,
    "Python": INTERPRETER_FOLDER,
    "service": components.APP_FOLDER,
    "licence texts": "licenses/",
}
NOT_PROVED = "not proved: this is what the bundle says of itself (python -m bundle verify proves it)"


def text(seen: Glance, with_files: bool) -> str:
    """Return the overview; with files, every one with size and digest below it."""
    manifest = seen.manifest
    model, target, requires = manifest.model, manifest.target, manifest.requires
    meaning = licences.judge(*_licence(manifest)).words
    lines = [
        manifest.name,
        NOT_PROVED,
        "",
        f"release   {manifest.version}, sequence {manifest.sequence}, made {manifest.created}",
        f"for       {target.platform}, Python {target.python}, glibc {target.glibc} or newer",
        f"python    {_python(manifest)}",
        f"model     {model.id}, {model.dtype}, {model.parameters / 1e6:,.0f} million parameters",
        f"          from {model.source}, {model.revision}, commit {model.commit}",
        f"licence   {model.license}",
        f"          {meaning}",
        f"signed    {_signed(seen)}",
        f"carries   {seen.file_count} files: {_sizes(manifest)}",
        f"needs     {size(requires.disk_bytes)} of disk, {size(requires.ram_bytes)} of memory",
    ]
    if manifest.base:
        lines.append(f"delta     {delta_text(manifest)}")
    if brought := manifest.file(NEXT_SIGNERS):
        lines.append(f"keys      brings another list of trusted keys, sha256:{brought.sha256}")
    if with_files:
        lines += ["", *(f"  {file.path}  {size(file.size)}  {file.sha256}" for file in manifest.files)]
    return "\n".join(lines)


def _licence(manifest: Manifest) -> tuple[str, bool]:
    (model,) = (one for one in components.of(manifest, "") if one.kind == components.MODEL)
    return model.license, model.allows_commercial_use


def _python(manifest: Manifest) -> str:
    if any(file.path.startswith(INTERPRETER_FOLDER) for file in manifest.files):
        return f"{manifest.python.version} travels with it ({manifest.python.source})"
    return "the server's own; none travels with it"


def _signed(seen: Glance) -> str:
    return f"with {', '.join(seen.signed_by)} (not checked)" if seen.signed_by else "NOT SIGNED"


def _sizes(manifest: Manifest) -> str:
    left_out = set(manifest.base.files) if manifest.base else set()
    carried = [file for file in manifest.files if file.path not in left_out]
    words = []
    for name, folder in GROUPS.items():
        files = [file for file in carried if file.path.startswith(folder)]
        count = f"{len(files)} " if name == "wheels" else ""
        words += [f"{count}{name} {size(sum(file.size for file in files))}"] if files else []
    return f"{', '.join(words)}; {size(sum(file.size for file in carried))} in all"
