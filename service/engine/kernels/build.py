"""Compile the kernels for this machine's own processor into a folder: object files, and a list of what they are.

As a process of its own: the engine itself never imports numba, which would keep 70 MB. The files are loaded by
loading.py. Nothing is pickled, and no C compiler or linker is needed.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from service.engine.kernels.loading import is_current
from service.engine.kernels.processor import LIST, host

# Precision -> the kinds of weights and of cached keys and values.
KINDS = {"float32": ("float32", "float32"), "int8": ("int8", "uint16")}


def build(folder: Path, lanes: int) -> None:
    """Compile every kind of step into `folder`, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    processor = replace(host(), lanes=lanes)
    with ProcessPoolExecutor(min(len(KINDS), os.cpu_count() or 1)) as pool:
        found = dict(zip(KINDS, pool.map(compile_step, KINDS, [lanes] * len(KINDS)), strict=True))
    for precision, (_, code) in found.items():
        _write(folder / f"{precision}.o", code)
    symbols = {precision: symbol for precision, (symbol, _) in found.items()}
    content = {**processor.render(), "symbols": symbols}
    _write(folder / LIST, (json.dumps(content, indent=1) + "\n").encode())


def compile_step(precision: str, lanes: int) -> tuple[str, bytes]:
    """Compile one kind of step. Returns: the name of its function, and an ELF object file."""
    from service.engine.kernels.step import make_step
    from service.engine.kernels.whole import at_once

    with at_once():
        step = make_step(lanes, *KINDS[precision])
    return step._wrapper_name, step._library._get_compiled_object()


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.replace(path)


def main(arguments: Sequence[str]) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m service.engine.kernels.build",
        description="Compile Ferry's kernels for this processor.",
        epilog="Example: python -m service.engine.kernels.build --like /opt/ferry/current/app/kernels kernels",
    )
    parser.add_argument("folder", type=Path, help="where they go")
    parser.add_argument("--like", type=Path, help="take over the kernels in this folder, where they are the same")
    parser.add_argument("--lanes", type=int, choices=(8, 16), help="another width of vectors than this processor's own")
    options = parser.parse_args(arguments)
    if not host().can_run:
        sys.exit(f"this processor ({host().name}) cannot run them: decoding will be slower")
    if options.like and is_current(options.like):
        shutil.copytree(options.like, options.folder, dirs_exist_ok=True)
    else:
        build(options.folder, options.lanes or host().lanes)


if __name__ == "__main__":
    main(sys.argv[1:])
