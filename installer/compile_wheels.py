"""Compile modules straight out of wheels: `python compile_wheels.py JOBS FOLDER FINAL`, a program of its own.

JOBS is a JSON list of [wheel, member, path in the environment]; the bytecode goes below FOLDER, and names its module
below FINAL. It is run by the Python that it is for, and ends when whoever started it is gone. Standard library only.
"""

import importlib.util
import json
import marshal
import os
import sys
import zipfile
from itertools import groupby
from pathlib import Path

# PEP 552: named by the source's hash, and not compared with it at each start.
UNCHECKED_HASH = (0b01).to_bytes(4, "little")


def main(jobs: Path, folder: Path, final: Path) -> None:
    """Do all jobs; what is no Python of this version is left as it is: some packages carry such."""
    caller = os.getppid()
    for wheel, members in groupby(json.loads(jobs.read_bytes()), key=lambda job: str(job[0])):
        with zipfile.ZipFile(wheel) as archive:
            for _, member, path in members:
                if os.getppid() != caller:
                    return
                data = compiled(archive.read(member), str(final / path))
                if data:
                    write(Path(importlib.util.cache_from_source(str(folder / path))), data)


def compiled(source: bytes, name: str) -> bytes:
    """Return the content of a .pyc file, nothing where the source cannot be compiled."""
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return b""
    return importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(source) + marshal.dumps(code)


def write(path: Path, data: bytes) -> None:
    """Write a new file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except (OSError, zipfile.BadZipFile) as error:
        sys.exit(str(error))
