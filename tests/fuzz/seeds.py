"""What the fuzzer begins with: for each parser a few inputs that are good, small, and made now, never copied."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import archives
import hostile_wheels
import small_bundle
import tiny_model
from small_bundle import Recipe

from checksums import signature, sums
from checksums.inventory import Inventory
from checksums.layout import INSTALLER, MANIFEST, member_order
from checksums.parts_list import Listed, PartsList
from checksums.tarball import TarWriter

BUNDLE = Recipe(is_installable=False)
FILES = {INSTALLER: b"x", "payload/model/config.json": b"{}"}
EMPTY, ABC = hashlib.sha256(b"").hexdigest(), hashlib.sha256(b"abc").hexdigest()


def packed(members: list[tuple[str, bytes]]) -> bytes:
    """Return a tarball of these members, sensible or not."""
    stream = io.BytesIO()
    writer = TarWriter(stream, BUNDLE.name)
    for path, data in members:
        writer.add(path, len(data), "0644", io.BytesIO(data))
    writer.close()
    return stream.getvalue()


def unsigned(manifest: bytes) -> bytes:
    """Return a bundle of FILES with this manifest, and a list of digests that agrees with it."""
    listed = {**FILES, MANIFEST: manifest}
    return packed([*small_bundle.signed(BUNDLE, listed), *((path, listed[path]) for path in member_order(listed))])


def manifest() -> Iterator[bytes]:
    good = small_bundle.manifest(BUNDLE, FILES).render()
    yield good
    yield json.dumps({**json.loads(good), "format": 2}).encode()


def tarball() -> Iterator[bytes]:
    yield unsigned(next(manifest()))
    yield packed([("d/" * 60 + "f", b"x" * 600), ("empty", b"")])


def parts() -> Iterator[bytes]:
    for cuts in (b"\0abcd", b"\3\x40\x80\xc0 "):
        yield from (cuts + seed for seed in tarball())


def digests() -> Iterator[bytes]:
    yield sums.render({"a": EMPTY, "b/c d": ABC})


def key() -> tuple[bytes, bytes]:
    """Return a signature by a fresh key, and the line that trusts it."""
    with tempfile.TemporaryDirectory() as name:
        path = small_bundle.make_key(Path(name, "key"))
        return signature.sign(b"data", path), path.with_suffix(".allowed").read_bytes()


def signatures() -> Iterator[bytes]:
    yield key()[0]


def signers() -> Iterator[bytes]:
    _, line = key()
    dated = b'valid-after="20250101",valid-before="20300101Z",namespaces'
    yield line
    yield b"# a comment\r\n\n" + line.replace(b"namespaces", dated)


def parts_list() -> Iterator[bytes]:
    yield PartsList("x.tar", (Listed(5, EMPTY), Listed(3, ABC))).render()


def inventory() -> Iterator[bytes]:
    yield Inventory("1.0-1-abc", 7, {EMPTY: 5, ABC: 3}).render()


def wheel() -> Iterator[bytes]:
    yield hostile_wheels.draft().archive(io.BytesIO())
    stored = hostile_wheels.draft()
    stored.methods = dict.fromkeys(stored.files, 0)
    yield stored.archive(io.BytesIO())


def safetensors() -> Iterator[bytes]:
    yield tiny_model.safetensors({"a": ("F32", [2, 1], bytes(8)), "b": ("U8", [3], b"abc")}, {"format": "pt"})


def config() -> Iterator[bytes]:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "tie_word_embeddings": True}
    named = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "auto_map": {"AutoModel": "x.Y"}}
    yield json.dumps({**named, **sizes}).encode()
    yield json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}, "added_tokens": [{"id": 1}]}).encode()


def lock() -> Iterator[bytes]:
    for path in sorted(small_bundle.ROOT.glob("bundle/locks/*.txt")):
        yield b"\n".join(path.read_bytes().split(b"\n")[:9]) + b"\n"


def profile() -> Iterator[bytes]:
    yield from (path.read_bytes() for path in sorted(small_bundle.ROOT.glob("bundle/profiles/*.toml")))


def listing() -> Iterator[bytes]:
    file = {"Path": "config.json", "Size": 3, "Sha256": ABC, "Type": "blob", "CommittedDate": 1, "Revision": "1" * 40}
    yield json.dumps({"Files": [file], "LatestCommitter": {"Id": "2" * 40}}).encode()
    yield json.dumps({"Files": [file, {**file, "Path": "a/b", "CommittedDate": "2024"}, {"Type": "tree"}]}).encode()


def interpreter() -> Iterator[bytes]:
    yield archives.plain(*archives.STUB)
    yield archives.archive(*archives.STUB)


def bill() -> Iterator[bytes]:
    part = {"type": "library", "name": "a", "version": "1", "licenses": [{"license": {"id": "MIT"}}]}
    head = {"specVersion": "1.6", "serialNumber": "urn:uuid:1", "metadata": {"component": part}}
    yield json.dumps({**head, "components": [part]}).encode()
