"""Pieces of text: whole characters only, and never any part of a stop text."""

import random
from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from service.engine.text import Detokenizer, StopFilter

TEXTS = ["plain words", "naïve café", "你好，世界", "👩‍👩‍👧‍👦 family", "tail 🎉", "a�b is a real one", "�", "𝔘𝔫𝔦"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One token for each byte, so that every character outside ASCII comes in parts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


def pieces(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    text = Detokenizer(tokenizer.decode)
    return [*(text.push(token) for token in tokens), text.flush()]


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text_and_hold_only_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    found = pieces(tokenizer, tokenizer.encode(text).ids)
    assert "".join(found) == text
    assert "".join(found).count("�") == text.count("�")


def test_ascii_is_shown_at_once(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, tokenizer.encode("abc").ids) == ["a", "b", "c", ""]


def test_a_character_is_shown_with_its_last_byte(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, tokenizer.encode("é🎉").ids) == ["", "é", "", "", "", "🎉", ""]


def test_bytes_that_never_become_a_character_are_shown_at_the_end(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("ok🎉").ids[:-1]
    assert pieces(tokenizer, tokens) == ["o", "k", "", "", "", "�"]


def test_of_an_answer_that_is_cut_off_within_a_character_nothing_broken_is_shown(tokenizer: Tokenizer) -> None:
    for kept in range(3, 6):
        text = Detokenizer(tokenizer.decode)
        shown = "".join(text.push(token) for token in tokenizer.encode("ok🎉").ids[:kept])
        assert shown + text.flush(is_cut=True) == "ok"


def test_any_bytes_join_to_what_they_decode_to_as_a_whole(tokenizer: Tokenizer) -> None:
    chance = random.Random(1)
    for _ in range(200):
        tokens = [chance.randrange(256) for _ in range(chance.randrange(40))]
        assert "".join(pieces(tokenizer, tokens)) == tokenizer.decode(tokens)


def test_a_tokenizer_that_spells_its_first_token_without_a_space_keeps_the_spaces() -> None:
    words = ["▁one", "▁two", "▁three"]
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="▁one"))
    made.decoder = decoders.Metaspace()
    assert "".join(pieces(made, [0, 1, 2, 0])) == "one two three one"


def filtered(stops: list[str], parts: list[str]) -> tuple[list[str], bool]:
    stop_filter, shown = StopFilter(stops), []
    for part in parts:
        cut = stop_filter.push(part)
        shown.append(cut.text)
        if cut.is_stopped:
            return shown, True
    return [*shown, stop_filter.flush()], False


def test_a_stop_text_split_over_pieces_is_never_shown() -> None:
    assert filtered(["END"], ["one E", "N", "D two"]) == (["one ", "", ""], True)


def test_what_only_began_like_a_stop_text_is_shown_after_all() -> None:
    assert filtered(["END"], ["one E", "N", "d"]) == (["one ", "", "ENd", ""], False)
    assert filtered(["END"], ["one EN"]) == (["one ", "EN"], False)


def test_the_earliest_of_several_stop_texts_wins() -> None:
    assert filtered(["cd", "b"], ["abcd"]) == (["a"], True)


def test_any_split_gives_the_text_before_the_stop() -> None:
    text, stop = "aabaabaaab and more", "aabaaa"
    for first in range(len(text)):
        for second in range(first, len(text)):
            shown, is_stopped = filtered([stop], [text[:first], text[first:second], text[second:]])
            assert ("".join(shown), is_stopped) == ("aab", True)


def test_without_stop_texts_everything_passes() -> None:
    assert filtered([], ["a", "b"]) == (["a", "b", ""], False)
