import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig as TheirConfig

from service.engine.model_config import LlamaConfig, read_config

SMALL = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2}
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    "content",
    [
        {},
        SMALL,
        {**SMALL, "num_key_value_heads": 2, "head_dim": 32, "tie_word_embeddings": True, "eos_token_id": [2, 7]},
        {**SMALL, "rope_theta": 100000},
        {**SMALL, "rope_theta": 500000.0, "rope_scaling": {**SCALED, "original_max_position_embeddings": 8192}},
        {**SMALL, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
        {**SMALL, "torch_dtype": "bfloat16", "is_llama_config": True, "transformers.js_config": {"a": 1}},
    ],
)
def test_a_llama_is_read_as_transformers_reads_it(content: dict[str, Any]) -> None:
    assert LlamaConfig.from_dict(dict(content)).to_dict() == TheirConfig.from_dict(dict(content)).to_dict()


def test_the_classes_have_the_same_fields() -> None:
    ours, theirs = vars(LlamaConfig()), vars(TheirConfig())
    assert ours.keys() == theirs.keys() and LlamaConfig.__name__ == TheirConfig.__name__


def test_another_kind_is_read_by_its_own_class(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4}')
    assert type(read_config(tmp_path)).__name__ == "Qwen2Config"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model_type": "none-such"}', '{"hidden_size": 64}'])
def test_what_is_no_configuration_is_a_value_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises((OSError, ValueError)):
        read_config(tmp_path)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_reading_it_does_not_import_what_compiles_and_distributes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    words = (
        "import sys, pathlib; from service.engine.model_config import read_config;"
        "read_config(pathlib.Path(sys.argv[1])); print([m for m in ('sympy', 'torch._dynamo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", words, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
