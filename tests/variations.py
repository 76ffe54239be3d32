"""Build one bundle again and again while everything changes that must not matter, and compare the bytes.

What changes: the clock (libfaketime, for every process), time zone, locale, umask, user name, home, working folder, the
checkout's path, modes and times, hash seed, the order in which folders are listed, and how many processors there are.
`python tests/variations.py 20` does it with the demo profile, unsigned and signed, and prints the digests (make soak).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = "1735689600"
FOLDERS = ("bundle", "checksums", "installer", "service", "systemd")
FILES = ("LICENSE", "requirements.in")
CLOCKS = ("1999-12-31 23:59:58", "2024-02-29 12:00:00", "2038-01-19 03:14:08", "2061-07-01 06:30:00")
ZONES = ("UTC", "Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu", "Pacific/Marquesas")
LOCALES = ("C", "C.UTF-8", "POSIX", "de_DE.UTF-8", "tr_TR.UTF-8", "zh_CN.UTF-8")
UMASKS = (0o022, 0o077, 0o002, 0o027)
# Read by every Python that starts with it on its path: pip, uv's helpers and our own.
SHUFFLED = """
import os, random
chosen = random.Random(int(os.environ["SHUFFLE"]))
listdir, scandir = os.listdir, os.scandir
class Scan:
    def __init__(self, found): self.found = iter(found)
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def __iter__(self): return self
    def __next__(self): return next(self.found)
    def close(self): pass
def shuffle(found):
    chosen.shuffle(found)
    return found
os.listdir = lambda path=".": shuffle(listdir(path))
os.scandir = lambda path=".": Scan(shuffle(list(scandir(path))))
"""


def snapshot(place: Path) -> Path:
    """Copy what a bundle is made from, so that nothing changes between two builds; return the copy."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copyfile(ROOT / name, place / name)
    return place


def build(number: int, checkout: Path, words: Sequence[str], out: Path) -> dict[str, str]:
    """Run `python -m bundle build` under the circumstances of this number; return name -> SHA-256 of what it wrote."""
    chosen = random.Random(number)
    umask = UMASKS[number % len(UMASKS)]
    with tempfile.TemporaryDirectory(prefix=f"build {number} ") as name:
        folder = Path(name)
        places = {place: folder / chosen.choice("abc") / f"{place} {number}" for place in ("checkout", "home", "work")}
        for place in places.values():
            place.mkdir(parents=True)
        _copy(checkout, places["checkout"], chosen, umask)
        (folder / "sitecustomize.py").write_text(SHUFFLED)
        command = [sys.executable, "-m", "bundle", "build", "--quiet", "--out", str(out), *words]
        clock = chosen.choice(CLOCKS)
        done = subprocess.run(
            ["faketime", "-f", f"@{clock}", "taskset", "-c", _processors(number), *command],
            cwd=places["work"],
            env=_environment(number, chosen, [str(places["checkout"]), str(folder)], places["home"]),
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"build {number} at {clock}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return {path.name: digest(path) for path in sorted(out.iterdir())}


def _environment(number: int, chosen: random.Random, paths: list[str], home: Path) -> dict[str, str]:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    changes = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": str(chosen.randrange(1 << 32)),
        "SHUFFLE": str(number),
        "SOURCE_DATE_EPOCH": EPOCH,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Else no compiled module is as old as its source says, and everything is compiled anew.
        "NO_FAKE_STAT": "1",
        "XDG_CACHE_HOME": caches,
        "HOME": str(home),
        "USER": f"builder{number}",
        "LOGNAME": f"builder{number}",
        "TZ": chosen.choice(ZONES),
        "LC_ALL": chosen.choice(LOCALES),
        "COLUMNS": str(20 + number),
    }
    return {**os.environ, **changes}


def _processors(number: int) -> str:
    there = sorted(os.sched_getaffinity(0))
    return ",".join(map(str, there[: 1 + number % len(there)]))


def _copy(checkout: Path, place: Path, chosen: random.Random, umask: int) -> None:
    """Copy the checkout file by file in an order of its own, with modes and times of its own."""
    found = sorted(path for path in checkout.rglob("*") if path.is_file())
    chosen.shuffle(found)
    for path in found:
        copy = place / path.relative_to(checkout)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o666 & ~umask)
        os.utime(copy, (chosen.randrange(1 << 31), chosen.randrange(1 << 31)))


def digest(path: Path) -> str:
    """Return a file's SHA-256, taken by other code than Ferry's."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Build the demo so many times, unsigned and signed, and say which digests came out."""
    count = int(sys.argv[1])
    seen: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        key, checkout = Path(name, "key"), snapshot(Path(name, "checkout"))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        for number in range(count):
            for kind, words in {"unsigned": (), "signed": ("--sign-key", str(key))}.items():
                made = build(number, checkout, ("--profile", "demo", *words), Path(name, "out"))
                shutil.rmtree(Path(name, "out"))
                for file, found in made.items():
                    seen.setdefault(f"{kind:<8} {file}", set()).add(found)
                    print(f"{number + 1:2}/{count} {kind:<8} {found} {file}", flush=True)
    print()
    for what, digests in seen.items():
        print(f"{what}: {len(digests)} digest{'s' if len(digests) > 1 else ''} in {count} builds")
    sys.exit(any(len(digests) > 1 for digests in seen.values()))


if __name__ == "__main__":
    main()
