"""What a client is told of a choice: its pieces with their tokens, the reason of the end, and nothing after it."""

from collections.abc import Sequence

from service.engine.chooser import Choice
from service.engine.jobs import Ended, Event, Piece, Work
from service.engine.sampling import Sampling
from service.engine.transcript import Transcript

SPELLING = {1: b"Hey", 2: b"lo", 3: b" wor", 4: "好".encode()[:2]}
STOP = 9


def told(
    tokens: Sequence[int], stops: tuple[str, ...] = (), max_tokens: int = 99, logprobs: bool = True
) -> list[Event]:
    events: list[Event] = []

    def decode(some: Sequence[int]) -> str:
        return b"".join(SPELLING[token] for token in some).decode(errors="replace")

    work = Work((1,), Sampling(), max_tokens, stops)
    transcript = Transcript(work, 3, events.append, decode, lambda token: SPELLING[token], {STOP})
    is_whole = [transcript.push(Choice(token, -float(token) if logprobs else None, ((2, -0.5),))) for token in tokens]
    assert is_whole == [False] * (len(tokens) - 1) + [True]
    assert all(event.index == 3 for event in events if isinstance(event, Piece | Ended))
    assert events[-1] == Ended(3, transcript.reason)
    return events


def pieces(events: list[Event]) -> list[tuple[str, list[bytes]]]:
    return [(event.text, [one.raw for one in event.logprobs]) for event in events if isinstance(event, Piece)]


def test_each_piece_carries_its_tokens() -> None:
    events = told([1, 2, STOP])
    assert pieces(events) == [("Hey", [b"Hey"]), ("lo", [b"lo"])]
    assert events[-1] == Ended(3, "stop")


def test_a_stop_text_ends_the_choice_and_takes_its_tokens_along() -> None:
    events = told([1, 2, 3], ("lo w",))
    assert pieces(events) == [("Hey", [b"Hey"])]
    assert events[-1] == Ended(3, "stop")


def test_the_last_allowed_token_is_shown_and_its_held_text_too() -> None:
    events = told([1, 2], ("lo there",), max_tokens=2)
    assert pieces(events) == [("Hey", [b"Hey"]), ("lo", [b"lo"])]
    assert events[-1] == Ended(3, "length")


def test_half_a_character_is_shown_where_the_model_ended_and_not_where_the_limit_did() -> None:
    assert pieces(told([1, 4, STOP])) == [("Hey", [b"Hey"]), ("�", [SPELLING[4]])]
    assert pieces(told([1, 4], max_tokens=2)) == [("Hey", [b"Hey"]), ("", [SPELLING[4]])]


def test_nothing_is_said_of_tokens_that_nobody_asked_about() -> None:
    assert pieces(told([1, 2, STOP], logprobs=False)) == [("Hey", []), ("lo", [])]
