"""What was measured of the engines -> ratios beside what is needed, and the table for people. Nothing is run here."""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import quality
from benchmarks.engine_models import SHAPE
from benchmarks.engines import CLASSES, LLAMA_F32, LLAMA_Q8, OURS, TRANSFORMERS

FLOAT32, INT8 = OURS["float32"], OURS["int8"]
# Speeds of the random model: what is compared, row, figure, with whom, and at least how often as fast.
SPEEDS = (
    (FLOAT32, "128", "decode", LLAMA_F32, 0.95),
    (FLOAT32, "128", "decode", TRANSFORMERS, 1.8),
    (FLOAT32, "128", "decode", "limit", 0.85),
    (INT8, "128", "decode", LLAMA_Q8, 1.15),
    (INT8, "1,900", "decode", LLAMA_Q8, 1.0),
    (INT8, "128", "decode", "limit", 0.8),
    (INT8, "128", "prefill", LLAMA_Q8, 1.0),
    (INT8, "8 x 128", "decode", LLAMA_Q8, 1.4),
)
SECOND_TURN, START_S, ROOM_BYTES = 0.1, 4.0, 500_000_000


def medians(model: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return engine -> row -> figure -> the middle of all turns; of what is no number the last."""
    return {
        name: {row: {figure: _middle(values) for figure, values in figures.items()} for row, figures in rows.items()}
        for name, rows in model["turns"].items()
    }


def _middle(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {name: _middle([value[name] for value in values]) for name in values[0]}
    return values[-1] if isinstance(values[0], str) else statistics.median(values)


def limit(model: Mapping[str, Any], precision: str, row: str) -> float:
    """Return the tokens a second of a loop that only reads what a step has to read: weights once, and the cache."""
    bytes_per_s: float = statistics.median(model["turns"]["limit"][precision]["bytes_per_s"])
    step_bytes: int = model["bytes"][precision][row]
    sequences = 8 if row.startswith("8") else 1
    return sequences * bytes_per_s / step_bytes


def ratios(models: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Return what the issue asks for: name, found, needed."""
    return [*_speeds(models[SHAPE]), *_served(models[SHAPE]["served"]), *_quality(found)]


def _speeds(model: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    values = medians(model)
    for ours, row, figure, other, least in SPEEDS:
        mine, theirs = values.get(ours, {}).get(row), values.get(other, {}).get(row)
        if other == "limit":
            theirs = {figure: limit(model, CLASSES[ours], row)}
        if mine and theirs:
            yield f"{ours}, {figure} {row} / {other}", mine[figure] / theirs[figure], f"at least {least}"


def _served(served: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for precision, found in served.items():
        name = f"ferry {precision}, served"
        extra_s = statistics.median(found["start_s"]) - statistics.median(found["imports_s"])
        room = found["room"]["weights"] + found["room"]["cache"]
        yield f"{name}: second turn, warm / cold", found["second_turn"]["ratio"], f"at most {SECOND_TURN}"
        yield f"{name}: start beyond imports, s", extra_s, f"at most {START_S}"
        yield (
            f"{name}: beyond weights and cache, MB",
            (found["used"]["VmHWM"] - room) / 1e6,
            f"at most {ROOM_BYTES / 1e6:g}",
        )


def _quality(found: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for name, needed in quality.NEEDED.items():
        yield f"int8 against float32: {name}", found[name], needed


def render(report: Mapping[str, Any]) -> str:
    """Return the report for people."""
    lines = [f"{name}: {value}" for name, value in report["machine"].items()]
    for name, model in report["models"].items():
        lines += ["", *_model(name, model), *_serving(model["served"])]
    lines += ["", quality.render(report["quality"])]
    lines += ["", f"{'of the random model':<58}{'found':>8}   needed"]
    lines += [f"{name:<58}{value:>8.2f}   {needed}" for name, value, needed in report["ratios"]]
    lines += [f"left out: {name}: {reason.strip().splitlines()[-1]}" for name, reason in report["left_out"].items()]
    return "\n".join(lines)


def _model(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    values = medians(model)
    rows = list(next(iter(model["bytes"].values())))
    yield f"{name}: tokens a second (share of the memory limit)"
    yield (
        f"{'':<22}{'prefill 128':>12}{'prefill 1,900':>14}"
        + "".join(f"{'decode ' + row:>17}" for row in rows)
        + f"{'peak MB':>9}"
    )
    for precision in model["bytes"]:
        speed = statistics.median(model["turns"]["limit"][precision]["bytes_per_s"]) / 1e9
        cells = "".join(f"{limit(model, precision, row):>10.1f} (1.00)" for row in rows)
        yield f"{'limit ' + precision:<22}{f'{speed:.1f} GB/s':>26}{cells}"
    for engine, found in values.items():
        if engine == "limit":
            continue
        prefill = [found[row]["prefill"] if row in found else 0.0 for row in ("128", "1,900")]
        speeds = [
            (found[row]["decode"], limit(model, CLASSES[engine], row)) if row in found else (0.0, 1.0) for row in rows
        ]
        cells = "".join(f"{speed:>10.1f} ({speed / most:.2f})" for speed, most in speeds)
        peak = max(row["used"]["VmHWM"] for row in found.values()) / 1e6
        yield f"{engine:<22}{prefill[0]:>12.1f}{prefill[1]:>14.1f}{cells}{peak:>9.0f}"


def _serving(served: Mapping[str, Any]) -> Iterator[str]:
    for precision, found in served.items():
        second = found["second_turn"]
        start, imports = (statistics.median(found[name]) for name in ("start_s", "imports_s"))
        memory = ", ".join(f"{name} {found[name]['VmRSS'] / 1e6:.0f} MB" for name in ("loaded", "used"))
        memory += f", peak {found['used']['VmHWM'] / 1e6:.0f} MB"
        yield f"served {precision}: ready after {start:.1f} s, of them imports {imports:.1f} s; resident {memory}"
        yield (
            f"served {precision}: first token after {statistics.median(second['cold_s']):.2f} s cold, "
            f"{statistics.median(second['warm_s']):.2f} s in a second turn "
            f"({second['cached_tokens'][-1]} of {second['prompt_tokens'][-1]} tokens cached)"
        )
