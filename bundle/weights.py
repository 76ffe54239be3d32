"""The gate for weights: what may be carried, and what config.json and the safetensors headers say of it.

A folder goes in; facts come out, or a refusal that names everything at once. Nothing is loaded and nothing is run:
names first (before anything is fetched), then the first bytes of every file, every JSON file, every safetensors header.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bundle import first_bytes, model_configs, safetensors_header
from bundle.model_configs import CONFIG, GENERATION, INDEX
from bundle.safetensors_header import Header, Tensor
from checksums.errors import IntegrityError
from checksums.layout import safe_path

# Pickles by their usual names (CVE-2025-32434), code that transformers may import, libraries, programs and archives.
REFUSED_SUFFIXES = {
    ".py", ".pyc", ".pyd", ".pyi", ".pyw", ".pyx", ".so", ".dylib", ".dll", ".exe", ".sh", ".bat", ".cmd", ".ps1",
    ".jar", ".class", ".whl", ".egg", ".bin", ".pt", ".pt2", ".ptl", ".pth", ".pkl", ".pickle", ".pck", ".dill",
    ".joblib",
    ".ckpt", ".nemo", ".mar", ".pdparams", ".pdmodel", ".sav", ".h5", ".hdf5", ".keras", ".msgpack", ".npy", ".npz",
    ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar",
}  # fmt: skip
# transformers follows an adapter's configuration to another model.
REFUSED_NAMES = {"adapter_config.json", "adapter_model.safetensors"}
WEIGHTS = "model.safetensors"
TOKENIZERS = ({"tokenizer.json"}, {"tokenizer.model"}, {"vocab.json", "merges.txt"})
NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
FOLDER = "payload/model"
HINT = (
    "choose a model that is published as safetensors and needs no code of its own;"
    ' what is harmless but not known can be taken out of a copy of it: [model] source = "folder"'
)


@dataclass(frozen=True)
class Facts:
    """dtype of most weights, number of parameters (a tied matrix once), and KV cache in float32 bytes a token."""

    dtype: str
    parameters: int
    kv_bytes_per_token: int


def check_names(model_id: str, paths: Iterable[str]) -> None:
    """Refuse a model by the names of its files, before any is fetched.

    Raises:
        IntegrityError: it carries code or pickles, or lacks what an answer needs; everything is named at once.
    """
    present = set(paths)
    faults = [f"{path} may hold code" for path in sorted(present) if _is_refused(path)]
    faults += [f"{name} is missing" for name in (CONFIG, GENERATION) if name not in present]
    if not present & {WEIGHTS, INDEX}:
        other = "; other weights cannot be checked" if any(map(_is_refused, present)) else ""
        faults.append(f"no {WEIGHTS} and no {INDEX}{other}")
    faults += [] if any(needed <= present for needed in TOKENIZERS) else ["no tokenizer"]
    if faults:
        raise IntegrityError(f"{model_id}: {'; '.join(faults)}", HINT)
    for path in present:
        safe_path(f"{FOLDER}/{path}")


def _is_refused(path: str) -> bool:
    name = PurePosixPath(path).name.lower()
    return PurePosixPath(name).suffix in REFUSED_SUFFIXES or name in REFUSED_NAMES


def read_facts(model_id: str, folder: Path, paths: Iterable[str]) -> Facts:
    """Read what a fetched model is, after looking at every file of it.

    Raises:
        IntegrityError: a file may hold code, a config asks for it or says what is not known, a safetensors file is not
            well formed, or the index does not agree with the files; everything is named at once.
    """
    paths = sorted(paths)
    headers, faults = read_headers(folder, paths)
    others = [path for path in paths if path not in headers and not _is_weights(path)]
    faults += [f"{path} is {fault}" for path in others if (fault := first_bytes.fault(folder / path))]
    values, unreadable = model_configs.read_all(folder, paths)
    faults += [*unreadable, *model_configs.faults(values)]
    if not faults:
        faults += _index_faults(values.get(INDEX), headers)
    if faults:
        raise IntegrityError("\n".join(f"{model_id}: {fault}" for fault in faults), HINT)
    return _facts(values[CONFIG], loaded(headers, values.get(INDEX)))


def read_headers(folder: Path, paths: Collection[str]) -> tuple[dict[str, Header], list[str]]:
    """Return path -> header of every safetensors file, and what is wrong with the others."""
    headers, faults = {}, []
    for path in filter(_is_weights, paths):
        try:
            headers[path] = safetensors_header.read(folder / path)
        except ValueError as error:
            with (folder / path).open("rb") as file:
                what = first_bytes.kind(file.read(first_bytes.HEAD_BYTES)) or error
            faults.append(f"{path}: not a safetensors file: {what}")
    return headers, faults


def _is_weights(path: str) -> bool:
    return path.endswith(".safetensors")


def _index_faults(index: Any, headers: Mapping[str, Header]) -> Iterator[str]:
    """Say where the index and the shards do not agree: transformers would leave a weight at random numbers."""
    if index is None:
        return
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(f, str) for f in weight_map.values()):
        yield f"{INDEX}: no weight_map that names a file for each weight"
        return
    for shard in sorted(set(weight_map.values()) - set(headers)):
        yield f"{INDEX}: the shard {shard[:120]!a} is missing"
    shards = set(weight_map.values()) & set(headers)
    absent = [name for name, file in weight_map.items() if file in shards and name not in headers[file].tensors]
    unlisted = [name for file in sorted(shards) for name in headers[file].tensors if weight_map.get(name) != file]
    if absent:
        yield f"{INDEX}: {len(absent)} weights are not in their shard: {absent[0][:120]!a} …"
    if unlisted:
        yield f"{INDEX}: {len(unlisted)} weights of the shards are not listed for them: {unlisted[0][:120]!a} …"


def loaded(headers: Mapping[str, Header], index: Any) -> dict[str, Tensor]:
    """Return the tensors that transformers loads: of model.safetensors, else of the shards that the index names."""
    shards = [WEIGHTS] if WEIGHTS in headers else sorted(set(index["weight_map"].values()))
    return {name: tensor for shard in shards for name, tensor in headers[shard].tensors.items()}


def _facts(config: dict[str, Any], tensors: Mapping[str, Tensor]) -> Facts:
    is_tied = config.get("tie_word_embeddings") is True and EMBEDDING in tensors
    counted = [tensor for name, tensor in tensors.items() if not (is_tied and name == OUTPUT)]
    return Facts(_dtype(counted), sum(tensor.elements for tensor in counted), _kv_bytes(config))


def _dtype(tensors: Iterable[Tensor]) -> str:
    sizes: dict[str, int] = {}
    for tensor in tensors:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.elements
    most = max(sizes, key=lambda name: (sizes[name], name))
    return NAMES.get(most, most.lower())


def _kv_bytes(config: dict[str, Any]) -> int:
    heads = config.get("num_attention_heads") or 0
    kv_heads = config.get("num_key_value_heads") or heads
    head_size = config.get("head_dim") or (config.get("hidden_size") or 0) // max(heads, 1)
    return int(2 * 4 * (config.get("num_hidden_layers") or 0) * kv_heads * head_size)
