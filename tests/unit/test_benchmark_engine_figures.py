"""The arithmetic of the engine's benchmarks: bytes, ratios, divergence, slopes and shares, on known values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cancels, engine_table, overload, quality
from benchmarks.engine_models import SHAPE
from benchmarks.engines import LLAMA_F32, LLAMA_Q8, OURS, TRANSFORMERS
from benchmarks.http_load import Seen
from benchmarks.model_bytes import Shape
from benchmarks.workload import Workload

QWEN = {
    "model_type": "qwen2",
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "vocab_size": 151_936,
}
PARAMETERS = 463_987_712


@pytest.fixture
def shape(tmp_path: Path) -> Shape:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    return Shape.of(tmp_path)


def test_a_step_reads_every_weight_once_and_the_cache_of_each_sequence(shape: Shape) -> None:
    assert shape.weights("float32") == 4 * PARAMETERS
    assert PARAMETERS < shape.weights("int8") < 1.01 * PARAMETERS
    assert shape.cache("float32") == 192 * 1024
    assert shape.read("float32", 100, 8) == 4 * PARAMETERS + 8 * 100 * 192 * 1024


def test_every_engine_is_given_the_same_tokens_of_its_vocabulary() -> None:
    one, other = (Workload("x", precision, 2, 50, 7, 3, 200) for precision in ("float32", "int8"))
    assert one.prompts() == other.prompts()
    assert [len(prompt) for prompt in one.prompts()] == [50, 50, 50]
    assert len(one.answers()) == 7
    assert all(100 <= token < 200 for row in one.prompts() + one.answers() for token in row)


def test_a_workload_reaches_its_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload("a model", "int8", 2, 128, 64, 8)
    monkeypatch.setattr("sys.argv", ["engine", workload.words()])
    assert Workload.from_arguments() == workload


def measured(speeds: dict[str, float]) -> dict[str, Any]:
    """One model's findings: every row of an engine at one speed; reading takes a second for each of 100 bytes."""
    rows = ("128", "1,900", "8 x 128")
    memory = {"VmHWM": 3_000_000_000, "VmRSS": 2_000_000_000}

    def figures(speed: float) -> dict[str, list[Any]]:
        return {"prefill": [speed] * 3, "decode": [speed, speed, 1000.0], "used": [memory] * 3, "version": ["1"] * 3}

    turns: dict[str, Any] = {name: {row: figures(speed) for row in rows} for name, speed in speeds.items()}
    turns["limit"] = {precision: {"bytes_per_s": [1000.0, 2000.0, 9000.0]} for precision in ("float32", "int8")}
    sizes = {precision: dict.fromkeys(rows, 100) for precision in ("float32", "int8")}
    served = {
        "second_turn": {"ratio": 0.05, "cold_s": [2.0], "warm_s": [0.1], "cached_tokens": [9], "prompt_tokens": [10]},
        "start_s": [10.0],
        "imports_s": [7.0],
        "room": {"weights": 2_000_000_000, "cache": 600_000_000},
        "loaded": memory,
        "used": memory,
    }
    return {"turns": turns, "bytes": sizes, "served": {"float32": served}}


def test_ratios_are_of_medians_and_stand_beside_what_is_needed() -> None:
    speeds = {OURS["float32"]: 16.0, OURS["int8"]: 17.0, LLAMA_F32: 16.0, TRANSFORMERS: 8.0, LLAMA_Q8: 10.0}
    found = engine_table.ratios({SHAPE: measured(speeds)}, {"kl": 0.004, "same_greedy": 0.97})
    values = {name: value for name, value, _ in found}
    assert values["ferry float32, decode 128 / llama.cpp F32"] == 1.0
    assert values["ferry float32, decode 128 / transformers float32"] == 2.0
    assert values["ferry float32, decode 128 / limit"] == 0.8
    assert values["ferry int8, decode 1,900 / llama.cpp Q8_0"] == 1.7
    assert values["ferry float32, served: start beyond imports, s"] == 3.0
    assert values["ferry float32, served: beyond weights and cache, MB"] == 400.0
    assert len(found) == 8 + 3 + 2


def test_without_peers_only_the_limit_is_compared_with() -> None:
    found = engine_table.ratios({SHAPE: measured({OURS["float32"]: 16.0})}, {"kl": 0.0, "same_greedy": 1.0})
    assert [name for name, _, _ in found if "/" in name and "served" not in name] == [
        "ferry float32, decode 128 / limit"
    ]


def test_the_table_names_every_engine_and_whoever_is_left_out() -> None:
    models = {SHAPE: measured({OURS["float32"]: 16.0, LLAMA_Q8: 10.0})}
    report: dict[str, Any] = {"machine": {"cpu": "a processor"}, "models": models, "left_out": {"x: y": "no\ncompiler"}}
    report["quality"] = {"tokens": 3, "kl": 0.004, "same_greedy": 0.97}
    report["ratios"] = engine_table.ratios(models, report["quality"])
    printed = engine_table.render(report)
    assert all(name in printed for name in (OURS["float32"], LLAMA_Q8, "limit int8", "left out: x: y: compiler"))


def test_divergence_is_nothing_for_the_same_scores_and_shifts_do_not_count() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [0.0, 5.0, 1.0]], np.float32)
    found = quality.compare(scores, scores + 7, [0, 2, 1])
    assert found["kl"] == pytest.approx(0.0, abs=1e-9)
    assert found["same_greedy"] == 1.0
    assert found["perplexity float32"] == pytest.approx(found["perplexity int8"])


def test_divergence_is_that_of_the_distributions() -> None:
    exact, other = (np.log(np.array([row], np.float32)) for row in ([0.5, 0.5], [0.25, 0.75]))
    found = quality.compare(exact, other, [0, 1])
    assert found["kl"] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), rel=1e-5)
    assert found["perplexity int8"] == pytest.approx(1 / 0.75, rel=1e-5)


def test_a_slope_is_found_beside_its_error() -> None:
    chosen = np.random.default_rng(0)
    noise = chosen.normal(0, 1000, 400)
    flat = cancels.slope([(number, int(10**8 + noise[number])) for number in range(400)])
    rising = cancels.slope([(number, int(10**8 + 500 * number + noise[number])) for number in range(400)])
    assert abs(flat["slope_bytes"]) < 3 * flat["slope_error_bytes"]
    assert rising["slope_bytes"] == pytest.approx(500, abs=3 * rising["slope_error_bytes"])


def test_one_step_of_memory_is_noise_and_many_are_a_slope() -> None:
    once = cancels.slope([(number, 10**8 + 40_960 * (number > 300)) for number in range(400)])
    often = cancels.slope([(number, 10**8 + 4096 * (number // 8)) for number in range(400)])
    assert once["slope_bytes"] > 3 * once["slope_error_bytes"]
    assert once["slope_bytes"] < 2 * once["stretches_error_bytes"]
    assert often["slope_bytes"] == pytest.approx(512, rel=0.05)
    assert often["slope_bytes"] > 10 * often["stretches_error_bytes"]


def client(user: str, first_s: float | None, status: int = 200, ended_s: float = 9.0) -> Seen:
    return Seen(user, 0.0, status, first_s, ended_s, 1, is_whole=first_s is not None)


def test_shares_count_who_began_among_the_first() -> None:
    greedy = [client("one", 0.1 * number) for number in range(1, 5)]
    patient = [client("two", 5.0), client("two", 6.0)]
    found = overload.judge([*greedy, *patient, client("two", None, 429, 0.3), client("one", None)])
    assert (found["answered"], found["refused"], found["cut or failed"]) == (6, 1, 1)
    assert found["refused after at most, s"] == 0.3
    assert [user["of the first"] for user in found["users"].values()] == [4, 0]
    assert overload.evenness([4, 0]) == 0.5
    assert overload.evenness([2, 2]) == 1.0
