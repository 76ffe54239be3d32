"""Which keys a model's JSON files may have: what transformers' own classes know, and what published models add to it.

The classes' part is bundle/model_keys.json, so that no build imports them. Write it anew after a new transformers:
python -m bundle.model_keys
"""

import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")

# Language models that transformers runs with its own code; model_type is one of these.
FAMILIES = (
    "apertus", "arcee", "bloom", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "ernie4_5", "ernie4_5_moe",
    "exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2", "gpt_neox", "gpt_oss",
    "granite", "granitemoe", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "internlm3", "lfm2", "llama",
    "minicpm3", "ministral", "mistral", "mixtral", "mpt", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "opt",
    "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm",
    "starcoder2",
)  # fmt: skip

# In config.json: what transformers 4 wrote for every model, and marks that training programs leave. None of it runs.
CONFIG = {
    "model_type", "transformers_version", "torch_dtype", "dtype", "rope_theta", "rope_scaling", "rope_parameters",
    "partial_rotary_factor", "attention_bias", "mlp_bias", "head_dim", "tie_word_embeddings", "use_cache",
    "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id",
    "decoder_start_token_id", "_name_or_path", "_model_name_or_path", "name_or_path",
    "_attn_implementation_autoset", "_commit_hash", "add_cross_attention", "cross_attention_hidden_size",
    "finetuning_task", "gradient_checkpointing", "is_decoder", "is_encoder_decoder", "is_llama_config",
    "max_sequence_length", "model_max_length", "output_attentions", "output_hidden_states", "prefix",
    "pretraining_tp", "problem_type", "pruned_heads", "return_dict", "rope_interleaved", "rope_local_base_freq",
    "seq_length", "task_specific_params", "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class", "torchscript",
    "transformers.js_config", "unsloth_fixed", "unsloth_version", "use_bfloat16", "bad_words_ids",
    "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "length_penalty",
    "max_length", "max_new_tokens", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
    "num_return_sequences", "output_scores", "remove_invalid_values", "repetition_penalty",
    "return_dict_in_generate", "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
}  # fmt: skip
GENERATION = {"transformers_version", "chat_format", "max_window_size", "user_token_id", "assistant_token_id"}
ROPE = {
    "attention_factor", "beta_fast", "beta_slow", "factor", "finetuned", "full_attention", "high_freq_factor",
    "long_factor", "low_freq_factor", "mscale", "mscale_all_dim", "original_max_position_embeddings",
    "partial_rotary_factor", "rope_theta", "rope_type", "short_factor", "sliding_attention", "truncate", "type",
}  # fmt: skip
# Tables inside config.json, and the keys they may have; None: any, transformers reads them as names of classes.
TABLES: dict[str, set[str] | None] = {
    "rope_scaling": ROPE, "rope_parameters": ROPE, "id2label": None, "label2id": None, "pruned_heads": None,
    "task_specific_params": None, "transformers.js_config": None, "attn_config": None, "initializer_config": None,
    "ffn_config": None,
}  # fmt: skip
SPECIAL = {
    "additional_special_tokens", "bos_token", "cls_token", "eos_token", "extra_special_tokens", "mask_token",
    "model_specific_special_tokens", "pad_token", "sep_token", "unk_token", "image_token", "video_token",
    "vision_bos_token", "vision_eos_token", "boi_token", "eoi_token",
}  # fmt: skip
TOKENIZER = SPECIAL | {
    "add_bos_token", "add_eos_token", "add_prefix_space", "add_special_tokens", "added_tokens_decoder", "backend",
    "chat_template", "clean_up_tokenization_spaces", "do_lower_case", "errors", "fast_tokenizer_files", "is_local",
    "keep_accents", "legacy", "local_files_only", "max_length", "model_input_names", "model_max_length",
    "name_or_path", "pad_to_multiple_of", "pad_token_type_id", "padding_side", "response_schema",
    "return_token_type_ids", "sp_model_kwargs", "spaces_between_special_tokens", "special_tokens_map_file",
    "split_special_tokens", "stride", "tokenizer_class", "tokenizer_file", "tokenizer_type", "trim_offsets",
    "truncation_side", "truncation_strategy", "use_default_system_prompt", "use_fast", "vocab_file", "merges_file",
    "vocab_size", "verbose",
}  # fmt: skip


@cache
def known() -> dict[str, Any]:
    """Return what was collected from transformers."""
    value: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return value


def config_keys(model_type: str) -> set[str]:
    """Return the keys that config.json may have; only the common ones for a type that is not known."""
    return CONFIG | set(known()["config"].get(model_type, ()))


def generation_keys() -> set[str]:
    """Return the keys that generation_config.json may have."""
    return GENERATION | set(known()["generation"])


def collect() -> dict[str, Any]:
    """Read the classes of the transformers that is installed here."""
    import transformers
    from transformers import GenerationConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = {}
    for family in FAMILIES:
        kind = CONFIG_MAPPING[family]
        config[family] = sorted({*(field.name for field in fields(kind)), *kind.attribute_map})
    # Tables such as compile_config say how to compute; a server decides that for itself.
    generation = sorted(
        {key for key in GenerationConfig().__dict__ if not key.endswith("_config")} | {"_from_model_config"}
    )
    return {"transformers": transformers.__version__, "config": config, "generation": generation}


def render(collected: dict[str, Any]) -> str:
    """Return the text of the file."""
    return json.dumps(collected, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(collect()), encoding="utf-8")
