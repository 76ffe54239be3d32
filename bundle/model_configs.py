"""The JSON files of a model: read within limits, and refused where they say what transformers' own code does not know.

A key that is not known may be one that transformers follows to code somewhere else (CVE-2026-4372): so there is a list
of what is allowed (bundle/model_keys.py), and `auto_map`, which names code beside the weights, is nowhere allowed.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bundle import model_keys

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer_config.json"
SPECIAL, INDEX = "special_tokens_map.json", "model.safetensors.index.json"
# The largest tokenizer.json known has 35 MB.
MAX_BYTES = 64 << 20
MAX_CONFIG_BYTES = 4 << 20
MAX_DEPTH = 32
AUTO_MAP = "auto_map"
# Lists of words: there "auto_map" may be one, with its number.
VOCABULARIES = {"vocab.json", "added_tokens.json", "tokenizer.json"}
CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
NUMBERS = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_size")
MAX_NUMBER = 1 << 16
Json = dict[str, Any]


class JsonFaultError(ValueError):
    """A file is not JSON that can be used; the message says why."""


def read(path: Path, limit_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file. Raises JsonFaultError."""
    size = path.stat().st_size
    if size > limit_bytes:
        raise JsonFaultError(f"{size} bytes are more than such a file has ({limit_bytes})")
    try:
        value = json.loads(path.read_bytes().decode(), object_pairs_hook=_once)
    except RecursionError as error:
        raise JsonFaultError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise JsonFaultError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise JsonFaultError(f"not JSON: {error.msg} in line {error.lineno}") from error
    except ValueError as error:
        raise JsonFaultError(f"not usable JSON: {error}") from error
    if _depth(value) > MAX_DEPTH:
        raise JsonFaultError("nested too deeply")
    return value


def read_all(folder: Path, paths: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Return path -> value of every JSON file, and what is wrong with the others."""
    values, faults = {}, []
    for path in sorted(path for path in paths if path.lower().endswith(".json")):
        is_config = PurePosixPath(path).name in (CONFIG, GENERATION)
        try:
            values[path] = read(folder / path, MAX_CONFIG_BYTES if is_config else MAX_BYTES)
        except JsonFaultError as error:
            faults.append(f"{path}: {error}")
    return values, faults


def faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Say everything that is wrong with a model's JSON files; `values` as `read_all` returns them."""
    for path, value in values.items():
        name = PurePosixPath(path).name
        if _names_code(value, name in VOCABULARIES):
            yield f"{path}: {AUTO_MAP} asks to run code that comes with the model"
        if name in (CONFIG, GENERATION, TOKENIZER, SPECIAL, INDEX) and not isinstance(value, dict):
            yield f"{path}: not a JSON object"
        elif name == CONFIG:
            yield from (f"{path}: {fault}" for fault in _config_faults(value))
        elif name in (GENERATION, TOKENIZER, SPECIAL):
            allowed = {
                GENERATION: model_keys.generation_keys(),
                TOKENIZER: model_keys.TOKENIZER,
                SPECIAL: model_keys.SPECIAL,
            }
            yield from (f"{path}: {fault}" for fault in _unknown(value, allowed[name]))


def _config_faults(config: Json) -> Iterator[str]:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in model_keys.FAMILIES:
        yield f"model_type {ascii(model_type)[:80]} is none that transformers runs with its own code"
        model_type = ""
    yield from _unknown(config, model_keys.config_keys(model_type) if model_type else set(config))
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or not all(_is_class(name) for name in architectures):
        yield f"architectures: {ascii(architectures)[:80]} are no names of classes"
    for key in NUMBERS:
        number = config.get(key)
        if number is not None and (type(number) is not int or not 0 < number <= MAX_NUMBER):
            yield f"{key}: {ascii(number)[:80]} is no number that can be"
    if not isinstance(config.get("tie_word_embeddings") or False, bool):
        yield "tie_word_embeddings: neither true nor false"
    for key, value in config.items():
        if isinstance(value, dict) and key != AUTO_MAP:
            yield from _table_faults(key, value)


def _table_faults(key: str, value: Json) -> Iterator[str]:
    """Say what is wrong with a table inside config.json; a table of tables (one for each kind of layer) is one too."""
    allowed = model_keys.TABLES.get(key, set())
    if allowed is None:
        return
    for inner in [value, *(item for item in value.values() if isinstance(item, dict))]:
        yield from (f"{ascii(key)[1:-1][:80]}: {fault}" for fault in _unknown(inner, allowed))


def _unknown(value: Json, allowed: Collection[str]) -> Iterator[str]:
    for key in sorted(set(value) - set(allowed) - {AUTO_MAP}):
        yield f"the key {ascii(key)[:80]} is not known"


def _is_class(name: Any) -> bool:
    return isinstance(name, str) and bool(CLASS_NAME.fullmatch(name))


def _names_code(value: Any, is_vocabulary: bool) -> bool:
    """Tell whether `auto_map` is a key anywhere; among words with their numbers it is a word."""
    places = [value]
    while places:
        place = places.pop()
        if isinstance(place, dict):
            if AUTO_MAP in place and not (is_vocabulary and type(place[AUTO_MAP]) is int):
                return True
            places += place.values()
        elif isinstance(place, list):
            places += place
    return False


def _depth(value: Any) -> int:
    depth, places = 0, [value]
    while places:
        depth += 1
        inner = [place for place in places if isinstance(place, dict | list)]
        places = [item for place in inner for item in (place.values() if isinstance(place, dict) else place)]
    return depth


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found: Json = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:80]!a} occurs twice")
        found[key] = value
    return found
