"""Which processor kernels are for: what LLVM says of this one, and how wide its vectors are taken."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

LIST = "kernels.json"
# What goes into the object code, from this folder.
SOURCES = (
    "../decoding.py",
    "arrays.py",
    "attention.py",
    "build.py",
    "linear.py",
    "rows.py",
    "step.py",
    "table.py",
    "threads.py",
    "vector.py",
    "vector_maths.py",
    "whole.py",
)


@dataclass(frozen=True)
class Processor:
    """A processor as LLVM names it; `lanes` is how many float32 a vector of the kernels has."""

    name: str
    features: str
    lanes: int

    @property
    def can_run(self) -> bool:
        """Say whether it multiplies and adds in one instruction, and reads halves: without, kernels would crawl."""
        features = set(self.features.split(","))
        return {"+fma", "+avx2", "+f16c"} <= features or {"+neon", "+fp-armv8"} <= features

    def render(self) -> dict[str, object]:
        """Return what an object file is good for: this processor, this compiler, these sources."""
        digest = hashlib.sha256()
        for name in SOURCES:
            digest.update((Path(__file__).parent / name).read_bytes())
        made_of = {"sources": digest.hexdigest(), "llvmlite": llvmlite.__version__}
        return {"cpu": self.name, "features": self.features, "lanes": self.lanes, **made_of}


def host() -> Processor:
    """Ask LLVM about this machine's processor."""
    features = llvm.get_host_cpu_features()
    # With 32 registers of 512 bits a vector fills one; otherwise half of it fills two of 128, or one of 256.
    lanes = 16 if features.get("avx512vl") else 8
    return Processor(llvm.get_host_cpu_name(), features.flatten(), lanes)


def describe(folder: Path) -> dict[str, object]:
    """Read what the kernels in a folder are for; nothing where there are none."""
    try:
        found: dict[str, object] = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
