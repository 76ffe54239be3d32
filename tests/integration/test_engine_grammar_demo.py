"""Answers that keep to a form, with the demo model's real tokenizer and random scores as the model."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer

from bundle.demo_model import demo_folder
from service.engine.chooser import Chooser
from service.engine.grammar import Grammars, GrammarSpec
from service.engine.sampling import Sampling

BOOK = {
    "$defs": {"tag": {"enum": ["new", "old 📚", 'with "quotes"']}},
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 12},
        "year": {"type": "integer", "minimum": 1450, "maximum": 2100},
        "price": {"type": "number", "minimum": 0, "maximum": 99.5},
        "isbn": {"type": "string", "pattern": "^[0-9]{3}-[0-9]{4}$"},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 3},
        "author": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"name": {"const": "Ada"}}}]},
    },
    "required": ["title", "year", "tags", "isbn"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"leaf": {"type": "boolean"}, "down": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["leaf"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
# A random model would put white space between two tokens for ever, and more and more into an object that is open.
LONGED_FOR = {'"': 80.0, "<|im_end|>": 60.0, "}": 60.0, "]": 60.0, ",": 30.0, ":": 30.0}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(Path(demo_folder()) / "tokenizer.json"))


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer, [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")])


def answer(grammars: Grammars, tokenizer: Tokenizer, spec: GrammarSpec, seed: int) -> str:
    """Let random scores answer; after a while they long for the end."""
    size = tokenizer.get_vocab_size() + 64
    grammar = grammars.start(spec)
    chooser = Chooser(Sampling(1.0, seed=seed), [], grammar)
    random = np.random.default_rng(seed)
    longed_for = {tokenizer.token_to_id(text): value for text, value in LONGED_FOR.items()}
    tokens: list[int] = []
    while not grammar.is_done:
        scores = 3 * random.standard_normal(size, np.float32)
        if len(tokens) > 25:
            scores[list(longed_for)] += list(longed_for.values())
        tokens.append(chooser.choose(scores).token)
        assert len(tokens) < 3_000
    return str(tokenizer.decode(tokens))


@pytest.mark.parametrize("schema", [BOOK, TREE], ids=["book", "tree"])
def test_whatever_the_model_every_answer_is_valid_by_its_schema(
    grammars: Grammars, tokenizer: Tokenizer, schema: Any
) -> None:
    texts = [answer(grammars, tokenizer, GrammarSpec("json_schema", json.dumps(schema)), seed) for seed in range(25)]
    for text in texts:
        jsonschema.validate(json.loads(text), schema, format_checker=jsonschema.FormatChecker())
    assert len(set(texts)) > 20


def test_whatever_the_model_every_answer_is_a_json_object(grammars: Grammars, tokenizer: Tokenizer) -> None:
    for seed in range(15):
        assert isinstance(json.loads(answer(grammars, tokenizer, GrammarSpec("json_object"), seed)), dict)


def test_the_same_seed_gives_the_same_answer(grammars: Grammars, tokenizer: Tokenizer) -> None:
    spec = GrammarSpec("json_schema", json.dumps(BOOK))
    alone = answer(
        Grammars(tokenizer, [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]),
        tokenizer,
        spec,
        7,
    )
    assert answer(grammars, tokenizer, spec, 7) == alone
