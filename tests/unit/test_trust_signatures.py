"""Whose signatures count, how many, and when: install.sh and Python give the same answer to every case."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trust_bench import FORMS, Answer, Bench, Ring, make_ring, old_ssh_keygen

ALL = "ferry {a}\nferry {b}\nferry {c}\nferry {e}\nferry {r}\n"
ONE = 'ferry namespaces="ferry-bundle" {a}\n'


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Ring:
    return make_ring(tmp_path_factory.mktemp("ring"))


@pytest.fixture
def bench(tmp_path: Path, ring: Ring) -> Bench:
    return Bench(tmp_path, ring)


@pytest.mark.parametrize(
    ("signed", "trusted", "threshold", "status"),
    [
        (["a"], ALL, 1, 0),
        (["e"], ALL, 1, 0),
        (["r"], ALL, 1, 0),
        (["a", "e", "r"], ALL, 3, 0),
        (["a", "b"], ALL, 3, 3),
        (["a", "b"], ONE, 1, 0),
        (["b", "a"], ONE, 1, 0),
        (["a", "b"], ONE, 2, 3),
        (["a", "c"], "ferry {a}\nferry {b}\nferry {c}\n", 2, 0),
        (["a", "a"], ALL, 2, 3),
        (["e", "e"], ALL, 2, 3),
        (["r", "r"], ALL, 2, 3),
        (["r", "padded-r"], ALL, 2, 3),
        (["padded-r"], ALL, 1, 0),
        (["cert-a"], ALL, 1, 3),
        (["a", "cert-a"], ALL, 2, 3),
        (["a", "cert-a"], ALL, 1, 0),
        (["a", "b"], ONE + ONE, 2, 3),
        (["a"] * 16, ALL, 1, 0),
        (["a"], "", 1, 3),
        (["b"], ONE, 1, 3),
    ],
)
def test_distinct_trusted_keys_are_counted(
    bench: Bench, signed: list[str], trusted: str, threshold: int, status: int
) -> None:
    answer = bench.both(signed, bench.ring.text(trusted), threshold)
    assert answer.status == status
    if status == 0 and len(signed) > threshold and signed[0] != signed[1]:
        assert len(answer.notes) == 1 and "it does not count" in answer.notes[0]
    if status and threshold > 1:
        assert f"of the {threshold} trusted keys that are asked for" in answer.message


@pytest.mark.parametrize(
    ("trusted", "status", "said"),
    [
        ("# ours\n\n \t \nferry {a} the first key # of all\n", 0, ""),
        ("ferry {a}", 0, ""),
        ("\t ferry \t {a}\r\nferry {b} someone\r\n", 0, ""),
        ("?err*,!nobody {a}\n", 0, ""),
        ("ferry,!ferry {a}\n", 3, "does not allow"),
        ("FERRY {a}\n", 3, "does not allow"),
        ('"someone else,ferry" {a}\n', 0, ""),
        ('ferry namespaces="git,ferry-*" {a}\n', 0, ""),
        ('ferry namespaces="git" {a}\n', 3, "line 1: key is not permitted"),
        ('ferry namespaces="git" {a}\nferry namespaces="ferry-bundle" {a}\n', 0, ""),
        ('other {a}\n# \nferry valid-before="20200101" {a}\n', 3, "line 3: key has expired"),
        ('ferry valid-before="20200101",namespaces="ferry-bundle" {a}\nferry {a}\n', 0, ""),
        ('ferry valid-after="20200101",valid-before="29990101" {a}\n', 0, ""),
        ('ferry valid-after="29990101" {a}\n', 3, "key is not yet valid"),
        ('ferry valid-before="29990101Z" {a}\n', 0, ""),
        ('ferry valid-before="299901011200" {a}\n', 0, ""),
        ("ferry cert-authority {c}\nferry {a}\n", 2, ":1: not a key that can count"),
        ("ferry {a}\nferry ssh-dss AAAAB3NzaC1kc3MAAACBAOlnMkEGqJzBzU4BdB1UkX0OiZ {b}\n", 2, ":2: not a key"),
        ("{a} a public key as it stands\n", 2, ":1: not a key"),
        ("\ufeffferry {a}\n", 2, ":1: not a key"),
        ("ferry\n", 2, ":1: not a key"),
        ("ferry bogus {a}\n", 2, ":1: not a key"),
        ("ferry valid-before=20990101 {a}\n", 2, ":1: not a key"),
        ('ferry valid-before="tomorrow" {a}\n', 2, ":1: not a key"),
        ('ferry valid-before="2099010100" {a}\n', 2, ":1: not a key"),
        ('ferry namespaces="ferry-bundle {a}\n', 2, ":1: not a key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", 2, ":1: not a key"),
        ("hello\n" * 200_000, 2, "too large"),
        ("\r" * (1 << 20) + "ferry {a}\n", 2, "too large"),
        ('ferry namespaces="a",namespaces="ferry-bundle" {a}\n', 2, ":1: bad options"),
        ('ferry valid-after="20300101",valid-before="20200101" {a}\n', 2, ":1: bad options"),
        ("ferry ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAmk6/X3ID2ZUA0VSMYausqsS7\n", 2, ":1: invalid key"),
        ("ferry ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAmk6/X3ID2ZUA0VSMYausqsS7\nferry {a}\n", 0, ""),
    ],
)
def test_a_list_is_read_as_openssh_reads_it_or_refused_in_words(
    bench: Bench, trusted: str, status: int, said: str
) -> None:
    answer = bench.both(["a"], bench.ring.text(trusted))
    assert answer.status == status and said in answer.message
    if status == 2:
        assert str(bench.folder / "list") in answer.message


def test_a_pipe_or_a_device_is_no_list(bench: Bench) -> None:
    bundle, pipe = bench.bundle(["a"]), bench.folder / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        assert bench.python(bundle, path).status == bench.shell(bundle, path).status == 2


def test_a_list_in_another_encoding_is_refused(bench: Bench) -> None:
    text = bench.ring.text(ONE)
    assert bench.both(["a"], text.encode("utf-16")).status == 2
    assert (
        bench.both(["a"], (text + "ferry {a} caf\xe9\n".format(a=bench.ring.public("a"))).encode("latin-1")).status == 0
    )


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"padded"}))
def test_a_signature_that_is_damaged_refuses_a_bundle_that_others_signed(bench: Bench, form: str) -> None:
    assert bench.both(["b", f"{form}-a"], bench.ring.text(ALL)).status == 3


def test_a_signature_over_other_bytes_refuses_a_bundle_that_others_signed(bench: Bench) -> None:
    bundle, trusted = bench.bundle(["a", "b"]), bench.list(bench.ring.text(ALL))
    content = bundle.read_bytes()
    wrong = bench.ring.sign(b"other bytes", "b")
    right = content[content.rindex(b"-----BEGIN SSH") :][: len(wrong)]
    bundle.write_bytes(content.replace(right, wrong))
    for answer in (bench.shell(bundle, trusted), bench.python(bundle, trusted)):
        assert answer.status == 3 and "SHA256SUMS.2.sig" in answer.message and "does not match" in answer.message


def test_a_time_that_cannot_be_moves_no_clock(bench: Bench) -> None:
    """install.sh leaves it to install.pyz to refuse it."""
    bundle = bench.bundle(["a"], created="2999-99-01T00:00:00Z")
    trusted = bench.list(bench.ring.text('ferry valid-before="29990101" {a}\n'))
    assert bench.shell(bundle, trusted) == Answer(0, "", ())
    assert "created: '2999-99-01T00:00:00Z' is no time" in bench.python(bundle, trusted).message


@pytest.mark.parametrize(
    ("trusted", "created", "status"),
    [
        (ONE, "2999-01-01T00:00:00Z", 0),
        ('ferry valid-after="29980101" {a}\n', "2999-01-01T00:00:00Z", 0),
        ('ferry valid-after="29990101000001" {a}\n', "2999-01-01T00:00:00Z", 3),
        ('ferry valid-before="29980101" {a}\n', "2999-01-01T00:00:00Z", 3),
        ('ferry valid-before="20200101" {a}\n', "2019-01-01T00:00:00Z", 3),
    ],
)
def test_where_the_clock_is_behind_keys_are_judged_by_the_time_of_the_bundle(
    bench: Bench, trusted: str, created: str, status: int
) -> None:
    answer = bench.both(["a"], bench.ring.text(trusted), created=created)
    assert answer.status == status
    assert any("this clock is behind: the bundle was made at 29990101000000" in note for note in answer.notes) == (
        created == "2999-01-01T00:00:00Z"
    )


DATED = 'ferry valid-before="29990101" {b}\nferry valid-before="29990101" {a}\n'


@pytest.mark.parametrize(
    ("knows", "signed", "trusted", "status", "said"),
    [
        ("8.4", ["a"], ONE, 0, ""),
        (
            "8.4",
            ["a"],
            DATED,
            4,
            "/list:2: this server's OpenSSH cannot read the dates of this key (bad options: unknown",
        ),
        ("8.4", ["a"], DATED + ONE, 0, ""),
        ("8.4", ["c"], DATED, 3, "does not allow"),
        ("8.4", ["a", "c"], DATED + "ferry {c}\n", 0, ""),
        (
            "8.4",
            ["a"],
            "other {b}\nferry ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAmk6/X3ID2ZUA0VSMYausqsS7\n",
            2,
            ":2: invalid",
        ),
        ("8.7", ["a"], DATED, 0, ""),
        ("8.7", ["a"], 'ferry valid-before="29990101Z" {a}\n', 4, "/list:1: this server's OpenSSH cannot read"),
        ("8.7", ["a"], 'ferry valid-before="20200101" {a}\n', 3, "expired"),
    ],
)
def test_an_openssh_that_is_too_old_for_a_list_is_a_finding_and_no_forgery(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    knows: str,
    signed: list[str],
    trusted: str,
    status: int,
    said: str,
) -> None:
    monkeypatch.setenv("PATH", old_ssh_keygen(bench.folder, knows)["PATH"])
    answer = bench.both(
        signed, bench.ring.text(trusted), created="2999-01-01T00:00:00Z" if not status else "2025-01-01T00:00:00Z"
    )
    assert answer.status == status and said in answer.message
