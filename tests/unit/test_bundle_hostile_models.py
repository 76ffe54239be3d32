"""Models that somebody hostile, or a broken disk, might publish: each is refused by name, and nothing is touched."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_model

from bundle import hub, model_files
from bundle.model_files import Hub
from bundle.profiles import FolderModel
from bundle.progress import Progress
from bundle.sources import Sources
from bundle.targets import make_target
from checksums.errors import FerryError

ID = "Owner/Name"
SHARD, INDEX = "model-00001-of-00002.safetensors", "model.safetensors.index.json"
TARGET = make_target("3.11", "x86_64", "2.28")
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write_large(tmp_path_factory.mktemp("good"), [100, 60])


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = tmp_path / "model"
    copy.mkdir()
    for path in good.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def carry(folder: Path) -> model_files.Weights:
    """Take the folder in as `build` does."""
    model = FolderModel(path=folder, id=ID, license="none", commercial_use=True)
    sources = Sources((), "")
    return model_files.collect(model, model_files.listed(model), TARGET, Hub("", "", 1), sources, Progress(quiet=True))


def test_the_model_that_they_all_begin_with_is_carried(folder: Path) -> None:
    carried = carry(folder)
    assert set(carried.digests) == {path.name for path in folder.iterdir()}
    assert carried.commit.startswith("sha256:")


def header(raw: Any, data: bytes = bytes(100), length: int | None = None) -> Damage:
    """Return what writes the first shard with another header."""
    text = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    start = struct.pack("<Q", len(text) if length is None else length)
    return lambda folder: (folder / SHARD).write_bytes(start + text + data)


def tensor(**changes: Any) -> Damage:
    return header({"model.layers.1.weight": {"dtype": "U8", "shape": [100], "data_offsets": [0, 100], **changes}})


def bytes_in(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def key(name: str, key: str, value: Any) -> Damage:
    """Return what sets one key of a JSON file."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), key: value}))

    return change


def without(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    return stream.getvalue()


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    return stream.getvalue()


U8 = {"dtype": "U8", "shape": [50]}
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HEADERS: dict[str, tuple[Damage, str]] = {
    "no bytes": (bytes_in(SHARD, b""), "it has 0 bytes"),
    "three bytes": (bytes_in(SHARD, b"abc"), "it has 3 bytes"),
    "a length beyond the file": (header({}, length=1 << 20), "a header of"),
    "a length beyond every file": (header({}, length=(1 << 64) - 1), "a header of"),
    "a length beyond the limit": (header(b"{" + b" " * (17 << 20) + b"}"), "a header of"),
    "no JSON": (header(b"{not json"), "not JSON"),
    "JSON behind a blank": (header(b' {"a": 1}'), "does not begin with"),
    "a list": (header([]), "does not begin with"),
    "UTF-16": (header('{"a": 1}'.encode("utf-16")), "does not begin with"),
    "Latin-1": (header(b'{"\xe9": 1}'), "not UTF-8"),
    "nested deeply": (header(DEEP), "nested too deeply"),
    "no tensors": (header({}), "0 tensors"),
    "a tensor that is a number": (header({"a": 3}), "not exactly"),
    "a tensor without offsets": (header({"a": U8}), "not exactly"),
    "a tensor with one thing more": (tensor(extra=1), "not exactly"),
    "a key twice": (header(b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}'), "occurs twice"),
    "a tensor twice": (header(b'{"a":1,"a":1}'), "'a' occurs twice"),
    "a dtype of its own": (tensor(dtype="Q4"), "dtype 'Q4' is not known"),
    "a dtype that is a list": (tensor(dtype=["U8"]), "dtype .* is not known"),
    "a shape that is a number": (tensor(shape=100), "shape 100"),
    "a negative size": (tensor(shape=[-100]), "shape"),
    "two negative sizes": (tensor(shape=[-10, -10]), "shape"),
    "a size that is true": (tensor(shape=[True, 100]), "shape"),
    "a size that is a fraction": (tensor(shape=[100.0]), "shape"),
    "a size that is a text": (tensor(shape=["100"]), "shape"),
    "a size beyond 64 bits": (tensor(shape=[1 << 64, 1 << 64]), "shape"),
    "sizes that overflow to the right product": (tensor(shape=[1 << 32, 1 << 32, 100]), "does not take 100 bytes"),
    "a size of 5,000 digits": (header(b'{"a":{"shape":[' + b"9" * 5000 + b"]}}"), "not a safetensors file"),
    "a size that is infinite": (header(b'{"a":{"shape":[Infinity]}}'), "Infinity is no number"),
    "too many dimensions": (tensor(shape=[1] * 8 + [100]), "shape"),
    "another shape": (tensor(shape=[99]), "does not take 100 bytes"),
    "offsets the wrong way round": (tensor(data_offsets=[100, 0]), "data_offsets"),
    "negative offsets": (tensor(data_offsets=[-100, 0]), "data_offsets"),
    "three offsets": (tensor(data_offsets=[0, 50, 100]), "data_offsets"),
    "offsets that are true": (tensor(data_offsets=[False, 100]), "data_offsets"),
    "offsets beyond the file": (header({"a": {"dtype": "U8", "shape": [200], "data_offsets": [0, 200]}}), "take 200"),
    "bytes that no tensor has": (header({"a": {**U8, "data_offsets": [0, 50]}}), "take 50 bytes, and it has 100"),
    "a gap": (header({"a": {**U8, "data_offsets": [0, 50]}, "b": {**U8, "data_offsets": [60, 110]}}), "leaves a gap"),
    "an overlap": (header({"a": {**U8, "data_offsets": [0, 50]}, "b": {**U8, "data_offsets": [40, 90]}}), "overlaps"),
    "one in the other": (
        header({"a": {**U8, "data_offsets": [0, 50]}, "b": {**U8, "data_offsets": [0, 50]}}),
        "overlap",
    ),
    "a gap at the beginning": (tensor(data_offsets=[1, 101]), "leaves a gap of 1 bytes"),
    "metadata that is a list": (header({"__metadata__": []}), "__metadata__ is not a table of texts"),
    "metadata with a number": (header({"__metadata__": {"a": 1}}), "__metadata__ is not a table of texts"),
    "a name with control characters": (header({"a\x1b[2J": U8}), "not a name"),
    "a name without end": (header({"a" * 600: U8}), "not a name"),
    "a Git LFS pointer": (bytes_in(SHARD, b"version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
    "a pickle instead": (bytes_in(SHARD, pickle.dumps(Evil())), "a pickle"),
    "a zip instead": (bytes_in(SHARD, zipped()), "a zip archive"),
}
NAMES: dict[str, tuple[Damage, str]] = {
    name: (bytes_in(name, b"x"), f"{name} may hold code")
    for name in (
        "modeling.py",
        "pytorch_model.bin",
        "A.PT",
        "x.pth",
        "x.pkl",
        "x.ckpt",
        "x.so",
        "x.sh",
        "x.npz",
        "x.whl",
    )
} | {
    "an adapter": (bytes_in("adapter_config.json", b"{}"), "adapter_config.json may hold code"),
    "no config.json": (without("config.json"), "config.json is missing"),
    "no generation_config.json": (without("generation_config.json"), "generation_config.json is missing"),
    "no tokenizer": (without("tokenizer.json"), "no tokenizer"),
    "no index": (without(INDEX), "no model.safetensors and no model.safetensors.index.json"),
    "a name with a line break": (bytes_in("a\nb", b"x"), r"'a\\nb' has a name"),
    "a name that is an option": (bytes_in("-rf", b"x"), "'-rf' has a name"),
    "a name that is not ASCII": (bytes_in("模型", b"x"), "has a name that no bundle may carry"),
    "a name that is too long": (bytes_in("a" * 235, b"x"), "not a path that a bundle may carry"),
    "a download that ended early": (bytes_in("model.safetensors.incomplete", b"x"), "a download that was not finished"),
    "a part of a parallel download": (bytes_in(f"{SHARD}_0_1023", b"x"), "a download that was not finished"),
    "a link out of the folder": (lambda f: (f / "x.txt").symlink_to("/etc/passwd"), "'x.txt' is a link that leads out"),
    "a link to a folder": (lambda f: (f / "x").symlink_to("/etc"), "'x' is a link that leads out"),
    "a link to nothing": (lambda f: (f / "x").symlink_to("nothing"), "'x' is no file"),
    "a link to itself": (lambda f: (f / "x").symlink_to("x"), "'x' is"),
    "a pipe": (lambda f: os.mkfifo(f / "x"), "'x' is no file"),
}
CONTENTS: dict[str, tuple[Damage, str]] = {
    "a pickle of 2024": (bytes_in("README.md", pickle.dumps(Evil(), 4)), "README.md is a pickle"),
    "a pickle of 1996": (bytes_in("README.md", pickle.dumps(Evil(), 0)), "README.md is a pickle"),
    "a pickle of protocol 1": (bytes_in("merges.txt", pickle.dumps(Evil(), 1)), "merges.txt is a pickle"),
    "a torch file": (bytes_in("notes.txt", zipped()), "notes.txt is a zip archive"),
    "a zip behind a text": (bytes_in("notes.txt", b"Read me. " + zipped()), "notes.txt is a zip archive behind"),
    "a tar archive": (bytes_in("notes.txt", tarred()), "notes.txt is a tar archive"),
    "a program": (bytes_in("LICENSE", b"\x7fELF" + bytes(60)), "LICENSE is a program"),
    "a Windows program": (bytes_in("LICENSE", b"MZ\x90\x00" + bytes(60)), "LICENSE is a program"),
    "a script": (bytes_in("README", b"#!/bin/sh\ntrue\n"), "README is a script"),
    "gzip": (bytes_in("data", b"\x1f\x8b\x08" + bytes(20)), "data is a gzip"),
    "HDF5": (bytes_in("data", b"\x89HDF\r\n\x1a\n" + bytes(20)), "data is an HDF5"),
    "compiled Python": (bytes_in("data", b"\xa7\x0d\x0d\x0a" + bytes(20)), "data is compiled Python"),
    "NumPy": (bytes_in("data", b"\x93NUMPY\x01\x00"), "data is a NumPy"),
}
CONFIGS: dict[str, tuple[Damage, str]] = {
    "auto_map": (key("config.json", "auto_map", {"AutoModel": "x.Y"}), "config.json: auto_map"),
    "auto_map inside": (key("config.json", "id2label", {"a": [{"auto_map": "x"}]}), "config.json: auto_map"),
    "auto_map for the tokenizer": (key("tokenizer_config.json", "auto_map", {}), "tokenizer_config.json: auto_map"),
    "auto_map elsewhere": (key("configuration.json", "model", {"auto_map": 1}), "configuration.json: auto_map"),
    "auto_map in a vocabulary": (key("vocab.json", "auto_map", "x.Y"), "vocab.json: auto_map"),
    "a key nobody knows": (key("config.json", "my_code", "x"), "config.json: the key 'my_code' is not known"),
    "a kernel from elsewhere": (
        key("config.json", "_attn_implementation_internal", "a/b"),
        "_attn_implementation_internal",
    ),
    "weights of another format": (key("config.json", "quantization_config", {}), "quantization_config"),
    "a key in a table": (key("config.json", "rope_scaling", {"module": "x"}), "rope_scaling: the key 'module'"),
    "a key in a table of tables": (key("config.json", "rope_parameters", {"full_attention": {"x": 1}}), "the key 'x'"),
    "a table where none is": (key("config.json", "hidden_act", {"a": 1}), "hidden_act: the key 'a'"),
    "a type with code of its own": (key("config.json", "model_type", "chatglm"), "model_type 'chatglm'"),
    "a type that is a list": (key("config.json", "model_type", ["qwen2"]), "model_type"),
    "no type": (bytes_in("config.json", b"{}"), "model_type None"),
    "a class that is none": (key("config.json", "architectures", ["os;system"]), "architectures"),
    "layers that are a text": (key("config.json", "num_hidden_layers", "24"), "num_hidden_layers: '24'"),
    "layers below zero": (key("config.json", "num_hidden_layers", -1), "num_hidden_layers: -1"),
    "layers without end": (key("config.json", "num_hidden_layers", 10**30), "num_hidden_layers"),
    "heads that are true": (key("config.json", "num_attention_heads", True), "num_attention_heads: True"),
    "tied to a text": (key("config.json", "tie_word_embeddings", "yes"), "tie_word_embeddings"),
    "a config that is a list": (bytes_in("config.json", b"[]"), "config.json: not a JSON object"),
    "a config that is no JSON": (bytes_in("config.json", b"{"), "config.json: not JSON"),
    "a config in UTF-16": (bytes_in("config.json", "{}".encode("utf-16")), "config.json: not UTF-8"),
    "a config with a key twice": (bytes_in("config.json", b'{"a":1,"a":2}'), "'a' occurs twice"),
    "a config that is deep": (bytes_in("config.json", DEEP), "config.json: nested too deeply"),
    "a config that is huge": (bytes_in("config.json", b" " * (5 << 20)), "config.json: 5242880 bytes are more"),
    "a deep vocabulary": (bytes_in("vocab.json", b"[" * 60 + b"]" * 60), "vocab.json: nested too deeply"),
    "a number of 5,000 digits": (bytes_in("vocab.json", b"9" * 5000), "vocab.json: not usable JSON"),
    "code to generate": (key("generation_config.json", "custom_generate", "a/b"), "'custom_generate' is not known"),
    "code to compile": (key("generation_config.json", "compile_config", {}), "'compile_config' is not known"),
    "a tokenizer's own key": (key("tokenizer_config.json", "loader", "x"), "'loader' is not known"),
    "a special token's own key": (key("special_tokens_map.json", "loader", "x"), "'loader' is not known"),
}
INDEXES: dict[str, tuple[Damage, str]] = {
    "a shard that is not there": (without(SHARD), f"the shard '{SHARD}' is missing"),
    "a shard elsewhere": (
        key(INDEX, "weight_map", {"a": "../../etc/passwd"}),
        "the shard '../../etc/passwd' is missing",
    ),
    "no map": (key(INDEX, "weight_map", []), "no weight_map"),
    "an empty map": (key(INDEX, "weight_map", {}), "no weight_map"),
    "a map to numbers": (key(INDEX, "weight_map", {"a": 1}), "no weight_map"),
    "a map to lists": (key(INDEX, "weight_map", {"a": ["x"]}), "no weight_map"),
    "a weight that no shard has": (key(INDEX, "weight_map", {"a": SHARD}), "1 weights are not in their shard: 'a'"),
    "a weight that is not listed": (
        key(INDEX, "weight_map", {"model.layers.2.weight": SHARD}),
        "are not listed for them",
    ),
    "an index that is a list": (bytes_in(INDEX, b"[]"), f"{INDEX}: not a JSON object"),
}
TABLES = {"header": HEADERS, "name": NAMES, "content": CONTENTS, "config": CONFIGS, "index": INDEXES}
CASES = [
    pytest.param(damage, pattern, id=f"{kind}: {name}")
    for kind, table in TABLES.items()
    for name, (damage, pattern) in table.items()
]


def everything(folder: Path) -> dict[str, bytes]:
    """Return every file outside the cache, links and pipes by what they are."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("cache/"):
            found[name] = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    return found


@pytest.mark.parametrize(("damage", "pattern"), CASES)
def test_a_hostile_model_is_refused_by_name(folder: Path, tmp_path: Path, damage: Damage, pattern: str) -> None:
    damage(folder)
    before = everything(tmp_path)
    with pytest.raises(FerryError, match=pattern) as caught:
        carry(folder)
    assert caught.value.exit_code in (1, 3)
    assert caught.value.hint
    assert caught.value.message.isprintable() or "\n" in caught.value.message
    assert {name: data for name, data in everything(tmp_path).items() if name != "cache"} == before


def test_everything_that_is_wrong_is_named_at_once(folder: Path) -> None:
    for damage, _ in (HEADERS["an overlap"], CONTENTS["a script"], CONFIGS["auto_map"], CONFIGS["layers below zero"]):
        damage(folder)
    with pytest.raises(FerryError) as caught:
        carry(folder)
    assert len(caught.value.message.splitlines()) == 4


@pytest.mark.parametrize("length", [0x8B1F, 0x2123, 0x5A4D, 0x0280], ids=["gzip", "script", "program", "pickle"])
def test_a_headers_length_is_not_taken_for_something_else(folder: Path, length: int) -> None:
    """A safetensors file begins with its header's length, whose bytes may be those of any other format."""
    text = json.dumps({"model.layers.1.weight": {"dtype": "U8", "shape": [100], "data_offsets": [0, 100]}}).encode()
    header(text.ljust(length))(folder)
    assert SHARD in carry(folder).digests


def raw_file(**changes: Any) -> dict[str, Any]:
    return {"Path": "config.json", "Size": 2, "Sha256": "1" * 64, "Type": "blob", "Revision": "a" * 40, **changes}


LISTINGS: dict[str, tuple[list[Any], str]] = {
    "a path that climbs": ([raw_file(Path="../x")], "../x"),
    "an absolute path": ([raw_file(Path="/etc/passwd")], "/etc/passwd"),
    "a path that is a number": ([raw_file(Path={"a": 1})], "not a path"),
    "a path with a backslash": ([raw_file(Path="a\\b")], "not a path"),
    "a size that is a text": ([raw_file(Size="2")], "config.json: the hub lists no usable size"),
    "a size that is true": ([raw_file(Size=True)], "config.json: the hub lists no usable size"),
    "a size below zero": ([raw_file(Size=-1)], "config.json: the hub lists no usable size"),
    "a size beyond every disk": ([raw_file(Size=1 << 60)], "config.json: the hub lists no usable size"),
    "a digest that is none": ([raw_file(Sha256="x" * 64)], "config.json: the hub lists no usable size and sha256"),
    "no digest": ([raw_file(Sha256=None)], "config.json: the hub lists no usable size and sha256"),
    "the digest of nothing": ([raw_file(Sha256=hub.NOTHING_SHA256)], "config.json: 2 bytes, but listed with another's"),
    "a file twice": ([raw_file(), raw_file()], "one of them twice"),
    "a file that is a folder": ([raw_file(Path="a"), raw_file(Path="a/b")], "a/b: the hub lists its folder as a file"),
    "a file that is a text": (["x"], "lists no files"),
    "only folders": ([raw_file(Type="tree")], "lists no files"),
    "too many files": ([raw_file(Path=f"f{n}") for n in range(hub.MAX_FILES)], "lists 3000 files"),
    "no commit": ([raw_file(Revision="master")], "names no commit"),
}


@pytest.mark.parametrize(("files", "pattern"), LISTINGS.values(), ids=list(LISTINGS))
def test_a_hostile_listing_is_refused_by_name(files: list[Any], pattern: str) -> None:
    with pytest.raises(FerryError, match=pattern) as caught:
        hub.read(ID, "master", {"Files": files})
    assert caught.value.exit_code in (1, 3)
