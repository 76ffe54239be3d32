"""How tokens are chosen: a request's options and the model makers' defaults come in, a frozen `Sampling` goes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.engine.protocol import Options


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; temperature 0 always takes the most likely one.

    `logit_bias` holds (token, bias) pairs. Without `top_logprobs` nobody asked how likely the tokens were; with it,
    that many of the likeliest are told beside each chosen one.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    top_logprobs: int | None = None

    @classmethod
    def of(cls, options: Options, defaults: Mapping[str, Any]) -> "Sampling":
        """Fill in what a request leaves open from the content of generation_config.json."""
        # transformers' rule: without do_sample a model's makers meant the most likely token.
        temperature = (defaults.get("temperature") or 1.0) if defaults.get("do_sample") else 0.0
        return cls(
            temperature=_first(options.temperature, temperature),
            top_p=_first(options.top_p, defaults.get("top_p"), 1.0),
            top_k=max(0, _first(options.top_k, defaults.get("top_k"), 0)),
            min_p=_first(options.min_p, defaults.get("min_p"), 0.0),
            repetition_penalty=_first(options.repetition_penalty, defaults.get("repetition_penalty"), 1.0),
            presence_penalty=_first(options.presence_penalty, 0.0),
            frequency_penalty=_first(options.frequency_penalty, 0.0),
            logit_bias=tuple(sorted(options.logit_bias.items())),
            seed=options.seed,
            top_logprobs=options.top_logprobs,
        )


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
