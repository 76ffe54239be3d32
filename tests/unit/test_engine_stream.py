"""The text of an answer with its log probabilities: each piece is made of exactly the tokens that it tells of."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from service.engine.chooser import Choice
from service.engine.spelling import Spelling
from service.engine.text import Cut, Stream

TEXT = "the ferry crosses the strait, naïve café 你好，世界 👩‍👩‍👧‍👦 and back again 🎉 END"


def train() -> Tokenizer:
    """A tokenizer by bytes with some whole words: letters outside ASCII come in parts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    made.train_from_iterator(["the ferry crosses the strait and back again"] * 4, trainer)
    made.add_tokens([AddedToken("<think>")])
    return made


TOKENIZER = train()
SPELL = Spelling(TOKENIZER).spell


def cuts(tokens: Sequence[int], stops: Sequence[str] = (), is_asked: bool = True) -> list[Cut]:
    """Push tokens until the text stops, each with its place as its log probability."""
    stream = Stream(TOKENIZER.decode, stops, SPELL)
    told: list[Cut] = []
    for place, token in enumerate(tokens):
        told.append(stream.push(Choice(token, -float(place)) if is_asked else Choice(token)))
        if told[-1].is_stopped:
            return told
    return [*told, stream.flush()]


def joined(told: Sequence[Cut]) -> str:
    return "".join(cut.text for cut in told)


def places(told: Sequence[Cut]) -> list[float]:
    return [-token.logprob for cut in told for token in cut.logprobs]


def test_each_piece_is_spelled_by_the_tokens_it_tells_of() -> None:
    tokens = TOKENIZER.encode(TEXT).ids
    told = cuts(tokens)
    assert joined(told) == TEXT
    assert places(told) == list(range(len(tokens)))
    for cut in told:
        assert b"".join(token.raw for token in cut.logprobs) == cut.text.encode()


def test_the_bytes_of_one_letter_are_told_together_and_spelled_out() -> None:
    (cut,) = (cut for cut in cuts(TOKENIZER.encode("a🎉").ids) if cut.text == "🎉")
    assert [token.raw for token in cut.logprobs] == [b"\xf0", b"\x9f", b"\x8e", b"\x89"]
    assert [token.text for token in cut.logprobs] == ["\\xf0", "\\x9f", "\\x8e", "\\x89"]


def test_the_likeliest_tokens_are_spelled_too() -> None:
    the, comma = (TOKENIZER.encode(text).ids[0] for text in (" the", ","))
    (token,) = Stream(TOKENIZER.decode, (), SPELL).push(Choice(the, -0.5, ((the, -0.5), (comma, -2.0)))).logprobs
    assert (token.text, token.raw, token.logprob) == (" the", b" the", -0.5)
    assert [(other.text, other.logprob) for other in token.top] == [(" the", -0.5), (",", -2.0)]


def test_where_nobody_asked_text_comes_as_early_as_it_can_and_nothing_else() -> None:
    tokens = TOKENIZER.encode("ferry E").ids
    told = cuts(tokens, ["y EN"], is_asked=False)
    assert joined(told) == "ferry E"
    assert not any(cut.logprobs for cut in told)
    assert cuts(TOKENIZER.encode(" ferry").ids, ["yes"], is_asked=False)[0].text == " ferr"


def test_a_token_that_may_reach_into_a_stop_text_waits_whole() -> None:
    (ferry,) = TOKENIZER.encode(" ferry").ids
    stream = Stream(TOKENIZER.decode, ["yes"], SPELL)
    assert stream.push(Choice(ferry, -1.0)) == Cut("")
    shown = stream.push(Choice(TOKENIZER.encode(",").ids[0], -2.0))
    assert (shown.text, places([shown])) == (" ferry,", [1.0, 2.0])


def test_at_a_stop_text_the_tokens_of_which_something_was_shown_are_told() -> None:
    (ferry,) = TOKENIZER.encode(" ferry").ids
    end = TOKENIZER.encode("END").ids
    told = cuts([ferry, *end], ["yEND"])
    assert (joined(told), places(told), told[-1].is_stopped) == (" ferr", [0.0], True)
    told = cuts([ferry, *end], ["END"])
    assert (joined(told), places(told), told[-1].is_stopped) == (" ferry", [0.0], True)


@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize("size", range(1, 9))
def test_a_stop_text_is_found_wherever_the_tokens_split_it(size: int, is_asked: bool) -> None:
    """Each part of the text in turn is the stop text: none of it is shown, and all before it is."""
    tokens = TOKENIZER.encode(TEXT).ids
    for start in range(len(TEXT) - size):
        stop = TEXT[start : start + size]
        told = cuts(tokens, [stop], is_asked)
        assert told[-1].is_stopped
        assert joined(told) == TEXT[: TEXT.index(stop)]
        spelled = b"".join(token.raw for cut in told for token in cut.logprobs)
        assert not is_asked or spelled.startswith(joined(told).encode())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, TOKENIZER.get_vocab_size() - 1), max_size=30),
    st.lists(st.text("ea t😀é�", min_size=1, max_size=3), max_size=3),
)
def test_any_tokens_give_the_text_before_the_first_stop_and_tell_of_each_token_once(
    tokens: list[int], stops: list[str]
) -> None:
    told = cuts(tokens, stops)
    whole = TOKENIZER.decode(tokens)
    assert places(told) == list(range(len(places(told))))
    if told[-1].is_stopped:
        assert not any(stop in joined(told) for stop in stops)
        assert whole.startswith(joined(told)) or "�" in whole
    else:
        assert joined(told) == whole
        assert len(places(told)) == len(tokens)


def test_what_is_asked_changes_no_text() -> None:
    chance = random.Random(2)
    for _ in range(200):
        tokens = [chance.randrange(1, TOKENIZER.get_vocab_size()) for _ in range(30)]
        asked, unasked = (cuts(tokens, ["e", " t"], is_asked) for is_asked in (True, False))
        assert joined(asked) == joined(unasked)
        assert asked[-1].is_stopped == unasked[-1].is_stopped


def test_every_token_is_spelled_as_its_bytes() -> None:
    assert b"".join(map(SPELL, TOKENIZER.encode(TEXT).ids)) == TEXT.encode()
    assert SPELL(TOKENIZER.token_to_id("<think>")) == b"<think>"
    assert SPELL(TOKENIZER.token_to_id("<|end|>")) == b"<|end|>"
    assert SPELL(10_000) == b""


def test_pieces_of_sentencepiece_are_spelled_with_their_spaces_and_bytes() -> None:
    words = ["▁one", "two▁", "<0xF0>", "<0x9F>"]
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="▁one"))
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    assert [Spelling(made).spell(token) for token in range(4)] == [b" one", b"two ", b"\xf0", b"\x9f"]
