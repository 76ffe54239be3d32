"""The files of running answers: who writes them, who follows them, and what is left when the writer is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.web import followers
from service.web.events import has_end, left_by, line_of, text_of
from service.web.followers import FarFollower, Follower
from service.web.spool import Busy, Spool, Spools

ROOT = Path(__file__).parents[2]
TEXT = [line_of({"type": "text", "text": f"piece {number} "}) for number in range(20)]
END = line_of({"type": "end", "state": "complete", "figures": {}})
ANOTHER = """
import sys, time
from pathlib import Path
from service.web.spool import Spools
spools = Spools(Path(sys.argv[1]))
spool = spools.lock("c", lambda: (spools.end("c", spool, b'{"type": "end", "state": "stopped"}\\n'), print("stopped")))
spool.begin(7)
spool.write(b'{"type": "text", "text": "from afar"}\\n{"type": "te')
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path / "answers")


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes half an answer of the conversation c, and waits to be stopped or killed."""
    command = [sys.executable, "-c", ANOTHER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "written\n"
        try:
            yield process
        finally:
            process.kill()


def begun(spools: Spools, conversation: str = "c", answer: int = 7) -> Spool:
    spool = spools.lock(conversation)
    spool.begin(answer)
    return spool


def followed(spools: Spools, folder: Path, is_far: bool) -> Follower | FarFollower:
    """Follow c as its own process does, or as any other."""
    found = FarFollower.of(folder / "answers" / "c") if is_far else spools.find("c")
    assert found is not None and isinstance(found, FarFollower) == is_far
    return found


@pytest.mark.parametrize("is_far", [False, True], ids=["here", "from another process"])
def test_whoever_follows_gets_every_line_from_the_beginning_and_the_end(
    spools: Spools, tmp_path: Path, is_far: bool
) -> None:
    spool = begun(spools)
    for line in TEXT[:5]:
        spool.write(line)

    def go_on() -> None:
        for line in TEXT[5:]:
            spool.write(line)
        spools.end("c", spool, END)

    with closing(followed(spools, tmp_path, is_far)) as follower:
        chunks = follower.chunks()
        got = [next(chunks)]
        writer = threading.Thread(target=go_on)
        writer.start()
        got += chunks
        writer.join()
    assert got[0] == b"".join(TEXT[:5]) and b"".join(got) == b"".join([*TEXT, END])
    assert all(chunk.endswith(b"\n") for chunk in got) and has_end(got[-1])


@pytest.mark.parametrize("is_far", [False, True], ids=["here", "from another process"])
def test_who_comes_late_or_is_slow_reads_what_was_written_though_the_file_has_gone(
    spools: Spools, tmp_path: Path, is_far: bool
) -> None:
    spool = begun(spools)
    follower = followed(spools, tmp_path, is_far)
    spool.write(TEXT[0])
    assert follower.so_far() == TEXT[0]
    spools.end("c", spool, END)
    assert list((tmp_path / "answers").iterdir()) == []
    assert b"".join(follower.chunks()) == TEXT[0] + END
    assert follower.wait_ended(0)
    follower.close()
    follower.close()
    assert spools.find("c") is None


def test_the_last_who_lets_go_closes_the_file(spools: Spools) -> None:
    def is_open(fd: int) -> bool:
        return Path(f"/proc/self/fd/{fd}").exists()

    spool = begun(spools)
    fd = spool._fd
    first, second = spools.find("c"), spools.find("c")
    assert first and second
    spools.end("c", spool, END)
    first.close()
    assert is_open(fd)
    second.close()
    assert not is_open(fd) and not spool.hold()


def test_a_conversation_has_one_answer_at_a_time_and_the_next_may_begin_with_the_last_line(spools: Spools) -> None:
    spool = begun(spools)
    with pytest.raises(Busy):
        spools.lock("c")
    other = begun(spools, "d")
    follower = spools.find("c")
    assert follower
    spools.end("c", spool, END)
    again = begun(spools, answer=8)  # though somebody still reads the one before
    again.write(TEXT[1])
    assert b"".join(follower.chunks()) == END
    follower.close()
    found = spools.find("c")
    assert found and found.answer_id == 8 and found.so_far() == TEXT[1]
    found.close()
    for name, each in (("c", again), ("d", other)):
        spools.end(name, each, END)


def test_another_process_is_followed_and_stopped(tmp_path: Path, spools: Spools) -> None:
    with another_process(tmp_path / "answers") as process:
        with pytest.raises(Busy):
            spools.lock("c", patience_s=0)
        found = spools.find("c")
        assert isinstance(found, FarFollower) and found.answer_id == 7
        assert text_of(found.so_far()) == "from afar", "half a line is none"
        spools.stop("c", 6)  # an answer that ended long ago
        assert not found.wait_ended(0.3)
        spools.stop("c", 7)
        assert found.wait_ended(10)
        assert process.stdout and process.stdout.readline() == "stopped\n"
        found.close()
    assert spools.find("c") is None
    assert spools.names() == [] and list((tmp_path / "answers").iterdir()) == [], "stops that came too late are gone"


def test_a_writer_that_was_killed_is_noticed_and_what_it_wrote_can_be_kept(tmp_path: Path, spools: Spools) -> None:
    with another_process(tmp_path / "answers") as process:
        found = spools.find("c")
        assert found
        chunks = found.chunks()
        assert text_of(next(chunks)) == "from afar"
        process.send_signal(signal.SIGKILL)
        assert list(chunks) == [], "the stream ends without its last line"
        found.close()
    assert spools.find("c") is None and spools.is_left("c") and spools.names() == ["c"]
    spool = spools.lock("c")
    assert left_by(spool.left()) == (7, "from afar")
    spools.end("c", spool, END)
    assert not spools.is_left("c")


def test_a_stop_reaches_the_answer_it_was_meant_for_and_no_later_one(spools: Spools, tmp_path: Path) -> None:
    stopped = threading.Event()
    (tmp_path / "answers" / "c.6").touch()
    spool = spools.lock("c", stopped.set)
    spool.begin(7)
    assert not stopped.wait(0.3)
    (tmp_path / "answers" / "c.7").touch()
    assert stopped.wait(10)
    spools.end("c", spool, END)
    assert not (tmp_path / "answers" / "c.7").exists()


def test_the_end_is_told_on_a_disk_that_has_no_room_for_it(spools: Spools, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = begun(spools)
    follower = spools.find("c")
    assert follower

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    spools.end("c", spool, END)
    assert list(follower.chunks()) == [] and spools.find("c") is None
    follower.close()


@pytest.mark.parametrize("left", [b"", b"\n", b"7", b"7\n", b"\0\0\0\0\n", b"x\n{}", b"7\nnull\n[1]\n{}\n\xff\n"])
def test_what_is_no_answer_is_taken_for_none(left: bytes) -> None:
    assert left_by(left)[1] == ""


def test_looking_at_a_file_never_takes_it(spools: Spools, tmp_path: Path) -> None:
    spool = begun(spools)
    spools.end("c", spool, None)
    fd = os.open(tmp_path / "answers" / "c", os.O_RDONLY)
    assert not followers.is_locked(fd) and not followers.is_locked(fd)
    spool = begun(spools, answer=8)
    assert followers.is_locked(fd)
    spools.end("c", spool, END)
    os.close(fd)
