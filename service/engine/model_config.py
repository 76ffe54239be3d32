"""What a model's config.json says, as transformers reads it: a folder comes in, a PreTrainedConfig goes out.

For the sake of one validator transformers' class for Llama imports the halves of torch that compile and distribute:
nine hundred modules, several seconds of every start. So that class stands here once more, field for field, without it.
"""

from pathlib import Path
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.modeling_rope_utils import RopeParameters


@strict
class LlamaConfig(PreTrainedConfig):  # type: ignore[misc]  # mypy is told to skip transformers
    """The fields and defaults of transformers.LlamaConfig, whose name tokenizers are found by."""

    model_type = "llama"

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pretraining_tp: int | None = 1
    tie_word_embeddings: bool = False
    rope_parameters: RopeParameters | dict[str, Any] | None = None
    attention_bias: bool = False
    attention_dropout: int | float | None = 0.0
    mlp_bias: bool = False
    head_dim: int | None = None

    def __post_init__(self, **other: Any) -> None:
        """Fill in what the model's makers left out."""
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        super().__post_init__(**other)


def read_config(folder: Path) -> Any:
    """Read a model folder's config.json. Raises: OSError, ValueError where it is none."""
    found, _ = PreTrainedConfig.get_config_dict(folder, local_files_only=True)
    if not isinstance(found, dict):
        raise ValueError(f"{folder / 'config.json'}: no JSON object")
    if found.get("model_type") == LlamaConfig.model_type:
        return LlamaConfig.from_dict(found)
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
