"""Bytecode of the wheels' modules, made from the wheels themselves while uv still lays out their files.

A release's wheels come in; bytecode goes into the staging folder, and from there to its modules once they stand. Each
file says that its source is not to be looked at: whether that is as it was is what `ferry verify` tells.
"""

import json
import os
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from checksums import process
from installer.wheel_files import WheelFile

# What no start of the service imports, measured on the demo: tests, torch's compilers, the other models' code, and
# whole packages that others only may use, or that only decoding with torch's own operators takes, where kernels cannot
# run. They hold three quarters of all bytes. What the list misses only takes longer, here or at a start;
# tests/e2e/test_user_mode.py tells when that grows.
_UNUSED = (
    "networkx", "setuptools", "pydantic(_core)?", "fsspec", "typer", "cffi", "pycparser", "markdown_it", "functorch",
    "sympy", "mpmath", "numba/(cuda|typed)", "ldap3/protocol/schemas",
    "pygments/(lexers|styles)", "numpy/(distutils|f2py|testing)", "gevent/testing", "gunicorn/(asgi|dirty)",
    "alembic/testing", "sqlalchemy/(testing|ext/asyncio|dialects/(mysql|oracle|mssql))",
    "huggingface_hub/(cli|inference)",
    "transformers/(exporters|pipelines|cli|distributed|loss|quantizers|generation/continuous_batching)",
    "torchgen/(packaged|api|dest)",
    "torch/(testing/_internal|_inductor|_dynamo|_numpy|_vendor|onnx|_export/(serde|passes))",
    "torch/utils/(hipify|benchmark|tensorboard|_sympy)",
    "torch/(ao/(ns|pruning|quantization/(fx|backend_config))|fx/experimental/migrate_gradual_types|backends/_nnapi)",
    "torch/distributed/(pipelining|_tools|optim|tensor|fsdp|elastic|checkpoint|_shard|_local_tensor|flight_recorder)",
)  # fmt: skip
_NOT_COMPILED = rf"/tests?/|/({'|'.join(_UNUSED)})/|/transformers/models/(?!auto/|{{model}}/)[^/]+/"
FOLDER, MADE = "bytecode", "made"
PROGRAM = "compile_wheels.py"
# A compiler takes 60 MB of memory, and there is work for so many.
MAX_COMPILERS = 8


@contextmanager
def compiling(
    python: Path, staging: Path, final: Path, modules: Sequence[WheelFile], model_type: str
) -> Iterator[Callable[[], object]]:
    """Compile, beside the block, what a start may import of the `modules`; yield what waits for the end of that.

    It is done by `python`, on all cores, into the staging folder; tracebacks will name the modules below `final`.
    """
    place = staging / FOLDER
    place.mkdir()
    program = place / PROGRAM
    program.write_bytes(pkgutil.get_data("installer", PROGRAM) or b"")
    wanted = choose(modules, model_type)
    with ExitStack() as stack:
        endings = []
        for number, part in enumerate(share(wanted, min(len(os.sched_getaffinity(0)), MAX_COMPILERS))):
            jobs = place / f"{number}.json"
            jobs.write_text(json.dumps([[str(file.wheel), file.member, file.path] for file in part]))
            words = [str(word) for word in (program, jobs, place / MADE, final)]
            endings.append(stack.enter_context(process.beside([python, "-I", "-B", "-S", "-W", "ignore", *words])))
        yield lambda: [ending() for ending in endings]


def choose(files: Sequence[WheelFile], model_type: str) -> list[WheelFile]:
    """Return the modules that a start may import, but none that two wheels bring: which one will stand is for uv."""
    unused = re.compile(_NOT_COMPILED.format(model=model_type))
    times = Counter(file.path for file in files)
    return [
        file
        for file in files
        if file.path.endswith(".py") and times[file.path] == 1 and not unused.search(f"/{file.path}")
    ]


def share(files: Sequence[WheelFile], count: int) -> list[list[WheelFile]]:
    """Deal files out into parts of about the same size, none of them empty, each in the order of the wheels."""
    by_size = sorted(files, key=lambda file: (-file.size_bytes, file.path))
    parts = (by_size[number::count] for number in range(min(count, len(files))))
    return [sorted(part, key=lambda file: (file.wheel, file.path)) for part in parts]


def place(staging: Path, venv: Path) -> None:
    """Move what was compiled to the modules."""
    made = staging / FOLDER / MADE
    for folder, _, names in os.walk(made):
        if names:
            target = venv / Path(folder).relative_to(made)
            target.mkdir(exist_ok=True)
            for name in names:
                Path(folder, name).replace(target / name)
