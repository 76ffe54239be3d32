"""Answers that keep to a form, over a tokenizer of single bytes; and what a hostile schema can ask for."""

import json
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from service.engine.chooser import Chooser
from service.engine.errors import RequestError
from service.engine.grammar import KEPT, Grammar, Grammars, GrammarSpec
from service.engine.sampling import Sampling

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken("<|end|>", special=True), AddedToken("<|stop|>", special=True)])
    return made


@pytest.fixture(scope="module")
def ends(tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|stop|>")]


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer, ends: list[int]) -> Grammars:
    return Grammars(tokenizer, ends)


def by(schema: Any) -> GrammarSpec:
    return GrammarSpec("json_schema", json.dumps(schema))


def allowed(grammar: Grammar, size: int = 300) -> set[int]:
    row = np.zeros(size, np.float32)
    grammar.mask(row)
    return set(np.flatnonzero(row == 0).tolist())


def accepts(grammars: Grammars, tokenizer: Tokenizer, spec: GrammarSpec, text: str) -> bool:
    """Whether this whole text may come and the answer may end then."""
    grammar = grammars.start(spec)
    for token in tokenizer.encode(text).ids:
        if token not in allowed(grammar):
            return False
        grammar.accept(token)
    return tokenizer.token_to_id("<|end|>") in allowed(grammar)


@pytest.mark.parametrize(
    ("text", "is_fit"),
    [
        ('{"name": "Ada", "age": 36}', True),
        ('{"name":"é🎉","age":0}', True),
        ('{\n  "name": "Ada",\n  "age": 36\n}', True),
        ('{"name": "Ada"}', False),
        ('{"name": "Ada", "age": -1}', False),
        ('{"name": "Adalbert", "age": 36}', False),
        ('{"name": "Ada", "age": 36, "x": 1}', False),
        ("Sure! {}", False),
        ("", False),
    ],
)
def test_only_what_the_schema_describes_may_come(
    grammars: Grammars, tokenizer: Tokenizer, text: str, is_fit: bool
) -> None:
    assert accepts(grammars, tokenizer, by(PERSON), text) is is_fit


@pytest.mark.parametrize(
    ("text", "is_fit"), [('{"a": [1, {"b": null}]}', True), ("{}", True), ("[1]", False), ("1", False)]
)
def test_json_object_means_any_object_and_nothing_else(
    grammars: Grammars, tokenizer: Tokenizer, text: str, is_fit: bool
) -> None:
    assert accepts(grammars, tokenizer, GrammarSpec("json_object"), text) is is_fit


def test_where_the_answer_may_end_every_stop_token_may_come_and_before_none(
    grammars: Grammars, tokenizer: Tokenizer, ends: list[int]
) -> None:
    grammar = grammars.start(by({"const": 7}))
    assert allowed(grammar) == {tokenizer.token_to_id("7")}
    grammar.accept(tokenizer.token_to_id("7"))
    assert allowed(grammar) == set(ends)
    assert grammar.is_done
    grammar.accept(ends[1])
    assert grammar.is_done


def test_an_answer_is_done_with_its_stop_token_though_it_could_go_on(
    grammars: Grammars, tokenizer: Tokenizer, ends: list[int]
) -> None:
    grammar = grammars.start(by({"type": "integer"}))
    grammar.accept(tokenizer.token_to_id("7"))
    assert not grammar.is_done
    assert allowed(grammar) >= {*ends, tokenizer.token_to_id("1")}
    grammar.accept(ends[1])
    assert grammar.is_done


def test_control_tokens_and_numbers_that_are_no_token_never_come(grammars: Grammars, ends: list[int]) -> None:
    grammar = grammars.start(by({"type": "string"}))
    grammar.accept(next(iter(allowed(grammar))))
    assert max(allowed(grammar, 1_000)) < min(ends)


def test_scores_that_may_stay_are_not_touched(grammars: Grammars) -> None:
    row = np.random.default_rng(1).normal(size=300).astype(np.float32)
    masked = row.copy()
    grammars.start(GrammarSpec("json_object")).mask(masked)
    assert set(masked) <= {*row, np.float32(-np.inf)}
    assert np.array_equal(masked[np.isfinite(masked)], row[np.isfinite(masked)])


def test_answers_of_one_form_do_not_know_of_each_other(grammars: Grammars, tokenizer: Tokenizer) -> None:
    one, other = grammars.start(by(PERSON)), grammars.start(by(PERSON))
    one.accept(tokenizer.token_to_id("{"))
    assert allowed(other) == {tokenizer.token_to_id("{")} != allowed(one)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(1.0, top_k=3, seed=1), Sampling(1.0, top_p=0.5, seed=1)], ids=str
)
def test_a_chooser_takes_what_the_grammar_allows_however_unlikely(
    grammars: Grammars, tokenizer: Tokenizer, sampling: Sampling
) -> None:
    grammar = grammars.start(by({"enum": ["yes", "no"]}))
    chooser = Chooser(sampling, [], grammar)
    unwilling = np.linspace(0, 50, 300, dtype=np.float32)
    tokens = []
    while not grammar.is_done:
        tokens.append(chooser.choose(unwilling.copy()).token)
    assert tokenizer.decode(tokens) in ('"yes"', '"no"')


def test_a_tool_call_stands_between_its_marks_and_keeps_to_the_tools_schema(
    grammars: Grammars, tokenizer: Tokenizer
) -> None:
    place = {"$defs": {"city": {"enum": ["Oslo", "Rome"]}}, "properties": {"city": {"$ref": "#/$defs/city"}}}
    tools = {"weather": {"type": "object", **place, "required": ["city"]}, "time": {"type": "object"}}
    spec = GrammarSpec.of_tools(tools, '<call "x">\n', "\n</call>")

    def is_fit(body: str) -> bool:
        return accepts(grammars, tokenizer, spec, f'<call "x">\n{body}\n</call>')

    assert is_fit('{"name": "weather", "arguments": {"city": "Oslo"}}')
    assert is_fit('{"name": "time", "arguments": {}}')
    assert not is_fit('{"name": "weather", "arguments": {"city": "Ulm"}}')
    assert not is_fit('{"name": "delete", "arguments": {}}')
    assert not accepts(grammars, tokenizer, spec, '{"name": "time", "arguments": {}}')


def refusal(grammars: Grammars, text: str) -> str:
    with pytest.raises(RequestError) as raised:
        grammars.start(GrammarSpec("json_schema", text))
    assert (raised.value.status, raised.value.param) == (400, "response_format")
    assert len(raised.value.message) < 350
    assert "start: " not in raised.value.message
    assert "backtrace" not in raised.value.message
    return raised.value.message


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "objct"}, "objct"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "format": "colour"}, "colour"),
        ({"$ref": "http://elsewhere/schema"}, "http://elsewhere/schema"),
        ({"type": "string", "minLength": 5, "maxLength": 3}, "minLength"),
        ({"oneOf": [{"type": "object"}, {"type": "object"}]}, "oneOf"),
        ({"multipleOf": 0}, "multiple"),
        ([], "not a JSON object"),
        (True, "not a JSON object"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused_by_what_is_in_the_way(
    grammars: Grammars, schema: Any, named: str
) -> None:
    assert named in refusal(grammars, json.dumps(schema))


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a":' * 100_000, "[" * 100_000])
def test_a_schema_that_is_no_json_is_refused(grammars: Grammars, text: str) -> None:
    assert "not JSON" in refusal(grammars, text)


def nested(keyword: str, depth: int) -> str:
    return f'{{"{keyword}":' * depth + "{}" + "}" * depth


# Each of these, where nothing stops it, takes seconds to hours, gigabytes, or ends the process: all were tried.
HOSTILE = {
    "a thousand million items": '{"type":"array","minItems":1000000000}',
    "a thousand million items at most": '{"type":"array","maxItems":1000000000}',
    "many arrays of many items": json.dumps({"prefixItems": [{"type": "array", "minItems": 5_000}] * 200}),
    "a large prime": '{"type":"integer","multipleOf":99999989}',
    "a large negative prime": '{"type":"integer","multipleOf":-99999989}',
    "primes together": json.dumps({"allOf": [{"multipleOf": prime} for prime in (97, 101, 103)]}),
    "a prime in many places": json.dumps({"properties": {f"p{i}": {"multipleOf": 9973} for i in range(50)}}),
    "a negative prime in many places": json.dumps({"properties": {f"p{i}": {"multipleOf": -9973} for i in range(50)}}),
    "true where a number belongs": '{"multipleOf":true}',
    "a prime behind the point": '{"multipleOf":0.0099999989}',
    "no number at all": '{"multipleOf":1e999}',
    "very small": '{"multipleOf":1e-300}',
    "a text that slows every step": json.dumps({"enum": ["x" * 30_000]}),
    "a long text": json.dumps({"const": "x" * 100_000}),
    "many names": json.dumps({"properties": {f"p{i}": {} for i in range(2_000)}}),
    "many required names": json.dumps({"required": [f"p{i}" for i in range(3_000)]}),
    "many values": json.dumps({"enum": list(range(100_000))}),
    "deep": nested("items", 500),
    "a reference to itself": '{"$ref":"#"}',
    "two to the eighteenth combinations": json.dumps(
        {"allOf": [{"anyOf": [{"properties": {f"{side}{i}": {}}} for side in "ab"]} for i in range(18)]}
    ),
    "patterns that all hold": json.dumps(
        {"allOf": [{"type": "string", "pattern": f".*{c}.{{20}}.*"} for c in "abcdefghij"]}
    ),
    "brackets in brackets": json.dumps({"type": "string", "pattern": "(" * 5_000 + "a" + ")" * 5_000}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_schema_is_refused(grammars: Grammars, text: str) -> None:
    refusal(grammars, text)


@pytest.mark.parametrize(
    "pattern", ["^(a|b)*a(a|b){200}$", "((x{1000}){1000}){1000}", ".*a.{50}b.{50}c.*", "^(\\p{L}{1,50}){1,50}$"]
)
def test_a_hostile_pattern_ends_within_its_limits_or_goes_on(grammars: Grammars, pattern: str) -> None:
    """Its automaton is built while the answer is: bounded in states, beyond which the request fails."""
    grammar = grammars.start(by({"type": "string", "pattern": pattern}))
    chooser = Chooser(Sampling(1.0, seed=1), [], grammar)
    try:
        for _ in range(60):
            chooser.choose(np.zeros(300, np.float32))
    except RequestError as error:
        assert "cannot be kept to this form any further" in error.message


def test_numbers_that_stand_where_a_schema_has_them_for_people_are_fine(grammars: Grammars) -> None:
    fit = {
        "properties": {
            "price": {"type": "number", "multipleOf": 0.01},
            "dozens": {"type": "integer", "multipleOf": 12},
            "maxItems": {"type": "array", "maxItems": 100},
            "multipleOf": {"type": "string", "minLength": 1_000},
        }
    }
    grammars.start(by(fit))


def test_a_schema_cannot_change_how_it_is_read(grammars: Grammars, tokenizer: Tokenizer) -> None:
    lenient = {"type": "object", "not": {}, "x-guidance": {"lenient": True}}
    assert "not" in refusal(grammars, json.dumps(lenient))
    other = {"type": "array", "items": {"type": "integer"}, "x-guidance": {"item_separator": ";"}}
    assert accepts(grammars, tokenizer, by(other), "[1,2]")


def test_a_few_compiled_forms_are_kept_and_not_more(tokenizer: Tokenizer, ends: list[int]) -> None:
    grammars = Grammars(tokenizer, ends)
    for number in range(3 * KEPT):
        grammars.start(by({"const": number}))
    assert len(grammars._compiled) == KEPT


def test_a_form_of_an_answer_without_stop_tokens_is_done_when_it_is_whole(tokenizer: Tokenizer) -> None:
    grammar = Grammars(tokenizer, []).start(by({"const": 7}))
    grammar.accept(tokenizer.token_to_id("7"))
    assert grammar.is_done
