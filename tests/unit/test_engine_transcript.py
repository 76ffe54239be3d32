"""What a client reads of a choice: text, log probabilities with the text they belong to, and the reason of the end."""

from collections.abc import Sequence

import pytest
from tokenizers import Tokenizer, decoders, models

from service.engine.chooser import Choice
from service.engine.jobs import Ended, Event, Piece, Work
from service.engine.sampling import Sampling
from service.engine.spelling import Spelling
from service.engine.transcript import Transcript

SPELLING = {1: b"Hey", 2: b"lo", 3: b" wor", 4: b"ld", 5: "é".encode()[:1], 6: "é".encode()[1:], 7: b""}
STOP = 9


def told(
    tokens: Sequence[int], stops: tuple[str, ...] = (), max_tokens: int = 99, logprobs: bool = True
) -> list[Event]:
    events: list[Event] = []

    def decode(some: Sequence[int]) -> str:
        return b"".join(SPELLING[token] for token in some).decode("utf-8", "replace")

    work = Work((1,), Sampling(), max_tokens, stops)
    transcript = Transcript(work, 3, events.append, decode, lambda token: SPELLING[token], {STOP})
    is_whole = [transcript.push(Choice(token, -float(token) if logprobs else None, ((2, -0.5),))) for token in tokens]
    assert is_whole == [False] * (len(tokens) - 1) + [True]
    return events


def pieces(events: list[Event]) -> list[tuple[str, list[bytes]]]:
    return [(event.text, [one.raw for one in event.logprobs]) for event in events if isinstance(event, Piece)]


def test_each_piece_carries_its_tokens() -> None:
    events = told([1, 2, STOP])
    assert pieces(events) == [("Hey", [b"Hey"]), ("lo", [b"lo"])]
    assert events[-1] == Ended(3, "stop")
    first = events[0]
    assert isinstance(first, Piece) and first.index == 3
    assert (first.logprobs[0].text, first.logprobs[0].logprob) == ("Hey", -1.0)
    assert [(top.text, top.logprob) for top in first.logprobs[0].top] == [("lo", -0.5)]


def test_a_character_of_two_tokens_comes_with_both() -> None:
    assert pieces(told([1, 5, 6, STOP])) == [("Hey", [b"Hey"]), ("é", [b"\xc3", b"\xa9"])]


def test_tokens_without_text_are_told_too() -> None:
    assert pieces(told([1, 7, STOP])) == [("Hey", [b"Hey"]), ("", [b""])]


def test_what_may_become_a_stop_text_waits_with_its_tokens() -> None:
    assert pieces(told([1, 2, 3, STOP], ("lo there",))) == [("Hey", [b"Hey"]), ("lo wor", [b"lo", b" wor"])]


def test_a_stop_text_takes_its_tokens_along() -> None:
    events = told([1, 2, 3], ("lo w",))
    assert pieces(events) == [("Hey", [b"Hey"])]
    assert events[-1] == Ended(3, "stop")


def test_the_last_allowed_token_is_shown_and_its_held_text_too() -> None:
    events = told([1, 2], ("lo there",), max_tokens=2)
    assert pieces(events) == [("Hey", [b"Hey"]), ("lo", [b"lo"])]
    assert events[-1] == Ended(3, "length")


def test_nothing_is_said_of_tokens_that_nobody_asked_about() -> None:
    assert pieces(told([1, 2, STOP], logprobs=False)) == [("Hey", []), ("lo", [])]


@pytest.mark.parametrize(
    ("decoder", "names", "expected"),
    [
        (decoders.ByteLevel(), ["Ġwor", "Ã", "<|end|>"], [b" wor", b"\xc3", b"<|end|>"]),
        (
            decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()]),
            ["▁wor", "<0xC3>", "<|end|>"],
            [b" wor", b"\xc3", b"<|end|>"],
        ),
    ],
    ids=["byte level", "byte fallback"],
)
def test_tokens_are_spelt_in_bytes_even_where_they_are_part_of_a_character(
    decoder: decoders.Decoder, names: list[str], expected: list[bytes]
) -> None:
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names[:2])}, []))
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(names[2:])
    spelling = Spelling(tokenizer)
    assert [spelling.spell(number) for number in range(3)] == expected
    assert spelling.spell(99) == b""
