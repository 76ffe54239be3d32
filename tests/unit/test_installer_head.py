"""install.sh on bundles in which one thing of the head is broken: exit status, name, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import small_bundle
import tampering
from shell_bench import ECHO, Bench, replaced
from small_bundle import Members

from checksums.layout import INSTALLER, MANIFEST, SUMS
from checksums.tarball import header


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_bundle.make_key(tmp_path / "key"))


@pytest.fixture
def content(bench: Bench) -> Members:
    return small_bundle.members(bench.recipe)


def swap(first: str, second: str) -> Callable[[Members], Members]:
    def change(content: Members) -> Members:
        names = [name for name, _ in content]
        at, other = names.index(first), names.index(second)
        content[at], content[other] = content[other], content[at]
        return content

    return change


def twice(name: str) -> Callable[[Members], Members]:
    return lambda content: [pair for pair in content for _ in range(2 if pair[0] == name else 1)]


def without(name: str) -> Callable[[Members], Members]:
    return lambda content: [pair for pair in content if pair[0] != name]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (twice(SUMS), "SHA256SUMS: occurs twice or out of order"),
        (twice(f"{SUMS}.sig"), "SHA256SUMS.sig: occurs twice"),
        (twice(MANIFEST), "manifest.json: occurs twice"),
        (swap(SUMS, f"{SUMS}.sig"), "SHA256SUMS.sig: occurs twice or out of order (expected SHA256SUMS)"),
        (swap(MANIFEST, INSTALLER), "install.pyz: occurs twice or out of order (expected manifest.json)"),
        (without(SUMS), "expected SHA256SUMS"),
        (without(MANIFEST), "expected manifest.json"),
        (without(INSTALLER), "expected install.pyz"),
        (without(f"{SUMS}.sig"), "the bundle is not signed"),
        (replaced(SUMS, bytes(5 << 20)), "too many for it"),
        (replaced(f"{SUMS}.sig", bytes(17 << 10)), "too many for it"),
        (replaced(MANIFEST, b"{}\n"), "manifest.json: sha256 differs"),
        (replaced(INSTALLER, b"print('no')\n"), "install.pyz: sha256 differs"),
        (replaced(f"{SUMS}.sig", b""), "canonical form"),
    ],
)
def test_a_head_in_any_other_shape_is_refused(
    bench: Bench, content: Members, change: Callable[[Members], Members], named: str
) -> None:
    bench.refuse(bench.pack(change(content)), named)


@pytest.mark.parametrize("name", [SUMS, f"{SUMS}.sig", MANIFEST, INSTALLER])
def test_one_flipped_bit_in_the_head_is_refused_by_name(bench: Bench, content: Members, name: str) -> None:
    bundle = bench.pack(content)
    with tampering.flip_a_byte(f"/{name}")(bundle):
        bench.refuse(bundle, name)


def test_a_head_cut_anywhere_is_refused(bench: Bench, content: Members) -> None:
    bundle = bench.pack(content)
    end = tampering.member(bundle, f"/{INSTALLER}").offset_data + len(ECHO)
    for size in [0, 1, 511, 512, 513, *range(600, end - 1, end // 12), end - 1]:
        with tampering.cut(bundle, size):
            assert "cut short" in bench.refuse(bundle, "")


def test_a_header_with_a_changed_byte_is_refused(bench: Bench, content: Members) -> None:
    bundle = bench.pack(content)
    for at in (3, 101, 125, 137, 149, 156, 158, 258, 300, 346, 400):
        with tampering.patched(bundle, at, b"7"):
            bench.refuse(bundle, "")


@pytest.mark.parametrize("kind", [b"1", b"2", b"5", b"x", b"L", b"\0"])
def test_a_head_member_that_is_no_plain_file_is_refused(bench: Bench, content: Members, kind: bytes) -> None:
    bundle = bench.pack(content)
    name = f"{bench.recipe.name}/{SUMS}"
    with tampering.patched(bundle, 0, forged(name, len(content[0][1]), kind)):
        bench.refuse(bundle, "not a plain file")


@pytest.mark.parametrize(
    "name", ["../{top}/SHA256SUMS", "{top}/../x/SHA256SUMS", "/etc/SHA256SUMS", "SHA256SUMS", "-x/SHA256SUMS"]
)
def test_a_head_member_with_a_path_of_its_own_is_refused(bench: Bench, content: Members, name: str) -> None:
    bundle = bench.pack(content)
    path = name.format(top=bench.recipe.name)
    with tampering.patched(bundle, 0, forged(path, len(content[0][1]), b"0")):
        bench.refuse(bundle, "")


def forged(name: str, size: int, kind: bytes) -> bytes:
    """Return a tar header with any name and type, and a right checksum."""
    block = bytearray(header("x" * len(name), size, "0644"))
    block[: len(name)], block[156:157] = name.encode(), kind
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def padding_bits(text: bytes) -> bytes:
    """Change the bits that base64's last character has and its bytes do not: the same signature, written otherwise."""
    body, equals, rest = text.partition(b"=")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert equals, "the signature's length leaves no bits over"
    return body[:-1] + bytes([alphabet[alphabet.index(body[-1]) ^ 1]]) + equals + rest


@pytest.mark.parametrize(
    "change",
    [
        padding_bits,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text + b"\n",
        lambda text: text + b"and more\n",
        lambda text: text + text,
        lambda text: b"\n" + text,
        lambda text: text.replace(b"U1NI", b"U1 NI", 1),
        lambda text: text.removesuffix(b"\n"),
        lambda text: text.replace(b"\n", b"", 2).replace(b"SIGNATURE-----", b"SIGNATURE-----\n", 1),
    ],
    ids=[
        "padding bits",
        "CRLF",
        "empty line",
        "text behind",
        "two blocks",
        "text before",
        "a blank",
        "no end",
        "long line",
    ],
)
def test_a_signature_in_any_other_form_is_refused(
    bench: Bench, content: Members, change: Callable[[bytes], bytes]
) -> None:
    armoured = dict(content)[f"{SUMS}.sig"]
    assert change(armoured) != armoured
    bench.refuse(bench.pack(replaced(f"{SUMS}.sig", change(armoured))(content)), "SHA256SUMS.sig: not an SSH signature")
