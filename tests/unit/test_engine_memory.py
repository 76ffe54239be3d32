"""What a start needs and what there is: figures from a model's folder, from /proc and from control groups."""

import json
from pathlib import Path

import pytest
import tiny_model

from service.config import Engine
from service.engine.errors import EngineError
from service.engine.memory import Need, available_bytes, need, refuse_beyond, token_bytes

GIB = 1 << 30
MEMINFO = "MemTotal: 4194304 kB\nMemFree: 1048576 kB\nMemAvailable: 3145728 kB\n"
QWEN = {"num_hidden_layers": 24, "num_attention_heads": 16, "hidden_size": 1024, "num_key_value_heads": 16}


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_limits_it_is_what_the_machine_has_available(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path, "0::/user.slice\n", {})) == 3 * GIB


def test_a_limit_of_version_2_counts_without_the_pages_of_files(tmp_path: Path) -> None:
    files = {
        "system.slice/ferry.service/memory.max": f"{2 * GIB}\n",
        "system.slice/ferry.service/memory.current": f"{GIB}\n",
        "system.slice/ferry.service/memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 1024\n",
        "system.slice/memory.max": "max\n",
        "system.slice/memory.current": f"{GIB}\n",
    }
    assert available_bytes(machine(tmp_path, "0::/system.slice/ferry.service\n", files)) == GIB + GIB // 2 + 1024


def test_a_parents_limit_counts_too(tmp_path: Path) -> None:
    files = {
        "a/memory.max": f"{GIB}\n",
        "a/memory.current": f"{GIB // 2}\n",
        "a/memory.stat": "inactive_file 0\nactive_file 0\n",
    }
    assert available_bytes(machine(tmp_path, "0::/a/b/c\n", files)) == GIB // 2


def test_a_limit_of_version_1_counts(tmp_path: Path) -> None:
    files = {
        "memory/docker/x/memory.limit_in_bytes": f"{2 * GIB}\n",
        "memory/docker/x/memory.usage_in_bytes": f"{GIB}\n",
        "memory/docker/x/memory.stat": "total_inactive_file 4096\ntotal_active_file 0\n",
    }
    groups = "12:cpu,cpuacct:/docker/x\n7:memory:/docker/x\n"
    assert available_bytes(machine(tmp_path, groups, files)) == GIB + 4096


def test_this_machine_tells_too() -> None:
    assert available_bytes() > 0


def test_a_token_of_qwen_0_5b_takes_192_kib() -> None:
    assert token_bytes(QWEN) == 192 * 1024
    assert token_bytes({**QWEN, "num_key_value_heads": 2, "head_dim": 128}) == 2 * 4 * 24 * 2 * 128
    assert token_bytes({}) == 0


def model(folder: Path) -> Path:
    tensors = {
        "model.embed_tokens.weight": ("BF16", [100, 1024], bytes(2 * 100 * 1024)),
        "lm_head.weight": ("BF16", [100, 1024], bytes(2 * 100 * 1024)),
        "model.norm.weight": ("BF16", [1024], bytes(2 * 1024)),
    }
    (folder / "model.safetensors").write_bytes(tiny_model.safetensors(tensors, {"format": "pt"}))
    config = {**QWEN, "tie_word_embeddings": True, "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_is_needed_follows_the_weights_the_slots_and_the_context(tmp_path: Path) -> None:
    folder = model(tmp_path)
    plain = need(folder, Engine(slots=2, context_tokens=1000))
    assert plain == Need(4 * 101 * 1024, 2 * 1000 * 192 * 1024)
    assert need(folder, Engine(context_tokens=100_000)).cache_bytes == 4096 * 192 * 1024
    assert need(folder, Engine(precision="int8")).weights_bytes < plain.weights_bytes / 3


def test_a_start_beyond_the_memory_is_refused_with_the_figures_and_what_to_change() -> None:
    settings = Engine(slots=4, context_tokens=8192)
    refuse_beyond(Need(2 * GIB, GIB), 4 * GIB, settings)
    with pytest.raises(EngineError) as caught:
        refuse_beyond(Need(2 * GIB, 6 * GIB), 4 * GIB, settings)
    message = str(caught.value)
    assert "weights take 2.00 GiB" in message
    assert "slots = 4 of context_tokens = 8192 take 6.00 GiB" in message
    assert "8.39 GiB" in message and "4.00 GiB are available" in message
    assert 'precision = "int8"' in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{", b"\xff" * 8])
def test_a_broken_file_is_named_and_not_read_into_memory(tmp_path: Path, content: bytes) -> None:
    (model(tmp_path) / "model.safetensors").write_bytes(content)
    with pytest.raises(EngineError, match="cannot be loaded"):
        need(tmp_path, Engine())
