"""Counters come in, Prometheus' text format goes out, under the names vLLM gives them so that its dashboards fit."""

from service.engine.worker import Counters


def render(model: str, running: int, waiting: int, counters: Counters) -> str:
    """Write the lines of /metrics."""
    label = f'{{model_name="{_escape(model)}"}}'
    rows = [
        ("num_requests_running", "gauge", "Requests being decoded.", running),
        ("num_requests_waiting", "gauge", "Requests in the queue.", waiting),
        ("prompt_tokens_total", "counter", "Tokens read.", counters.prompt_tokens),
        ("generation_tokens_total", "counter", "Tokens written.", counters.generation_tokens),
        ("request_success_total", "counter", "Answers that ended by themselves.", counters.finished),
        ("request_cancelled_total", "counter", "Answers that nobody waited for.", counters.cancelled),
        ("request_failure_total", "counter", "Answers that failed.", counters.failed),
    ]
    return "".join(
        f"# HELP vllm:{name} {text}\n# TYPE vllm:{name} {kind}\nvllm:{name}{label} {value}\n"
        for name, kind, text, value in rows
    )


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
