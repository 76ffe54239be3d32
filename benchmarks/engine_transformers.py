"""`python -m benchmarks.engine_transformers WORKLOAD`: transformers' own generate, eager; JSON comes out."""

import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

from benchmarks.workload import WARM_UP_TOKENS, Workload, report, speeds


def load(workload: Workload) -> Callable[[], dict[str, Any]]:
    """Load the weights as float32, and give what runs them."""
    torch.set_num_threads(workload.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        workload.model, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    ).eval()
    return lambda: measure(workload, model)


def measure(workload: Workload, model: Any) -> dict[str, Any]:
    """Let it choose greedily: its own choice is part of what its users wait for."""
    prompts = torch.tensor(workload.prompts())
    generate(model, prompts[:, :128], WARM_UP_TOKENS)
    began = time.perf_counter()
    ends = generate(model, prompts, workload.tokens + 1)
    return speeds(workload, ends[0] - began, ends[-1] - ends[0])


def generate(model: Any, prompts: torch.Tensor, tokens: int) -> list[float]:
    """Return when each token stood: the first after the prompt, each other after a step."""
    ends: list[float] = []

    def note(ids: torch.Tensor, _: torch.Tensor, **__: Any) -> torch.Tensor:
        ends.append(time.perf_counter())
        return torch.zeros(ids.shape[0], dtype=torch.bool)

    criteria = transformers.StoppingCriteriaList([note])
    model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        pad_token_id=0,
        stopping_criteria=criteria,
    )
    return ends


if __name__ == "__main__":
    given = Workload.from_arguments()
    report(f"transformers {transformers.__version__}, torch {torch.__version__}", lambda: load(given))
