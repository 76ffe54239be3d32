"""Every kind of fault at steps all over install, upgrade, rollback and uninstall; `make soak` does every single step.

Which steps there are is not guessed: strace shows that no system call that changes something lies between two of them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_campaign import FAULTS, FLOWS, KINDS, Campaign, begin, interrupt
from install_bench import OUTPUT, Bench, benching

# So many interruptions of each flow: spread over all of its steps, the kinds in turn.
TRIED = 6
CHANGING = (
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,"
    "chown,fchown,fchownat,lchown,truncate,ftruncate,write,pwrite64,writev,fsync,fdatasync,sync,syncfs,kill,utimensat,"
    "fallocate,sendfile,copy_file_range,vfork,fork,mknod,mknodat,setxattr,mount,open,openat,creat"
)
MARKS = "stat,lstat,newfstatat,statx"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", FLOWS)
def test_after_a_fault_at_any_step_the_old_or_the_new_release_runs(
    bench: Bench, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign, flow = Campaign(bench), FLOWS[name]
    count = begin(campaign, flow)
    tried = [number for number in range(1, count + 1) if number % max(1, count // TRIED) == 0]
    done = [interrupt(campaign, flow, KINDS[turn % len(KINDS)], number) for turn, number in enumerate(tried)]
    with capsys.disabled():
        print(f"\n{name}: {count} steps; interrupted here: {len(done)}", end=" ")
    assert len(done) >= min(TRIED, count)


@pytest.mark.parametrize("words", [[], ["rollback"]])
def test_no_change_lies_between_two_steps(bench: Bench, words: list[str]) -> None:
    campaign = Campaign(bench)
    for sequence in (1, 2):
        campaign.expect(campaign.run(campaign.install_words(sequence)))
    trace = bench.folder / "trace"
    argv = ["strace", "-qq", "-y", "-o", str(trace), "-e", f"trace={CHANGING},{MARKS}", "-e", "signal=none"]
    program = [sys.executable, str(FAULTS), "COUNT", "0", str(campaign.log), str(campaign.program)]
    command = [*program, "--prefix", str(bench.prefix), *(words or campaign.install_words(3))]
    done = subprocess.run([*argv, *command], **OUTPUT, check=False)
    assert done.returncode == 0, done.stderr
    assert unmarked(trace.read_text(errors="replace").splitlines(), str(campaign.log)) == []


def unmarked(lines: list[str], log: str) -> list[str]:
    """Return the changes that follow another change without a mark between them.

    A new file and the bytes that are written to it at once are one step: either way a file is there that is not whole.
    """
    found, is_marked, opened = [], False, ""
    for line in lines:
        if "ferry-fault-point" in line:
            is_marked = True
        elif is_change(line, log):
            is_write = line.startswith("write(")
            if not is_marked and not (is_write and opened and f"<{opened}>" in line):
                found.append(line)
            is_marked = False
            opened = opened if is_write else "".join(re.findall(r'^openat\(.*?, "([^"]*)"', line))
    return found


def is_change(line: str, log: str) -> bool:
    name = line.partition("(")[0]
    # Not what is in memory only (tqdm has a semaphore in /dev/shm), nor pipes, sockets and terminals.
    if name in MARKS.split(",") or log in line or "= -1 E" in line or "/dev/" in line:
        return False
    if name in {"open", "openat"}:
        return re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", line) is not None
    if name in {"write", "pwrite64", "writev"}:
        return re.match(r"\w+\(\d+</", line) is not None
    return True
