"""The gate for weights, seen from published models: what they hold passes, and sizes are computed from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_model

from bundle import model_configs, model_keys, safetensors_header, weights
from bundle.safetensors_header import BITS
from checksums.errors import IntegrityError

NAMES = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
CONFIG = {
    "model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
    "tie_word_embeddings": True,
}  # fmt: skip
MATRIX = ("BF16", [10, 4], bytes(80))
TENSORS = {"model.embed_tokens.weight": MATRIX, "lm_head.weight": MATRIX}

# What the hub's own files hold, keys as published.
QWEN2 = {
    "architectures", "attention_dropout", "bos_token_id", "eos_token_id", "hidden_act", "hidden_size",
    "initializer_range",
    "intermediate_size", "max_position_embeddings", "max_window_layers", "model_type", "num_attention_heads",
    "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "rope_theta", "sliding_window", "tie_word_embeddings",
    "torch_dtype", "transformers_version", "use_cache", "use_sliding_window", "vocab_size",
}  # fmt: skip
PUBLISHED = {
    "Qwen1.5": ("qwen2", QWEN2),
    "Qwen2.5": ("qwen2", QWEN2),
    "Qwen3": ("qwen3", QWEN2 | {"attention_bias", "head_dim", "rope_scaling"}),
    "SmolLM2": (
        "llama",
        QWEN2 - {"max_window_layers", "sliding_window", "use_sliding_window"}
        | {"attention_bias", "is_llama_config", "mlp_bias", "pad_token_id", "pretraining_tp", "rope_interleaved"}
        | {"rope_scaling", "transformers.js_config"},
    ),
    "Llama 3.2": ("llama", {"attention_bias", "head_dim", "mlp_bias", "pretraining_tp", "rope_scaling", "torch_dtype"}),
    "Mistral": ("mistral", {"head_dim", "sliding_window", "rope_theta", "torch_dtype"}),
}
GENERATION = {
    "bos_token_id", "pad_token_id", "do_sample", "eos_token_id", "repetition_penalty", "temperature", "top_p", "top_k",
    "transformers_version", "max_new_tokens", "_from_model_config",
}  # fmt: skip
TOKENIZER = {
    "add_bos_token", "add_prefix_space", "added_tokens_decoder", "additional_special_tokens", "bos_token",
    "chat_template",
    "clean_up_tokenization_spaces", "eos_token", "errors", "model_max_length", "pad_token", "split_special_tokens",
    "tokenizer_class", "unk_token", "vocab_size", "model_input_names", "legacy", "sp_model_kwargs", "add_eos_token",
    "use_default_system_prompt", "spaces_between_special_tokens", "padding_side",
}  # fmt: skip


def write(folder: Path, config: Any = CONFIG, tensors: Any = TENSORS) -> Path:
    (folder / "model.safetensors").write_bytes(tiny_model.safetensors(tensors, {"format": "pt"}))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_plain_model_passes() -> None:
    weights.check_names("Owner/Name", NAMES)
    others = [
        "README.md",
        "LICENSE",
        ".gitattributes",
        "configuration.json",
        "chat_template.jinja",
        "added_tokens.json",
    ]
    sharded = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.json", "merges.txt"]
    weights.check_names("Owner/Name", [*NAMES[:2], *sharded, *others, "figures/speed.png", "special_tokens_map.json"])


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(IntegrityError) as caught:
        weights.check_names("Owner/Name", ["README.md", "x.PY"])
    for words in ("x.PY may hold code", "config.json is missing", "no model.safetensors", "no tokenizer"):
        assert words in caught.value.message


@pytest.mark.parametrize(("model_type", "keys"), PUBLISHED.values(), ids=list(PUBLISHED))
def test_the_keys_of_published_models_are_known(model_type: str, keys: set[str]) -> None:
    assert keys - model_keys.config_keys(model_type) == set()


def test_the_keys_of_published_tokenizers_and_generation_configs_are_known() -> None:
    assert GENERATION - model_keys.generation_keys() == set()
    assert not TOKENIZER - model_keys.TOKENIZER


def test_a_whole_published_set_of_files_passes(tmp_path: Path) -> None:
    """Values as Qwen3 and SmolLM2 publish them, where they are more than a word or a number."""
    write(tmp_path, {**CONFIG, "rope_scaling": None, "architectures": ["Qwen2ForCausalLM"], "rope_theta": 1e6})
    files: dict[str, Any] = {
        "configuration.json": {"framework": "pytorch", "task": "chat", "allow_remote": True},
        "generation_config.json": {"eos_token_id": [151645, 151643], "top_p": 0.8, "repetition_penalty": 1.1},
        "tokenizer_config.json": {
            "added_tokens_decoder": {"151643": {"content": "<|endoftext|>", "special": True}},
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "bos_token": None,
            "chat_template": tiny_model.CHATML,
        },
        "special_tokens_map.json": {"eos_token": {"content": "<|im_end|>", "lstrip": False}},
        "added_tokens.json": {"<|im_end|>": 151645},
        "vocab.json": {"auto_map": 17, "!": 0},
    }
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ Ġ\nc a\nco n\n")
    (tmp_path / "chat_template.jinja").write_text(tiny_model.CHATML)
    (tmp_path / "README.md").write_text("can be used\nfor chat\n.")
    (tmp_path / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    assert weights.read_facts("Owner/Name", tmp_path, [path.name for path in tmp_path.iterdir()]).parameters == 40


def test_long_rope_tables_of_published_models_pass() -> None:
    """Llama 3.2's, Phi-3's and Gemma 3's, the last with a table for each kind of layer."""
    llama = {"factor": 32.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}
    phi = {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}
    gemma = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default"},
    }
    for key, value in (("rope_scaling", llama), ("rope_scaling", phi), ("rope_parameters", gemma)):
        assert list(model_configs.faults({"config.json": {**CONFIG, key: value}})) == []


def test_a_tied_matrix_is_counted_once(tmp_path: Path) -> None:
    facts = weights.read_facts("Owner/Name", write(tmp_path), NAMES)
    assert (facts.dtype, facts.parameters) == ("bfloat16", 40)


def test_an_output_matrix_of_its_own_is_counted(tmp_path: Path) -> None:
    untied = write(tmp_path, {**CONFIG, "tie_word_embeddings": False})
    assert weights.read_facts("Owner/Name", untied, NAMES).parameters == 80


def test_what_transformers_does_not_load_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "consolidated.safetensors").write_bytes(tiny_model.safetensors({"tok_embeddings.weight": MATRIX}))
    assert weights.read_facts("Owner/Name", tmp_path, [*NAMES, "consolidated.safetensors"]).parameters == 40


def test_the_kv_cache_is_computed_from_the_config(tmp_path: Path) -> None:
    """Keys and values, float32, for every layer and key-value head: 2 x 4 x 2 x 4 x 16 bytes a token."""
    assert weights.read_facts("Owner/Name", write(tmp_path), NAMES).kv_bytes_per_token == 1024
    grouped = write(tmp_path, {**CONFIG, "num_key_value_heads": 2, "head_dim": 8})
    assert weights.read_facts("Owner/Name", grouped, NAMES).kv_bytes_per_token == 256


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_plain_dtype_is_read_as_the_library_reads_it(tmp_path: Path, dtype: str) -> None:
    data = tiny_model.safetensors({"a": (dtype, [2, 3], bytes(6 * BITS[dtype] // 8)), "b": (dtype, [0], b"")})
    (tmp_path / "x.safetensors").write_bytes(data)
    tensors = safetensors_header.read(tmp_path / "x.safetensors").tensors
    assert (tensors["a"].shape, tensors["a"].elements, tensors["b"].elements) == ((2, 3), 6, 0)


def test_a_scalar_has_one_element(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(tiny_model.safetensors({"a": ("F32", [], bytes(4))}))
    assert safetensors_header.read(tmp_path / "x.safetensors").tensors["a"].elements == 1
