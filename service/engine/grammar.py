"""Answers that keep to a form: a `GrammarSpec` comes in, and a `Grammar` says before each token which ones may follow.

Owns llguidance, which does the work (docs/decisions/0018). A form comes from a stranger: what compiling it may cost is
bounded in schemas.py, what a step may cost by the limits below.
"""

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray
from tokenizers import Tokenizer

from service.engine.errors import RequestError, invalid
from service.engine.schemas import find_excess, move_refs
from service.engine.spelling import Spelling

# Compiled forms that are kept for the next request with the same one.
KEPT = 16
# Measured: a step takes at most some 20 ms with these, and an answer's automaton at most 100 MB.
LIMITS = LLParserLimits(
    max_items_in_row=2_000,
    initial_lexer_fuel=200_000,
    step_lexer_fuel=100_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=100_000,
    precompute_large_lexemes=False,
    verbose_errors=False,
)
# Set in every schema, so that a stranger's schema cannot set them otherwise: what the library cannot do is refused.
OPTIONS = {"whitespace_flexible": True, "coerce_one_of": False, "lenient": False}
# For each byte of a mask the most that its eight scores may be.
_GATES = np.where(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), np.inf, -np.inf)
GATES = _GATES.astype(np.float32)


@dataclass(frozen=True)
class GrammarSpec:
    """What form an answer has to have: any JSON object, or JSON by a schema (its JSON text).

    `before` and `after` are literal texts around it, such as the marks around a tool call.
    """

    kind: Literal["json_object", "json_schema"]
    text: str = ""
    before: str = ""
    after: str = ""

    @classmethod
    def of_tools(cls, tools: Mapping[str, Mapping[str, Any]], before: str = "", after: str = "") -> "GrammarSpec":
        """Describe a call, {"name": …, "arguments": …}, of one of the tools: name -> schema of its arguments."""
        calls = []
        for index, (name, schema) in enumerate(tools.items()):
            arguments = move_refs(schema, f"#/anyOf/{index}/properties/arguments")
            properties = {"name": {"const": name}, "arguments": arguments}
            calls.append(
                {
                    "type": "object",
                    "properties": properties,
                    "required": [*properties],
                    "additionalProperties": False,
                }
            )
        return cls("json_schema", json.dumps({"anyOf": calls}), before, after)


class Grammar:
    """Follows one answer. It is done when nothing but the end may follow."""

    def __init__(self, matcher: LLMatcher, end: int, stop_tokens: Collection[int]) -> None:
        """`end` is the number behind the last token: a model may end by one of several, llguidance knows one."""
        self._matcher = matcher
        self._end = end
        self._stop_tokens = stop_tokens
        self._stops = np.array(sorted(stop_tokens), np.int64)
        self._is_ended = False

    @property
    def is_done(self) -> bool:
        return self._is_ended or self._matcher.is_stopped()

    def mask(self, scores: NDArray[np.float32]) -> None:
        """Set the scores of tokens that must not follow to -inf. Where the answer may end, any stop token ends it.

        Raises: RequestError when the form turns out to be too complex.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._require_health()
        may_end = bool(bits[self._end // 8] >> self._end % 8 & 1)
        ends = scores[self._stops] if may_end else -np.inf
        known = scores[: self._end]
        np.minimum(known, GATES[bits].reshape(-1)[: len(known)], out=known)
        scores[self._end :] = -np.inf
        scores[self._stops] = ends

    def accept(self, token: int) -> None:
        """Take the token that was chosen."""
        if token in self._stop_tokens:
            self._is_ended = True
        else:
            self._matcher.consume_token(token)
            self._require_health()

    def _require_health(self) -> None:
        if self._matcher.is_error():
            raise _refusal(f"the answer cannot be kept to this form any further: {self._matcher.get_error()}")


class Grammars:
    """Compiles forms for one tokenizer, which is read when the first is needed. Safe to use from several threads."""

    def __init__(self, tokenizer: Tokenizer, stop_tokens: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._stop_tokens = frozenset(stop_tokens)
        self._end = tokenizer.get_vocab_size()
        self._compiled: OrderedDict[GrammarSpec, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read the tokenizer now: once, and no other thread runs Python meanwhile (1.7 s for 152,000 tokens)."""
        with self._lock:
            assert self._vocabulary

    def start(self, spec: GrammarSpec) -> Grammar:
        """Begin an answer of this form. Raises: RequestError that names what in it is not possible."""
        with self._lock:
            prototype = self._compiled.pop(spec, None) or self._compile(spec)
            self._compiled[spec] = prototype
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
            # Copied while nobody else copies it, and never used itself: each answer has an automaton of its own.
            return Grammar(prototype.deep_copy(), self._end, self._stop_tokens)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        # By bytes: given the tokenizer itself, the library keeps a second one, 190 MB instead of 65 for 152,000 tokens.
        # The slices, sets of tokens that stand for each other within a text, make the slowest step 60 times faster.
        names = TokenizerWrapper(_Vocabulary(self._tokenizer))
        vocabulary = LLTokenizer(names, slices=LLTokenizer.json_slices())
        names.tokens = names._gtokenizer.tokens = []
        return vocabulary

    def _compile(self, spec: GrammarSpec) -> LLMatcher:
        matcher = LLMatcher(self._vocabulary, _to_lark(spec), log_level=0, limits=LIMITS)
        # Some of what is too complex shows at the first step only: tried here, it is still an answer with status 400.
        trial = matcher.deep_copy()
        if not trial.is_error():
            trial.compute_bitmask()
        if trial.is_error():
            raise _refusal(trial.get_error())
        return matcher


class _Vocabulary:
    """What llguidance asks of a tokenizer. Special tokens spell nothing, and the end is one behind the last token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        spelling = Spelling(tokenizer)
        added = tokenizer.get_added_tokens_decoder()
        self.bos_token_id = None
        self.eos_token_id = tokenizer.get_vocab_size()
        self.tokens = [*map(spelling.spell, range(self.eos_token_id)), b"<end>"]
        self.special_token_ids = [number for number, token in added.items() if token.special] + [self.eos_token_id]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens


def _to_lark(spec: GrammarSpec) -> str:
    """Write a form in llguidance's own language: Lark's, with schemas in it."""
    schema = {"type": "object"} if spec.kind == "json_object" else _read_schema(spec.text)
    before, after = (json.dumps(text, ensure_ascii=False) if text else "" for text in (spec.before, spec.after))
    return f"start: {before} body {after}\nbody: %json {json.dumps({**schema, 'x-guidance': OPTIONS})}\n"


def _read_schema(text: str) -> Mapping[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"the schema is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise _refusal("the schema is not a JSON object")
    if excess := find_excess(text, schema):
        raise _refusal(excess)
    return schema


def _refusal(reason: str) -> RequestError:
    # The library quotes our own text around the schema, and may add a backtrace.
    reason = re.sub(r"^at \d+\(\d+\): failed to compile JSON schema: |\n\s*(1 \||<).*", "", reason, flags=re.DOTALL)
    return invalid(f"response_format: {' '.join(reason.split())[:300]}", "response_format", "unsupported_schema")
