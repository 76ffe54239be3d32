"""Who is measured: Ferry's engine in both precisions, and with peers llama.cpp, OpenVINO GenAI and transformers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import engine_models, peers

ROOT = Path(__file__).resolve().parent.parent
OURS = {precision: f"ferry {precision}" for precision in ("float32", "int8")}
LLAMA_F32, LLAMA_Q8 = "llama.cpp F32", "llama.cpp Q8_0"
OPENVINO, TRANSFORMERS = "OpenVINO int8", "transformers float32"
# Whose limit an engine's speed is compared with.
CLASSES = {
    **{name: precision for precision, name in OURS.items()},
    LLAMA_F32: "float32",
    TRANSFORMERS: "float32",
    LLAMA_Q8: "int8",
    OPENVINO: "int8",
}


@dataclass(frozen=True)
class Engine:
    """One engine on one model: the program that runs a workload, and the file or folder that it reads."""

    name: str
    label: str
    words: Sequence[str]
    model: Path
    precision: str


def engines(model: str, with_peers: bool, left_out: dict[str, str]) -> list[Engine]:
    """Return the engines, each of ours beside those it is compared with; what cannot be made here is in `left_out`."""
    folder = engine_models.folder(model)
    ours = [sys.executable, "-m", "benchmarks.engine_ours"]
    made: dict[str, Callable[[], tuple[list[str], Path, str]]] = {OURS["float32"]: lambda: (ours, folder, "float32")}
    if with_peers:
        made[LLAMA_F32] = lambda: (_in(peers.llama_cpp(), "llama"), engine_models.gguf(model, "f32"), "f32")
        made[TRANSFORMERS] = lambda: (_in(Path(sys.executable), "transformers"), folder, "float32")
    made[OURS["int8"]] = lambda: (ours, folder, "int8")
    if with_peers:
        made[LLAMA_Q8] = lambda: (_in(peers.llama_cpp(), "llama"), engine_models.gguf(model, "q8_0"), "q8_0")
        made[OPENVINO] = lambda: (_in(peers.openvino(), "openvino"), engine_models.openvino(model), "int8")
    found = []
    for name, make in made.items():
        label = f"{model}: {name}"
        try:
            found.append(Engine(name, label, *make()))
        except RuntimeError as error:
            leave_out(label, error, left_out)
    return found


def leave_out(label: str, error: Exception, left_out: dict[str, str]) -> None:
    """Go on without what cannot be measured, and say so at once: a run takes long."""
    left_out[label] = str(error)
    print(f"left out: {label}: {error}", file=sys.stderr)


def _in(python: Path, name: str) -> list[str]:
    return [str(python), "-m", f"benchmarks.engine_{name}"]


def child(words: Sequence[str], **environment: str) -> dict[str, Any]:
    """Run a measurement to its end, and return the JSON of its last line.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
