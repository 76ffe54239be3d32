"""`ferry trust`: the list is shown, added to, taken from and replaced, whole or not at all, and never made useless."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from trust_bench import Ring, make_ring

from checksums.errors import FerryError, HostError, IntegrityError, UsageError
from checksums.layout import NEXT_SIGNERS
from installer import rotation, settings, state, trust
from installer.cli import cli
from installer.lock import exclusive
from installer.places import Places, places_of
from installer.release import installed_path
from installer.state import State

LIST = '# our keys\n\nferry namespaces="ferry-bundle" {a} Anna\nferry {b} Ben # since May\nsomeone {c}\n'


@dataclass(frozen=True)
class Server:
    """An installation that is no more than its state, its settings and its list; and the keys."""

    places: Places
    ring: Ring
    capsys: pytest.CaptureFixture[str]

    def list(self, template: str) -> None:
        self.places.allowed_signers.write_text(self.ring.text(template))

    def set_threshold(self, number: int) -> None:
        self.places.config.write_text(f"[trust]\nthreshold = {number}\n")

    def ferry(self, *words: str | Path) -> Any:
        cli.main(["--prefix", str(self.places.prefix), "trust", *map(str, words), "--json"], standalone_mode=False)
        return json.loads(self.capsys.readouterr().out)

    def fails(self, *words: str | Path) -> FerryError:
        before = self.places.allowed_signers.read_bytes()
        with pytest.raises(FerryError) as caught:
            self.ferry(*words)
        assert self.places.allowed_signers.read_bytes() == before and caught.value.hint
        return caught.value

    def file(self, template: str) -> Path:
        path = self.places.prefix / "offered"
        path.write_text(self.ring.text(template))
        return path


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Ring:
    return make_ring(tmp_path_factory.mktemp("ring"))


@pytest.fixture
def server(tmp_path: Path, ring: Ring, capsys: pytest.CaptureFixture[str]) -> Server:
    places = places_of(tmp_path, is_user=True)
    places.etc.mkdir()
    places.state.write_bytes(state.render(State("user", "1", "1", 1, sys.executable)))
    made = Server(places, ring, capsys)
    made.list(LIST)
    return made


def test_the_list_is_shown_with_what_counts_and_why_not(server: Server) -> None:
    server.list(LIST + 'ferry valid-before="20200101" {e} old\nferry valid-after="20990101" {r}\n')
    found = server.ferry("list")
    assert found["threshold"] == 1
    shown = [(key["fingerprint"], key["comment"], key["counts"], key["why"]) for key in found["keys"]]
    assert shown == [
        (server.ring.fingerprint("a"), "Anna", True, ""),
        (server.ring.fingerprint("b"), "Ben # since May", True, ""),
        (server.ring.fingerprint("c"), "", False, "not for ferry"),
        (server.ring.fingerprint("e"), "old", False, "expired"),
        (server.ring.fingerprint("r"), "", False, "not yet valid"),
    ]
    assert found["keys"][3]["valid_before"] == "2020-01-01 00:00:00 UTC" and found["keys"][4]["type"] == "ssh-rsa"


def test_a_fingerprint_is_the_one_that_ssh_keygen_shows(server: Server) -> None:
    for name in "aer":
        shown = subprocess.run(["ssh-keygen", "-lf", server.ring.key(name)], capture_output=True, text=True, check=True)
        assert server.ring.fingerprint(name) == shown.stdout.split()[1]


def test_added_keys_stand_behind_and_nothing_else_changes(server: Server) -> None:
    before = server.places.allowed_signers.read_text()
    more = server.file("# theirs\nferry {a} Anna again\nferry {e} Eve\n")
    wanted = [server.ring.fingerprint(name) for name in "ae"]
    assert server.ferry("add", more, "--yes", "--dry-run") == {"changed": False, "added": wanted, "removed": wanted[:1]}
    assert server.places.allowed_signers.read_text() == before
    assert server.ferry("add", more, "--yes")["changed"] is True
    text = before.replace(server.ring.text('ferry namespaces="ferry-bundle" {a} Anna\n'), "")
    assert server.places.allowed_signers.read_text() == text + server.ring.text("ferry {a} Anna again\nferry {e} Eve\n")
    assert server.places.allowed_signers.stat().st_mode & 0o777 == 0o644
    assert server.ferry("add", more, "--yes") == {"changed": False, "added": [], "removed": []}


def test_a_list_without_a_final_newline_and_with_windows_line_ends_is_added_to(server: Server) -> None:
    server.places.allowed_signers.write_text(server.ring.text("ferry {a}\r\n# end"))
    more = server.places.prefix / "more"
    more.write_text(server.ring.text("ferry {b} Ben\r\n"))
    server.ferry("add", more, "--yes")
    assert (
        server.places.allowed_signers.read_bytes() == server.ring.text("ferry {a}\r\n# end\nferry {b} Ben\n").encode()
    )


def test_a_list_can_take_the_place_of_the_whole(server: Server) -> None:
    more = server.file("ferry {e}\n")
    done = server.ferry("add", "--replace", more, "--yes")
    assert done["added"] == [server.ring.fingerprint("e")] and len(done["removed"]) == 3
    assert server.places.allowed_signers.read_bytes() == more.read_bytes()


def test_a_revoked_key_is_gone_in_every_line(server: Server) -> None:
    server.list(LIST + "ferry {a} the same key once more\n")
    done = server.ferry("revoke", server.ring.fingerprint("a"), "--yes")
    assert done["removed"] == [server.ring.fingerprint("a")] * 2
    assert server.places.allowed_signers.read_text() == server.ring.text(LIST.replace(LINE_OF_A, ""))
    short = server.ring.fingerprint("c").removeprefix("SHA256:")
    assert server.ferry("revoke", short, "--yes")["changed"] is True


LINE_OF_A = 'ferry namespaces="ferry-bundle" {a} Anna\n'


def test_no_change_leaves_fewer_keys_than_the_threshold(server: Server) -> None:
    server.set_threshold(2)
    for words in (["revoke", server.ring.fingerprint("a")], ["add", "--replace", server.file("ferry {a}\n")]):
        error = server.fails(*words, "--yes")
        assert "keys that would count: 1; this server asks for 2" in error.message and "add another key" in error.hint
    server.ferry("add", server.file("ferry {e}\n"), "--yes")
    server.ferry("revoke", server.ring.fingerprint("a"), "--yes")


def test_the_last_key_stays(server: Server) -> None:
    server.list("ferry {a}\n")
    assert "keys that would count: 0" in server.fails("revoke", server.ring.fingerprint("a"), "--yes").message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["revoke", "SHA256:nobody", "--yes"], "no such key"),
        (["add", "/no/such/file", "--yes"], "No such file"),
        (["add", "/etc", "--yes"], "directory"),
        (["add", "/etc/passwd", "--yes"], "/etc/passwd:1: not a key"),
    ],
)
def test_a_wrong_call_changes_nothing(server: Server, words: list[str], said: str) -> None:
    error = server.fails(*words)
    assert isinstance(error, UsageError) and said in error.message


def test_a_damaged_list_is_named_with_its_line(server: Server) -> None:
    server.list("ferry {a}\nhello\n")
    for words in (["list"], ["revoke", server.ring.fingerprint("a"), "--yes"]):
        assert ":2: not a key" in server.fails(*words).message


def test_without_a_terminal_nothing_is_confirmed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", (server.places.prefix / "state.json").open())
    error = server.fails("add", server.file("ferry {e} Eve\n"))
    assert "nothing was changed" in error.message and server.ring.fingerprint("e") in error.message


@pytest.mark.parametrize(("typed", "status"), [(b"yes\n", 0), (b"no\n", 1)])
def test_at_a_terminal_the_fingerprints_are_shown_and_confirmed(server: Server, typed: bytes, status: int) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    more = server.file("ferry {e} Eve\n")
    command = [sys.executable, "-m", "installer", "--prefix", server.places.prefix, "trust", "add", more]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, cwd=root, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == status and f"add    {server.ring.fingerprint('e')} (ecdsa" in done.stderr
    assert (" Eve\n" in server.places.allowed_signers.read_text()) == (status == 0)


def test_one_change_at_a_time(server: Server) -> None:
    with exclusive(server.places.prefix):
        assert "is changing it" in server.fails("revoke", server.ring.fingerprint("a"), "--yes").message


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("", 1),
        ("[trust]\n", 1),
        ("[web]\nlisten = 'x'\n[trust]\n\nthreshold = 3\n", 3),
        ("  [trust] # whom\n\tthreshold=16   # all\r\n[audit]\nenabled = true\n", 16),
        ('system_prompt = "keep the threshold"\n[trust]\nthreshold = 2\n', 2),
        ("# threshold = 9\n[trust]\nthreshold = 02 \n", 2),
        ("threshold = 2\n", None),
        ("[web]\nthreshold = 2\n", None),
        ("[trust]\nthreshold = 2\nthreshold = 1\n", None),
        ("[trust]\nthreshold = 0\n", None),
        ("[trust]\nthreshold = 17\n", None),
        ("[trust]\nthreshold = 100\n", None),
        ('[trust]\nthreshold = "2"\n', None),
        ('[trust]\n"threshold" = 2\n', None),
        ("trust.threshold = 2\n", None),
        ("trust = { threshold = 2 }\n", None),
        ("[ trust ]\nthreshold = 2\n", None),
        ("[trust]\nthreshold = 0x2\n", None),
        ("[[trust]]\nthreshold = 2\n", None),
    ],
)
def test_the_threshold_is_read_in_one_form_and_never_guessed(server: Server, text: str, threshold: int | None) -> None:
    """install.sh reads the same line: see how it answers to the same file."""
    server.places.config.write_text(text)
    assert shell_threshold(server.places) == threshold
    if threshold:
        assert settings.threshold_of(server.places, 9) == threshold
        return
    with pytest.raises(HostError, match="cannot tell the threshold"):
        settings.threshold_of(server.places, 1)


def shell_threshold(places: Places) -> int | None:
    """Run install.sh's own function on the settings; None where it gives up with exit 4."""
    script = (Path(__file__).parents[2] / "installer" / "install.sh").read_text()
    functions = script[: script.index("\njson=''")]
    call = f"own={places.allowed_signers} json='' threshold=''; read_threshold; echo $threshold"
    done = subprocess.run(["sh", "-c", f"{functions}\n{call}"], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 4}, done.stderr
    return int(done.stdout) if done.returncode == 0 else None


def test_a_release_may_come_without_the_line_for_the_threshold() -> None:
    assert settings.render('listen = "x"\n[trust]\nthreshold = 1\n', "y", 3).endswith("threshold = 3\n")
    assert settings.render('[web]\nlisten = "x"\n', "y", 3).endswith("[trust]\nthreshold = 3\n")


@pytest.mark.parametrize(
    "text", ["", "hello\n", "# nobody\n", "ferry cert-authority {a}\n", "PRIVATE KEY", "ferry {a}\x1b\n"]
)
def test_a_release_with_a_list_that_is_none_is_refused(server: Server, text: str) -> None:
    path = server.places.prefix / installed_path(NEXT_SIGNERS)
    path.parent.mkdir()
    path.write_text(server.ring.text(text))
    with pytest.raises(IntegrityError, match=NEXT_SIGNERS):
        rotation.demand_list(server.places.prefix)


def test_what_a_comment_holds_cannot_reach_the_terminal(server: Server) -> None:
    server.list("ferry {a} \x1b[2Jhidden\n")
    assert server.ferry("list")["keys"][0]["comment"] == "?[2Jhidden"
    assert trust.lines(trust.change(b"", server.places.allowed_signers.read_bytes()))[0].endswith("?[2Jhidden")
