"""Feed every parser with what a coverage-guided fuzzer (atheris, libFuzzer) makes up, and say what came of it.

`python tests/fuzz/fuzzer.py` runs all of them, as many at a time as there are processors; FUZZ_RUNS says how often each
is called (100,000). What widened the coverage is kept below ~/.cache/ferry/fuzz for the next run, and so is every
input that made a parser fail: `fuzzer.py PARSER FILE` shows what that one does. Exit status 1 when there was one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferry" / "fuzz"
RUNS = int(os.environ.get("FUZZ_RUNS", "100000"))
MAX_BYTES, MAX_MEMORY_MB, SLOW_S = 20_000, 2_000, 20
DONE = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
COVERED = re.compile(r"cov: (\d+)")


@dataclass(frozen=True)
class Result:
    """What one parser's run came to; `text` is the end of what the fuzzer said."""

    name: str
    executions: int
    covered: int
    seconds: float
    faults: list[Path]
    text: str
    status: int


def fuzz(name: str) -> Result:
    """Run the fuzzer on one parser, in a process of its own."""
    folder = FOLDER / name.replace(" ", "-")
    started = time.monotonic()
    before = set(folder.glob("*-*")) if folder.is_dir() else set()
    command = [sys.executable, __file__, "--child", name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    seconds = time.monotonic() - started
    executed, covered = DONE.search(done.stderr), COVERED.findall(done.stderr)
    faults = sorted(path for path in set(folder.glob("*-*")) - before if path.is_file())
    count = int(executed[1]) if executed else 0
    last = int(covered[-1]) if covered else 0
    return Result(name, count, last, seconds, faults, done.stderr[-3000:], done.returncode)


def child(name: str, folder: Path) -> None:
    """Fuzz one parser in this process, until the runs are done or it fails."""
    import atheris

    with atheris.instrument_imports(include=["bundle", "checksums", "installer"]):
        from fuzz.parsers import RefusedError, named
    parser, corpus = named(name), folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        with suppress(RefusedError):
            parser.feed(data)

    options = [f"-runs={RUNS}", f"-max_len={MAX_BYTES}", f"-rss_limit_mb={MAX_MEMORY_MB}", f"-timeout={SLOW_S}"]
    options += ["-print_final_stats=1", f"-artifact_prefix={folder}/", "-close_fd_mask=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def main() -> None:
    """Fuzz everything and print a table."""
    if find_spec("atheris") is None:
        sys.exit("error: atheris is not here\nhint: it exists for x86_64 and Python before 3.14: make setup PYTHON3=…")
    from fuzz.parsers import PARSERS

    results = []
    print(f"{'parser':<20}{'executions':>12}{'coverage':>10}{'seconds':>9}  faults", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(fuzz, [parser.name for parser in PARSERS]):
            results.append(found)
            faults = ", ".join(map(str, found.faults)) or ("it ended early" if found.status else "none")
            row = f"{found.name:<20}{found.executions:>12}{found.covered:>10}{found.seconds:>9.0f}  {faults}"
            print(row, flush=True)
    bad = [result for result in results if result.faults or result.status or result.executions < RUNS]
    total = sum(result.executions for result in results)
    for result in bad:
        print(f"\n== {result.name}\n{result.text}", file=sys.stderr)
    print(f"\n{len(results)} parsers, {total} executions, {len(bad)} with faults")
    sys.exit(bool(bad))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
    elif len(sys.argv) == 3:
        from fuzz.parsers import named

        named(sys.argv[1]).feed(Path(sys.argv[2]).read_bytes())
    else:
        main()
