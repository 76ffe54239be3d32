"""What every engine is given to do, and how that is timed: the same tokens, lengths and threads for all.

Standard library only: it is also run by the interpreters of other engines' environments.
"""

import json
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

# Above the special tokens, and in every vocabulary.
LOWEST, HIGHEST = 100, 30_000
WARM_UP_TOKENS = 3


@dataclass(frozen=True)
class Workload:
    """Fill `sequences` sequences with `context` tokens each, then decode `tokens` more for each of them."""

    model: str
    precision: str
    threads: int
    context: int
    tokens: int
    sequences: int = 1
    vocabulary: int = HIGHEST

    def prompts(self) -> list[list[int]]:
        """Return the same random tokens for whoever asks."""
        return self._random(self.sequences, self.context)

    def answers(self) -> list[list[int]]:
        """Return what is decoded, one token for each sequence a step: chosen beforehand, so that all do the same."""
        return self._random(self.tokens, self.sequences)

    def _random(self, rows: int, columns: int) -> list[list[int]]:
        chosen, highest = random.Random(0), min(HIGHEST, self.vocabulary)
        return [[chosen.randrange(LOWEST, highest) for _ in range(columns)] for _ in range(rows)]

    def words(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_arguments(cls) -> "Workload":
        """Read what `words` made from the command line."""
        return cls(**json.loads(sys.argv[1]))


class Session(Protocol):
    """An engine that takes tokens as they are told. Scores are computed after a prompt and after each step."""

    def prefill(self, sequence: int, tokens: list[int]) -> None:
        """Append a prompt to an empty sequence."""

    def decode(self, tokens: list[int]) -> None:
        """Append one token to each sequence."""

    def forget(self) -> None:
        """Empty all sequences."""


def drive(workload: Workload, session: Session) -> dict[str, Any]:
    """Time one workload; what the first steps of a process cost beyond the others is not counted."""
    prompts, answers = workload.prompts(), workload.answers()
    for sequence, prompt in enumerate(prompts):
        session.prefill(sequence, prompt[:WARM_UP_TOKENS] if sequence else prompt[:128])
    for tokens in answers[:WARM_UP_TOKENS]:
        session.decode(tokens)
    session.forget()
    began = time.perf_counter()
    for sequence, prompt in enumerate(prompts):
        session.prefill(sequence, prompt)
    middle = time.perf_counter()
    for tokens in answers:
        session.decode(tokens)
    return speeds(workload, middle - began, time.perf_counter() - middle)


def speeds(workload: Workload, prefill_s: float, decode_s: float) -> dict[str, Any]:
    """Return tokens a second, of all sequences together."""
    return {
        "prefill": workload.sequences * workload.context / prefill_s,
        "decode": workload.sequences * workload.tokens / decode_s,
    }


def report(version: str, load: Callable[[], Callable[[], dict[str, Any]]]) -> None:
    """Load an engine, run it, and print what it took: speeds, seconds to load, memory before and after."""
    began = time.perf_counter()
    run = load()
    found: dict[str, Any] = {"version": version, "load_s": time.perf_counter() - began, "loaded": memory()}
    found |= run()
    print(json.dumps(found | {"used": memory()}))


def memory(process: int | str = "self") -> dict[str, int]:
    """Return a process's resident bytes: now, of them its own (not file pages), and the most there ever were.

    Source: VmRSS, RssAnon and VmHWM in proc(5).
    """
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    names = ("VmRSS", "RssAnon", "VmHWM")
    found = dict(re.findall(rf"^({'|'.join(names)}):\s+(\d+) kB$", text, re.MULTILINE))
    return {name: int(found[name]) * 1024 for name in names}
