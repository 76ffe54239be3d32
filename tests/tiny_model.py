"""A very small Qwen2 with random weights and a real tokenizer: what a hub would publish, in a few hundred kilobytes.

Run as a program, it writes the model into a folder; `make` does that in a process of its own, because it needs torch.
`write_large` writes one of any size that no torch has to make: it is carried, and never loaded.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# The same with tools, told in Hermes' form as Qwen's own templates tell it.
CHATML_WITH_TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\\nYou may call these functions:\\n' }}"
    "{% for tool in tools %}{{ tool | tojson + '\\n' }}{% endfor %}"
    '{{ \'Call them so: <tool_call>{"name": name, "arguments": object}</tool_call><|im_end|>\\n\' }}{% endif %}'
    "{% for message in messages %}{{ '<|im_start|>' }}"
    "{% if message.role == 'tool' %}{{ 'user\\n<tool_response>' + message.content + '</tool_response>' }}"
    "{% else %}{{ message.role + '\\n' + message.content }}{% for call in message.tool_calls %}"
    '{{ \'<tool_call>{"name": "\' + call.function.name + \'", "arguments": \' + call.function.arguments | tojson }}'
    "{{ '}</tool_call>' }}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}"
)
CALL_TOKENS = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make(folder: Path, has_tools: bool = False) -> Path:
    """Write the model into `folder`, which is returned; with tools, its template and its tokens know them."""
    command = [sys.executable, __file__, str(folder), *(["tools"] if has_tools else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str] | None = None) -> bytes:
    """Return a safetensors file: name -> (dtype, shape, data), one behind the other."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + len(data)]}
        position += len(data)
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"".join(data for _, _, data in tensors.values())


def with_copy(folder: Path) -> Path:
    """Write the tied matrix a second time into the model's file, as some are published; `folder` is returned."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    tensors = {}
    for name, tensor in header.items():
        start, stop = (8 + length + offset for offset in tensor["data_offsets"])
        tensors[name] = (tensor["dtype"], tensor["shape"], data[start:stop])
    path.write_bytes(safetensors({"lm_head.weight": tensors["model.embed_tokens.weight"], **tensors}, metadata))
    return folder


def write_large(folder: Path, sizes: list[int]) -> Path:
    """Write a model of random shards, so many bytes each, with what belongs to it; `folder` is returned."""
    chosen = random.Random(0)
    weight_map = {}
    for number, size in enumerate(sizes, 1):
        name = f"model-{number:05}-of-{len(sizes):05}.safetensors"
        tensors = {f"model.layers.{number}.weight": ("U8", [size], chosen.randbytes(size))}
        (folder / name).write_bytes(safetensors(tensors, {"format": "pt"}))
        weight_map |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps({**config, "num_attention_heads": 4, "vocab_size": 320}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {}}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    (folder / "LICENSE").write_text("Made for a test. Do with it what you like.\n")
    return folder


def write(folder: Path, has_tools: bool = False) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    named = SPECIAL + CALL_TOKENS * has_tools
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=named, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["the capital of France is Paris"] * 4, trainer)
    if has_tools:
        tokenizer = Tokenizer.from_str(json.dumps(with_plain_tokens(json.loads(tokenizer.to_str()))))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML_WITH_TOOLS if has_tools else CHATML
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        eos_token_id=2,
        bos_token_id=0,
    )
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = [2, 0]
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    (folder / "LICENSE").write_text("Made for a test. Do with it what you like.\n")
    (folder / "README.md").write_text("# A very small model\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (folder / "assets").mkdir()
    (folder / "assets" / "figure.txt").write_text("a file in a folder\n")


def with_plain_tokens(fields: dict[str, Any]) -> dict[str, Any]:
    """Let a call's tokens be shown when they are decoded, as Qwen's tokenizers do."""
    added = [token | {"special": token["content"] not in CALL_TOKENS} for token in fields["added_tokens"]]
    return fields | {"added_tokens": added}


if __name__ == "__main__":
    write(Path(sys.argv[1]), has_tools=sys.argv[2:] == ["tools"])
