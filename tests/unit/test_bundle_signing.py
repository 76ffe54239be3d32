"""Who signs a bundle and which list of keys it brings: what cannot work is said before anything is fetched."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trust_bench import Ring, make_ring, string

from bundle import signing
from bundle.signing import Signing
from checksums import quorum, signature, signers
from checksums.errors import UsageError
from checksums.quorum import Rule

DATA = b"the list\n"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Ring:
    return make_ring(tmp_path_factory.mktemp("ring"))


@pytest.fixture(scope="module")
def agent(ring: Ring) -> Iterator[Path]:
    """A real ssh-agent that alone holds the private half of key c."""
    socket = ring.folder / "agent"
    with pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
        try:
            patch.setenv("SSH_AUTH_SOCK", str(socket))
            end = time.monotonic() + 10
            while not socket.exists() and time.monotonic() < end:
                time.sleep(0.02)
            subprocess.run(["ssh-add", "-q", ring.key("c")], check=True)
            ring.key("c").unlink()
            yield ring.folder / "c.pub"
        finally:
            process.terminate()
            process.wait()


def test_keys_of_every_kind_sign_together_and_the_list_beside_it_trusts_each(
    ring: Ring, agent: Path, tmp_path: Path
) -> None:
    keys = [ring.key("a"), ring.key("e"), ring.key("r"), agent]
    checked = signing.check(keys, 4, "20991231")
    made = signature.sign_with_all(DATA, checked.keys)
    listed = tmp_path / "allowed_signers"
    listed.write_text(checked.allowed_signers(made))
    verdict = quorum.judge(DATA, {str(number): one for number, one in enumerate(made)}, Rule(listed, 4))
    assert set(verdict.signers) == {ring.fingerprint(name) for name in "aerc"}
    assert {one.valid_before for one in signers.parse(listed.read_bytes(), "list")} == {"20991231000000"}


@pytest.mark.parametrize(
    ("names", "threshold", "valid_before", "said"),
    [
        (["a", "a"], 1, "", "the same key as"),
        (["a", "a.pub"], 1, "", "the same key as"),
        (["a", "certified-cert.pub"], 1, "", "the same key as"),
        (["a", "b"], 3, "", "keys that sign: 2; --threshold asks for 3"),
        (["a", "absent"], 1, "", "absent: no such signing key"),
        (["a"], 1, "2027-12-31", "is no date"),
        (["a"], 1, "20271331", "is no date"),
        (["a"], 1, "20200101", "is over already"),
        (["a"], 1, "202001011200Z", "is over already"),
        (["a"] * 17, 1, "", "a bundle holds 16 signatures"),
    ],
)
def test_keys_that_cannot_sign_together_are_refused(
    ring: Ring, names: list[str], threshold: int, valid_before: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        signing.check([ring.key(name) for name in names], threshold, valid_before)
    assert said in caught.value.message and caught.value.hint


NEXT = "ferry {a} first\nferry {b} second\n"


@pytest.mark.parametrize(
    ("text", "threshold", "said"),
    [
        (NEXT, 3, "keys that would count now: 2"),
        ("ferry {a}\nferry {a}\n", 2, "keys that would count now: 1"),
        ("someone {a}\n", 1, "keys that would count now: 0"),
        ('ferry namespaces="git" {a}\n', 1, "keys that would count now: 0"),
        ('ferry valid-before="20200101" {a}\n', 1, "keys that would count now: 0"),
        ('ferry valid-after="29990101" {a}\n', 1, "keys that would count now: 0"),
        ("", 1, "keys that would count now: 0"),
        ("# nobody\n", 1, "keys that would count now: 0"),
        ("ferry {a}\nhello\n", 1, ":2: not a key that can count"),
        ("ferry cert-authority {a}\n", 1, ":1: not a key that can count"),
        ("{a}\n", 1, ":1: not a key that can count"),
        ("ferry ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAmk6/X3ID2ZUA0VSMYausqsS7\n", 1, "key is damaged"),
        ("ferry ssh-rsa {e_key}\n", 1, "key is damaged"),
        ("ferry ssh-rsa {padded}\n", 1, "key is damaged"),
        ('ferry valid-before="20991399" {a}\n', 1, "20991399 is no date"),
        ('ferry valid-after="20300101",valid-before="20300101" {a}\n', 1, "is not after"),
        ('ferry namespaces="a",namespaces="b" {a}\n', 1, "stands twice"),
        ("ferry {a}\n-----BEGIN OPENSSH PRIVATE KEY-----\n", 1, "private key"),
        ("x" * (1 << 21), 1, "too large"),
        ("ferry {a}\0\x01\n", 1, ":1: not a key"),
    ],
)
def test_a_list_that_servers_could_not_use_is_refused(
    ring: Ring, tmp_path: Path, text: str, threshold: int, said: str
) -> None:
    path = tmp_path / "next"
    more = {"e_key": ring.public("e").split()[1], "padded": padded(ring)}
    names = {name: ring.public(name) for name in "abcer"}
    path.write_text(text.format(**names, **more))
    with pytest.raises(UsageError) as caught:
        signing.next_signers(path, threshold)
    assert said in caught.value.message and str(path) in caught.value.message and caught.value.hint


def padded(ring: Ring) -> str:
    """Return an RSA key with one zero more than its number needs."""
    kind, exponent, modulus = signers.strings(base64.b64decode(ring.public("r").split()[1]))
    return base64.b64encode(string(kind) + string(exponent) + string(b"\0" + modulus)).decode()


def test_a_private_key_given_as_the_next_list_is_not_carried(ring: Ring) -> None:
    with pytest.raises(UsageError, match="holds a private key"):
        signing.next_signers(ring.key("a"), 1)


def test_a_good_list_is_taken_as_it_stands(ring: Ring, tmp_path: Path) -> None:
    path = tmp_path / "next"
    path.write_text("# until the summer\n\n" + ring.text(NEXT))
    assert signing.next_signers(path, 2) == path.read_bytes()


def test_no_keys_make_an_unsigned_bundle() -> None:
    assert signing.check((), 1, "") == Signing()
