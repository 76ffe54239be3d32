"""Every parser of something that came from elsewhere, as a function that takes any bytes and may only refuse them.

In: bytes. Out: nothing, or `Refused`. Whatever else is raised is a fault, and so is a value that was taken although it
is not the one way to write what it says. Formats with checksums are mended first, so that the fuzzer gets past them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import archives
import hostile_wheels
from fuzz import seeds

from bundle import (
    closure,
    first_bytes,
    hub,
    interpreter_gate,
    model_configs,
    profiles,
    safetensors_header,
    sbom,
    wheel_gate,
    wheel_info,
)
from bundle import lock as locks
from bundle.lock import Lock, Locked
from bundle.model_configs import JsonFaultError
from bundle.progress import Progress
from checksums import signature, signers, sums
from checksums.errors import FerryError
from checksums.inventory import Inventory
from checksums.manifest import Manifest
from checksums.parts import Part, PartsReader
from checksums.parts_list import PartsList
from checksums.tarball import BLOCK, TarReader
from installer import verify
from installer.verify import Discard, Trust

MEMORY = Path("/dev/shm")
UNSIGNED = Trust(None, insecure_unsigned=True)


class RefusedError(Exception):
    """The parser said no, in its own words: that is all that it may do with bytes that are not right."""


@dataclass(frozen=True)
class Parser:
    """A parser's name, what it is fed first, and the function itself."""

    name: str
    seeds: Callable[[], Iterator[bytes]]
    parse: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (FerryError,)

    def feed(self, data: bytes) -> None:
        """Parse; raise RefusedError for a refusal, and let every other error through."""
        try:
            self.parse(data)
        except self.refusals as error:
            said = f"{error}\n{getattr(error, 'hint', '')}"
            if not str(error) or not all(map(str.isprintable, said.split("\n"))):
                raise AssertionError(
                    f"refused without words, or in words that no terminal should be sent: {said!a}"
                ) from error
            raise RefusedError(said) from error


def same(one: object, other: object) -> None:
    """Raise where something was taken that has another canonical form."""
    if one != other:
        raise AssertionError(f"taken, and written differently: {one!r:.300} != {other!r:.300}")


def tarball(data: bytes) -> None:
    """Read a whole tarball, once as it is and once with its headers' checksums mended."""
    try:
        _members(data)
    except FerryError:
        _members(mended(data))


def _members(data: bytes) -> None:
    reader = TarReader(io.BytesIO(data))
    while reader.next_member() is not None:
        reader.copy_to(Discard())


def mended(data: bytes) -> bytes:
    """Return a tar whose every header has the checksum that belongs to it."""
    blocks = [bytearray(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    for block in blocks:
        if block[257:262] == b"ustar" and len(block) == BLOCK:
            block[148:156] = b" " * 8
            block[148:156] = f"{sum(block):06o}\0 ".encode()
    return b"".join(blocks)


def parse_sums(data: bytes) -> None:
    same(sums.render(sums.parse(data)), data)


def parse_manifest(data: bytes) -> None:
    manifest = Manifest.parse(data)
    same(Manifest.parse(manifest.render()), manifest)


def parse_signature(data: bytes) -> None:
    signature.parse(data)


def parse_signers(data: bytes) -> None:
    for signer in signers.parse(data, "allowed_signers"):
        signer.why_not("20250101000000")


def parse_parts_list(data: bytes) -> None:
    found = PartsList.parse(data, "list")
    same(PartsList.parse(found.render(), "list"), found)


def parse_inventory(data: bytes) -> None:
    try:
        found = Inventory.parse(data)
    except FerryError:
        found = Inventory.parse(_sealed(data))
    same(Inventory.parse(found.render()), found)


def _sealed(data: bytes) -> bytes:
    """Return an inventory whose own digest is right, as far as it is one."""
    try:
        raw = json.loads(data)
        content = {key: value for key, value in raw.items() if key != "sha256"}
    except (ValueError, AttributeError, RecursionError):
        return data
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    return json.dumps({**content, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()


def parse_parts(data: bytes) -> None:
    """Read a bundle out of parts: the first byte says how many, the next where they are cut."""
    count, rest = 1 + data[0] % 4 if data else 1, data[1 + 4 :]
    edges = [0, *sorted(len(rest) * place // 256 for place in data[1:count]), len(rest)]
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        found = []
        for number, (start, stop) in enumerate(itertools.pairwise(edges), 1):
            path = Path(name, f"x.tar.{number:03}")
            path.write_bytes(rest[start:stop])
            found.append(Part(path.name, path, stop - start, (seeds.EMPTY, "")[number % 2]))
        with PartsReader(found) as stream:
            bundle = verify.open_bundle(cast(BinaryIO, stream), UNSIGNED)
            verify.copy_payload(bundle, lambda _file: Discard())


def parse_bundle(data: bytes) -> None:
    """Read a bundle whose manifest is this, and whose list of digests agrees with it."""
    stream = io.BytesIO(seeds.unsigned(data))
    bundle = verify.open_bundle(stream, UNSIGNED)
    verify.copy_payload(bundle, lambda _file: Discard())


def parse_safetensors(data: bytes) -> None:
    """Parse a header; the file may be as long as the header wants it, so that the rest is reached."""
    header = safetensors_header.parse(io.BytesIO(data), len(data))
    if not all(tensor.stop <= len(data) for tensor in header.tensors.values()):
        raise AssertionError("a tensor beyond the end of the file")


def parse_config(data: bytes) -> None:
    """Read the same bytes as each of a model's JSON files, and as a file of any kind."""
    first_bytes.kind(data)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        path = Path(name, "config.json")
        path.write_bytes(data)
        first_bytes.fault(path)
        value = model_configs.read(path)
    for name in NAMES:
        if not all(map(str.isprintable, model_configs.faults({name: value}))):
            raise AssertionError("a message that cannot be shown")


NAMES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "vocab.json")
NAMES += ("model.safetensors.index.json", "special_tokens_map.json")


def parse_wheel(data: bytes) -> None:
    """Let a wheel through the gate, and read those that pass as the rest of the build does."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        path = Path(name, hostile_wheels.NAME)
        path.write_bytes(data)
        locked = Locked("small", "1.0", path.name, seeds.EMPTY, len(data), "find-links")
        wheel_gate.check([(locked, path)], Progress(quiet=True))
        wheel_info.read(path)
        closure.of_wheels({"small": path})


def parse_lock(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    found = locks.parse(text, "lock")
    same(locks.parse(locks.render(found, archives.TARGET), "lock"), Lock(found.requirements_sha256, found.wheels))


def parse_profile(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        path = Path(name, "profile.toml")
        path.write_bytes(data)
        profiles.load(str(path))


def parse_listing(data: bytes) -> None:
    """Read what a hub answers, from the JSON on."""
    try:
        answer: Any = json.loads(data)
    except (ValueError, RecursionError):
        return
    hub.read("Owner/Name", "master", answer)


def parse_interpreter(data: bytes) -> None:
    """Look through an archive: as it is where it is a gzip file, else as what is in one, its checksums mended."""
    packed = data if data.startswith(b"\x1f\x8b") else gzip.compress(mended(data), 1, mtime=0)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        path = Path(name, "cpython.tar.gz")
        path.write_bytes(packed)
        interpreter_gate.examine(path, archives.TARGET)


PARSERS = [
    Parser("tarball", seeds.tarball, tarball),
    Parser("SHA256SUMS", seeds.digests, parse_sums),
    Parser("manifest", seeds.manifest, parse_manifest),
    Parser("bundle", seeds.manifest, parse_bundle),
    Parser("signature", seeds.signatures, parse_signature),
    Parser("allowed_signers", seeds.signers, parse_signers),
    Parser("parts", seeds.parts, parse_parts),
    Parser("parts.json", seeds.parts_list, parse_parts_list),
    Parser("inventory", seeds.inventory, parse_inventory),
    Parser("safetensors", seeds.safetensors, parse_safetensors, (ValueError,)),
    Parser("model configs", seeds.config, parse_config, (JsonFaultError,)),
    Parser("wheel", seeds.wheel, parse_wheel),
    Parser("lock", seeds.lock, parse_lock),
    Parser("profile", seeds.profile, parse_profile),
    Parser("hub listing", seeds.listing, parse_listing),
    Parser("interpreter", seeds.interpreter, parse_interpreter),
    Parser("bill of materials", seeds.bill, sbom.text),
]


def named(name: str) -> Parser:
    """Return the parser of this name."""
    return next(parser for parser in PARSERS if parser.name == name)
