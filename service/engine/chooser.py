"""From the model's scores to the next token: scores and a `Sampling` come in, a `Choice` goes out.

The order of the steps and their formulas are those of transformers' logits processors and warpers, so that greedy
decoding gives the very tokens of `generate`. Between two tokens that are equally likely, the lower one is chosen.
A choice depends on the scores, the seed and the answer's own tokens alone.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.engine.grammar import Grammar
from service.engine.sampling import Sampling

Scores = NDArray[np.float32]
Tokens = NDArray[np.int64]

# Below it a temperature is meant as 0; dividing by less would leave float32's range.
COLDEST = 1e-5
# The sum of so many neighbours stands for them while a draw looks for its place.
BLOCK = 512
# A vocabulary is looked at in so many rows of its own length: the maximum of each column costs a pass at full width.
ROWS = 128
# As many weights are sorted at once, and as many show where their middle is.
MOST_SORTED = 1_024
SAMPLE = 64


@dataclass(frozen=True)
class Choice:
    """A chosen token; where asked for, its log probability and the likeliest tokens with theirs, best first.

    Log probabilities are the log-softmax of the model's raw scores, as OpenAI's: before any bias, penalty, grammar or
    temperature.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Chooser:
    """Chooses the tokens of one answer and remembers them."""

    def __init__(
        self, sampling: Sampling, prompt: Sequence[int], grammar: Grammar | None = None, index: int = 0
    ) -> None:
        """`index` tells the choices of one request apart: each draws numbers of its own from the seed."""
        self._sampling = sampling
        self._grammar = grammar
        self._seen: Tokens = np.unique(np.asarray(prompt, np.int64))
        self._chosen: Counter[int] = Counter()
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed % 2**64
        # Raw bits only: numpy promises that they stay the same, and of its distributions it does not.
        self._bits = np.random.Philox(key=np.array([seed, index], np.uint64))

    def choose(self, scores: Scores) -> Choice:
        """Choose the next token. scores: [vocabulary]; they are written to.

        Raises: ValueError when the scores are no numbers, RequestError when the grammar cannot go on.
        """
        told = self._sampling.top_logprobs
        raw = None if told is None else scores.copy()
        self._process(scores)
        token = self._pick(scores)
        self._remember(token)
        return Choice(token) if raw is None else _tell(raw, token, told or 0)

    def _process(self, scores: Scores) -> None:
        sampling = self._sampling
        if sampling.logit_bias:
            _add_bias(scores, sampling.logit_bias)
        if sampling.repetition_penalty != 1.0:
            _penalise_repetition(scores, self._seen, sampling.repetition_penalty)
        if sampling.presence_penalty or sampling.frequency_penalty:
            _penalise_presence(scores, self._chosen, sampling)
        if self._grammar:
            self._grammar.mask(scores)

    def _pick(self, scores: Scores) -> int:
        if self._sampling.temperature < COLDEST:
            token = int(scores.argmax())
            _require_finite(scores[token])
            return token
        tokens, weights = distribution(scores, self._sampling)
        return int(tokens[_place(weights, self._uniform())])

    def _uniform(self) -> float:
        """Draw from [0, 1): the 53 highest of 64 random bits, as many as a double holds."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def _remember(self, token: int) -> None:
        if self._sampling.repetition_penalty != 1.0 and token not in self._chosen:
            self._seen = np.append(self._seen, token)
        self._chosen[token] += 1
        if self._grammar:
            self._grammar.accept(token)


def distribution(scores: Scores, sampling: Sampling) -> tuple[Tokens, Scores]:
    """Return the tokens that may come, and weights as likely as they are; their sum is not 1.

    transformers' TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper and MinPLogitsWarper, in its order.
    """
    highest = scores.max()
    _require_finite(highest)
    tokens = _every(len(scores))
    if 0 < sampling.top_k < len(scores):
        tokens = _likeliest(scores, sampling.top_k)
        scores = scores[tokens]
    # The likeliest weighs 1: whatever the temperature, nothing overflows.
    weights = np.exp((scores - highest) / np.float32(sampling.temperature))
    if sampling.top_p < 1:
        kept = _nucleus(weights, sampling.top_p)
        tokens, weights = tokens[kept], weights[kept]
    if sampling.min_p > 0:
        kept = np.flatnonzero(weights >= min(sampling.min_p, 1.0))
        tokens, weights = tokens[kept], weights[kept]
    return tokens, weights


def _add_bias(scores: Scores, bias: Iterable[tuple[int, float]]) -> None:
    """OpenAI's logit_bias, at the place of transformers' SequenceBiasLogitsProcessor; unknown tokens change nothing."""
    for token, value in bias:
        if 0 <= token < len(scores):
            scores[token] += value


def _penalise_repetition(scores: Scores, seen: Tokens, penalty: float) -> None:
    """Keskar et al. 2019 (CTRL), section 4.1, as in transformers' RepetitionPenaltyLogitsProcessor."""
    values = scores[seen]
    scores[seen] = np.where(values < 0, values * np.float32(penalty), values / np.float32(penalty))


def _penalise_presence(scores: Scores, chosen: Counter[int], sampling: Sampling) -> None:
    """OpenAI's presence and frequency penalties, of the answer's tokens without the prompt's, as vLLM counts them."""
    tokens = np.fromiter(chosen.keys(), np.int64, len(chosen))
    counts = np.fromiter(chosen.values(), np.float32, len(chosen))
    scores[tokens] -= np.float32(sampling.frequency_penalty) * counts + np.float32(sampling.presence_penalty)


def _likeliest(scores: Scores, count: int) -> Tokens:
    """Return the `count` tokens of the highest scores, and those that tie with the last, in the order of their numbers.

    The vocabulary is not sorted: `count` columns hold a score of at least `bound` each, so the tokens wanted do too.
    """
    columns = len(scores) // ROWS
    if count > columns:
        near = _every(len(scores))
    else:
        peaks = scores[: columns * ROWS].reshape(ROWS, columns).max(axis=0)
        near = np.flatnonzero(scores >= np.partition(peaks, -count)[-count])
    values = scores[near]
    likeliest: Tokens = near[np.flatnonzero(values >= np.partition(values, -count)[-count])]
    return likeliest


def _nucleus(weights: Scores, top_p: float) -> Tokens:
    """Return the places of the fewest weights that reach `top_p` of the sum, in order (Holtzman et al. 2020).

    The vocabulary is not sorted: its sum says when those above a bound are enough, and only they are looked at.
    """
    total = float(_block_sums(weights).sum(dtype=np.float64))
    wanted, bound = top_p * total, 1e-3 * total
    # What weighs less than this does not make up 1 - top_p all together.
    enough = (1 - top_p) * total / len(weights)
    while True:
        near = np.flatnonzero(weights >= bound)
        values = weights[near]
        if bound <= enough or values.sum(dtype=np.float64) >= wanted:
            break
        bound = max(bound / 32, enough)
    last = near[_find_last(values, wanted)]
    is_kept = (values > weights[last]) | ((values == weights[last]) & (near <= last))
    kept: Tokens = near[np.flatnonzero(is_kept)]
    return kept


def _find_last(weights: Scores, wanted: float) -> int:
    """Return the place of the weight with which the heaviest, in their order, reach the sum `wanted`."""
    places = np.arange(len(weights))
    # Halves that lie above or below it for certain go unsorted: a flat distribution has 100,000 candidates. (Numbers
    # of places are taken: numpy is six times slower with a mask of them.)
    while len(places) > MOST_SORTED:
        values = weights[places]
        middle = np.median(values[:: len(values) // SAMPLE])
        heavy = np.flatnonzero(values > middle)
        sum_of_heavy = float(values[heavy].sum(dtype=np.float64))
        if sum_of_heavy >= wanted:
            places = places[heavy]
        elif len(heavy):
            places, wanted = places[np.flatnonzero(values <= middle)], wanted - sum_of_heavy
        else:
            break
    ordered = places[np.argsort(-weights[places], kind="stable")]
    sums = np.cumsum(weights[ordered], dtype=np.float64)
    return int(ordered[min(int(np.searchsorted(sums, wanted)), len(ordered) - 1)])


def _place(weights: Scores, uniform: float) -> int:
    """Invert the cumulative distribution: return the place that `uniform`, in [0, 1), falls on."""
    ends = np.cumsum(_block_sums(weights), dtype=np.float64)
    target = uniform * ends[-1]
    block = _first_beyond(ends, target)
    start = block * BLOCK
    inner = np.cumsum(weights[start : start + BLOCK], dtype=np.float64)
    return start + _first_beyond(inner, target - (ends[block - 1] if block else 0.0))


def _first_beyond(sums: NDArray[np.float64], target: float) -> int:
    # Sums that are taken in another order differ in their last digits: a place of no weight is never the answer.
    return min(int(np.searchsorted(sums, target, side="right")), int(np.searchsorted(sums, sums[-1])))


def _block_sums(weights: Scores) -> Scores:
    sums: Scores = np.add.reduceat(weights, np.arange(0, len(weights), BLOCK))
    return sums


def _tell(raw: Scores, token: int, count: int) -> Choice:
    highest = raw.max()
    scale = float(highest) + float(np.log(np.exp(raw - highest).sum(dtype=np.float64)))
    top: tuple[tuple[int, float], ...] = ()
    if count:
        near = _likeliest(raw, min(count, len(raw)))
        best = near[np.argsort(-raw[near], kind="stable")][:count]
        top = tuple((int(number), float(raw[number]) - scale) for number in best)
    return Choice(token, float(raw[token]) - scale, top)


def _require_finite(highest: np.float32) -> None:
    if not np.isfinite(highest):
        raise ValueError(f"the highest of the model's scores is {highest}: there is nothing to choose from")


@lru_cache(maxsize=2)
def _every(size: int) -> Tokens:
    tokens = np.arange(size)
    tokens.flags.writeable = False
    return tokens
