"""Signatures made by the real ssh-keygen, and every way to write one that is not the canonical way."""

import base64
import resource
import struct
import subprocess
import time

import pytest

from checksums import quorum, signature, signers
from checksums.errors import IntegrityError, UsageError

DATA = b"the list\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "allowed_signers").write_text(signature.allowed_signers_line(folder / "ours"))
    return folder


@pytest.fixture(scope="module")
def armoured(keys):
    return signature.sign(DATA, keys / "ours")


def judged(keys, armoured, data=DATA):
    return quorum.judge(data, {"it": armoured}, quorum.Rule(keys / "allowed_signers"))


def refused(keys, armoured, data=DATA):
    with pytest.raises(IntegrityError) as caught:
        judged(keys, armoured, data)
    return caught.value.message


def test_a_signature_by_an_allowed_key_holds_and_names_the_key(keys, armoured):
    found = judged(keys, armoured)
    shown = subprocess.run(["ssh-keygen", "-lf", keys / "ours.pub"], capture_output=True, text=True, check=True).stdout
    assert found.signers == (shown.split()[1],)


def test_the_same_data_and_ed25519_key_give_the_same_signature(keys, armoured):
    assert signature.sign(DATA, keys / "ours") == armoured


@pytest.mark.parametrize("kind", [["ed25519"], ["rsa", "-b", "2048"], ["ecdsa"]])
def test_the_line_that_allows_a_key_holds_its_public_half(tmp_path, kind):
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", tmp_path / "key", "-t", *kind], check=True)
    public = (tmp_path / "key.pub").read_text().split()[:2]
    wanted = f'ferry namespaces="ferry-bundle" {" ".join(public)}\n'
    assert signature.allowed_signers_line(tmp_path / "key") == wanted
    assert signature.allowed_signers_line(tmp_path / "key.pub") == wanted


def test_a_public_key_will_do_where_an_agent_holds_the_private_half(tmp_path, monkeypatch):
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", tmp_path / "key"], check=True)
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        assert _appears(socket)
        subprocess.run(["ssh-add", "-q", tmp_path / "key"], check=True)
        (tmp_path / "key").unlink()
        line = signature.allowed_signers_line(tmp_path / "key.pub")
        (tmp_path / "allowed_signers").write_text(line)
        assert judged(tmp_path, signature.sign(DATA, tmp_path / "key.pub")).signers
    finally:
        agent.terminate()
        agent.wait()


def _appears(path, timeout_s=10):
    end = time.monotonic() + timeout_s
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    return path.exists()


def test_other_data_is_refused(keys, armoured):
    assert "does not match" in refused(keys, armoured, DATA + b"x")


def test_a_key_that_is_not_allowed_is_named(keys):
    other = signature.sign(DATA, keys / "other")
    assert signature.parse(other).fingerprint in refused(keys, other)


def test_a_signature_for_something_else_is_refused(keys):
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", keys / "ours", "-n", "file"]
    mail = subprocess.run(argv, input=DATA, capture_output=True, check=True).stdout
    assert "something else" in refused(keys, mail)


def test_every_other_way_to_write_the_same_signature_is_refused(keys, armoured):
    lines = armoured.decode().splitlines(keepends=True)
    blob = base64.b64decode("".join(lines[1:-1]))
    other_ways = [
        armoured + b"\n",
        armoured + armoured,
        b" " + armoured,
        armoured.replace(b"\n", b"\r\n"),
        armoured.rstrip(b"\n"),
        (lines[0] + "".join(lines[1:-1]).replace("\n", "") + "\n" + lines[-1]).encode(),
        armoured.replace(b"SSH SIGNATURE", b"SSH  SIGNATURE"),
        signature.armour(blob + b"\0"),
        signature.armour(blob[:-1]),
        b"",
    ]
    for text in other_ways:
        assert "canonical" in refused(keys, text)


def test_any_single_changed_character_of_the_base64_is_refused(keys, armoured):
    first = armoured.index(b"\n") + 1
    last = armoured.rindex(b"-----END")
    for at in range(first, last):
        changed = bytearray(armoured)
        changed[at] = ord("A") if changed[at] != ord("A") else ord("B")
        refused(keys, bytes(changed))


@pytest.mark.parametrize(("limit_bytes", "named"), [(0, "signature"), (1000, "ferry-")])
def test_no_room_for_the_temporary_files_names_where(keys, armoured, tmp_path, monkeypatch, limit_bytes, named):
    (tmp_path / "list").write_text((keys / "allowed_signers").read_text() + "# \n" * 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(armoured) < 1000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            quorum.judge(DATA, {"it": armoured}, quorum.Rule(tmp_path / "list"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename.startswith(str(tmp_path)) and named in caught.value.filename


def test_a_missing_key_is_wrong_usage_and_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError) as caught:
        signature.sign(DATA, tmp_path / "absent")
    assert "ssh-keygen -t ed25519" in caught.value.hint


def test_the_same_key_under_two_names_is_no_second_signature(keys):
    with pytest.raises(UsageError) as caught:
        signature.sign_with_all(DATA, [keys / "ours", keys / "other", keys / "ours.pub"])
    assert "ours.pub: the same key as " in caught.value.message


def test_a_certificate_signs_nothing(tmp_path):
    for name in ("ca", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    certify = ["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "someone", "-n", "ferry", tmp_path / "key.pub"]
    subprocess.run(certify, check=True)
    with pytest.raises(UsageError) as caught:
        signature.sign(DATA, tmp_path / "key-cert.pub")
    assert "is a certificate" in caught.value.message


def string(data):
    return struct.pack(">I", len(data)) + data


@pytest.mark.parametrize("kind", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"])
def test_a_signature_of_a_hardware_key_is_read(kind):
    """Put together by hand (PROTOCOL.u2f): no such key is at hand, so that it is read is all that is tried."""
    curve = string(b"nistp256") if "ecdsa" in kind else b""
    key = string(kind.encode()) + curve + string(bytes(range(32))) + string(b"ssh:")
    made = string(kind.encode()) + string(bytes(64)) + b"\x01" + struct.pack(">I", 7)
    blob = signature.PREAMBLE + string(key) + string(b"ferry-bundle") + string(b"") + string(b"sha512") + string(made)
    found = signature.parse(signature.armour(blob))
    assert (found.kind, found.public_key) == (kind, key)
    line = f"ferry {kind} {base64.b64encode(key).decode()} the token in the safe"
    assert [one.fingerprint for one in signers.parse(line.encode(), "list")] == [found.fingerprint]


def test_stars_in_a_row_say_what_one_says() -> None:
    assert signers.matches("*" * 1000, "ferry") and signers.matches("f**y", "ferry")
    assert not signers.matches("*" * 1000 + "x", "ferry")
