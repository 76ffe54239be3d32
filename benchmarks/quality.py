"""What int8 does to a real model's answers, through the engine's own decoder: float32 beside int8 on the same text.

In each step the decoder gives its scores after one more token; compared are the distributions (Kullback-Leibler
divergence to float32), the likeliest token, and the perplexity of the text itself.
"""

import json
import math
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks import engine_models
from benchmarks.clock import machine, record
from benchmarks.engines import child

ROOT = Path(__file__).resolve().parent.parent
TOKENS, THREADS, CONTEXT_TOKENS = 1000, 2, 2048
NEEDED = {"kl": "at most 0.01", "same_greedy": "at least 0.95"}


def main() -> None:
    """Measure, print a table, and record it."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    report["quality"] = measure(engine_models.folder(engine_models.REAL), THREADS)
    record(report, "quality")
    print(render(report["quality"]))


def measure(folder: Path, threads: int) -> dict[str, Any]:
    """Let one process a precision write all scores down, and compare them."""
    with tempfile.TemporaryDirectory() as home:
        files = {precision: Path(home, f"{precision}.npy") for precision in ("float32", "int8")}
        for precision, file in files.items():
            options = {"folder": str(folder), "precision": precision, "threads": threads, "tokens": TOKENS}
            child([sys.executable, "-m", "benchmarks.quality", json.dumps(options), str(file)])
        scores = {precision: np.load(file) for precision, file in files.items()}
    return compare(scores["float32"], scores["int8"], text_tokens(folder, TOKENS))


def compare(exact: NDArray[np.float32], other: NDArray[np.float32], tokens: list[int]) -> dict[str, Any]:
    """Return how far the other's scores are from the exact ones. Shapes: [tokens - 1, vocabulary] for both."""
    mine, theirs = _log_softmax(exact), _log_softmax(other)
    chosen = np.arange(len(tokens) - 1), np.array(tokens[1:])
    return {
        "tokens": len(tokens),
        "kl": float((np.exp(mine) * (mine - theirs)).sum(-1).mean()),
        "same_greedy": float((mine.argmax(-1) == theirs.argmax(-1)).mean()),
        "perplexity float32": math.exp(-mine[chosen].mean()),
        "perplexity int8": math.exp(-theirs[chosen].mean()),
    }


def _log_softmax(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = scores.astype(np.float64) - scores.max(-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def text_tokens(folder: Path, count: int) -> list[int]:
    """Return the first tokens of a text that any model has seen the like of: this repository's licence."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    ids: list[int] = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    return ids[:count]


def write_scores(options: dict[str, Any], file: Path) -> None:
    """Decode the text token by token, as an answer is decoded, and keep the scores after each but the last."""
    from benchmarks import own_decoder
    from service.engine.decoding import Feed

    folder = Path(options["folder"])
    decoder = own_decoder.load(folder, options["precision"], options["threads"], CONTEXT_TOKENS, 1)
    (pages,) = own_decoder.pages(decoder, 1)
    tokens = text_tokens(folder, options["tokens"])
    rows = [decoder.step([Feed(pages, place, [token], True)])[0].copy() for place, token in enumerate(tokens[:-1])]
    np.save(file, np.stack(rows))


def render(found: dict[str, Any]) -> str:
    """Return the comparison for people."""
    lines = [f"{'int8 against float32, ' + str(found['tokens']) + ' tokens':<46}{'found':>10}   needed"]
    return "\n".join(
        [*lines, *(f"{name:<46}{value:>10.4f}   {NEEDED.get(name, '-')}" for name, value in found.items())]
    )


if __name__ == "__main__":
    write_scores(json.loads(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"bytes": Path(sys.argv[2]).stat().st_size}))
