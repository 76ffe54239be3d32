"""Compile the kernels for this machine's own processor into a folder: object files, and a list of what they are.

`python -m service.engine.kernels.build FOLDER`, as a process of its own: the engine itself never imports numba, which
would keep 70 MB. The files are loaded by loading.py. Nothing is pickled, and no C compiler or linker is needed.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from service.engine.kernels.processor import LIST, host

# Precision -> the kinds of weights and of cached keys and values.
KINDS = {"float32": ("float32", "float32"), "int8": ("int8", "uint16")}


def build(folder: Path) -> None:
    """Compile every kind of step into `folder`, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    processor = host()
    with ProcessPoolExecutor(min(len(KINDS), os.cpu_count() or 1)) as pool:
        found = dict(zip(KINDS, pool.map(compile_step, KINDS, [processor.lanes] * len(KINDS)), strict=True))
    for precision, (_, code) in found.items():
        _write(folder / f"{precision}.o", code)
    symbols = {precision: symbol for precision, (symbol, _) in found.items()}
    content = {**processor.render(), "symbols": symbols}
    _write(folder / LIST, (json.dumps(content, indent=1) + "\n").encode())


def compile_step(precision: str, lanes: int) -> tuple[str, bytes]:
    """Compile one kind of step. Returns: the name of its function, and an ELF object file."""
    from numba import types

    from service.engine.kernels.step import make_step

    weights, cache = (getattr(types, kind) for kind in KINDS[precision])
    step = make_step(lanes, weights, cache)
    return step._wrapper_name, step._library._get_compiled_object()


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    os.replace(beside, path)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m service.engine.kernels.build FOLDER")
    build(Path(sys.argv[1]))
