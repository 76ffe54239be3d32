"""A tied output matrix that is carried twice -> the same model without the copy.

With `tie_word_embeddings`, transformers takes the output matrix from the embedding and ignores what the file says of
it; some files hold it all the same (Qwen1.5-0.5B: 0.31 of 1.24 GB). Where both are the same, byte for byte, a file
without it is written: the other tensors' bytes as they are, behind a header of our own form, so that the same input
gives the same output. The hub's digest stays beside ours in the manifest.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bundle import cache, model_configs, safetensors_header
from bundle.model_configs import CONFIG, INDEX
from bundle.progress import Progress
from bundle.safetensors_header import METADATA, Header, Tensor
from bundle.weights import EMBEDDING, OUTPUT, WEIGHTS
from checksums.errors import IntegrityError
from checksums.hashing import CHUNK_BYTES, copy_hashing, sha256_file

# The library aligns the first tensor; so do we, and every other stays aligned where a multiple of it goes.
ALIGNMENT = 8


@dataclass(frozen=True)
class Rewritten:
    """A file that was made anew: where it lies, its digest, and that of the hub's."""

    source: Path
    sha256: str
    upstream_sha256: str


@dataclass(frozen=True)
class Slimmed:
    """path -> digest of what is carried now, what of it was made anew, and what to tell the operator."""

    digests: dict[str, str]
    rewritten: dict[str, Rewritten]
    note: str


def slim(folder: Path, digests: Mapping[str, str], progress: Progress) -> Slimmed:
    """Leave the copy of a tied matrix out of a model that has passed the gate, or say why it stays."""
    index = model_configs.read(folder / INDEX) if INDEX in digests else None
    if index is not None and WEIGHTS in digests:
        return Slimmed(dict(digests), {}, f"carried in full: both {WEIGHTS} and {INDEX}")
    places = index["weight_map"] if index else dict.fromkeys((EMBEDDING, OUTPUT), WEIGHTS)
    why = _reason_to_stay(folder, places)
    if why:
        return Slimmed(dict(digests), {}, f"carried in full: {why}")
    shard = places[OUTPUT]
    header = safetensors_header.read(folder / shard)
    kept, rewritten = dict(digests), {}
    saved = header.tensors[OUTPUT].stop - header.tensors[OUTPUT].start
    if set(header.tensors) == {OUTPUT}:
        del kept[shard]
    else:
        rewritten[shard] = _made(folder / shard, digests[shard], header, progress)
    if index:
        rewritten[INDEX] = _made_index(index, saved, digests[INDEX])
    kept |= {path: new.sha256 for path, new in rewritten.items()}
    return Slimmed(kept, rewritten, f"{OUTPUT} is the same as {EMBEDDING}: {saved} bytes are not carried twice")


def _reason_to_stay(folder: Path, places: Mapping[str, str]) -> str:
    if model_configs.read(folder / CONFIG).get("tie_word_embeddings") is not True:
        return "its output matrix is one of its own (tie_word_embeddings)"
    if not {EMBEDDING, OUTPUT} <= set(places):
        return f"it holds no copy of {EMBEDDING}"
    headers = [safetensors_header.read(folder / places[name]) for name in (EMBEDDING, OUTPUT)]
    if EMBEDDING not in headers[0].tensors or OUTPUT not in headers[1].tensors:
        return f"it holds no copy of {EMBEDDING}"
    first, second = headers[0].tensors[EMBEDDING], headers[1].tensors[OUTPUT]
    if (second.stop - second.start) % ALIGNMENT:
        return f"without {OUTPUT} the others would not be aligned"
    paths = [(folder / places[EMBEDDING], headers[0].data_start), (folder / places[OUTPUT], headers[1].data_start)]
    if (first.dtype, first.shape) != (second.dtype, second.shape) or not _are_alike(paths, first, second):
        return f"{OUTPUT} is not the same as {EMBEDDING}"
    return ""


def _are_alike(paths: list[tuple[Path, int]], first: Tensor, second: Tensor) -> bool:
    """Compare two tensors of the same size, byte for byte, a chunk at a time."""
    (path, data_start), (other_path, other_start) = paths
    with path.open("rb") as file, other_path.open("rb") as other:
        file.seek(data_start + first.start)
        other.seek(other_start + second.start)
        left = first.stop - first.start
        while left:
            size = min(CHUNK_BYTES, left)
            data = file.read(size)
            if len(data) != size or data != other.read(size):
                return False
            left -= size
    return True


def _made(path: Path, upstream: str, header: Header, progress: Progress) -> Rewritten:
    """Write the file without the copy, unless an earlier run has; what is there is hashed while it is packed."""
    place = cache.folder("models") / "slim" / f"{upstream}.safetensors"
    record = place.with_suffix(".json")
    if not (place.is_file() and record.is_file()):
        if (found := sha256_file(path)) != upstream:
            raise IntegrityError(f"{path}: sha256 is {found} and was {upstream}", "remove that file, then run it again")
        place.parent.mkdir(exist_ok=True)
        temporary = place.with_suffix(".tmp")
        bar = progress.bytes_bar(f"{path.name} without its copy", path.stat().st_size)
        with bar as shown, path.open("rb") as source, temporary.open("wb") as target:
            digest = _write(source, _Hashing(target, shown.update), header)
        temporary.replace(place)
        record.write_text(json.dumps(digest), encoding="utf-8")
    return Rewritten(place, str(json.loads(record.read_bytes())), upstream)


class _Hashing:
    """Takes bytes into a file and into a digest."""

    def __init__(self, file: BinaryIO, on_bytes: Any) -> None:
        self._file, self._on_bytes = file, on_bytes
        self.digest = hashlib.sha256()

    def write(self, data: memoryview | bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self._on_bytes(len(data))


def _write(source: BinaryIO, target: _Hashing, header: Header) -> str:
    gone = header.tensors[OUTPUT]
    kept = {name: tensor for name, tensor in header.tensors.items() if name != OUTPUT}
    target.write(render(kept, header.metadata))
    end = max(tensor.stop for tensor in header.tensors.values())
    for start, stop in ((0, gone.start), (gone.stop, end)):
        source.seek(header.data_start + start)
        copy_hashing(source, target, stop - start)
    return target.digest.hexdigest()


def render(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a header, its length before it: metadata sorted, tensors one behind the other in the order given."""
    raw: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.stop - tensor.start
        raw[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(raw, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _made_index(index: dict[str, Any], saved_bytes: int, upstream: str) -> Rewritten:
    weight_map = {name: file for name, file in index["weight_map"].items() if name != OUTPUT}
    metadata = index.get("metadata")
    if isinstance(metadata, dict) and type(metadata.get("total_size")) is int:
        metadata = {**metadata, "total_size": metadata["total_size"] - saved_bytes}
    raw = {**index, "metadata": metadata, "weight_map": weight_map}
    data = (json.dumps(raw, indent=2, sort_keys=True) + "\n").encode()
    place = cache.folder("models") / "slim" / f"{upstream}.index.json"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    return Rewritten(place, hashlib.sha256(data).hexdigest(), upstream)
