"""What the measured speed makes of a step's size and of waiting times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.pace import GRID_TOKENS, LEAST_ROWS, Pace, forecast, share_out


def timed(step_s: float, row_s: float) -> Pace:
    pace = Pace()
    pace.observe(1, 0, step_s)
    pace.observe(0, 100, 100 * row_s)
    return pace


def test_beside_a_stream_a_chunk_takes_what_is_left_of_a_quarter_of_a_second() -> None:
    assert timed(0.05, 0.002).prefill_rows(1, 1000) == pytest.approx(100, abs=1)


def test_nobody_waits_half_a_second_for_a_chunk_however_slow_the_machine() -> None:
    pace = timed(0.3, 0.005)
    assert pace.step_s + pace.prefill_rows(4, 1000) * pace.row_s < 0.5


def test_with_no_stream_a_chunk_is_larger_but_a_cancel_still_takes_less_than_a_second() -> None:
    pace = timed(0.05, 0.002)
    alone = pace.prefill_rows(0, 1000)
    assert alone > 3 * pace.prefill_rows(1, 1000)
    assert alone * pace.row_s < 1


def test_a_chunk_is_never_larger_than_the_decoder_takes_beside_the_others() -> None:
    assert timed(0.01, 0.0001).prefill_rows(5, 64) == 59


def test_a_slow_machine_still_gets_on() -> None:
    assert timed(3.0, 2.0).prefill_rows(1, 1000) == LEAST_ROWS


def test_the_speed_of_reading_is_learnt_beside_decoding_too() -> None:
    pace = timed(0.1, 0.5)
    for _ in range(30):
        pace.observe(2, 50, 0.1 + 50 * 0.01)
    assert pace.row_s == pytest.approx(0.01, rel=0.1)


def test_a_shorter_answer_than_usual_is_expected_to_end_where_it_must() -> None:
    pace = timed(0.1, 0.01)
    pace.answer_tokens = 100
    assert pace.seconds_left(50, 0, 20) == pytest.approx(0.5 + 2.0)
    assert pace.seconds_left(0, 90, 1000) == pytest.approx(2.5)


def test_turns_begin_when_a_slot_is_free() -> None:
    spans = forecast(2, [5.0], [1.0, 10.0, 2.0])
    assert [span.start_s for span in spans] == [0.0, 1.0, 5.0]


def test_what_is_read_ends_on_the_grid_so_that_it_is_cut_alike_whatever_else_runs() -> None:
    assert share_out([(0, 100)], 70) == [2 * GRID_TOKENS]
    assert share_out([(10, 100)], 70) == [2 * GRID_TOKENS - 10]
    assert share_out([(0, 100), (0, 100)], 3 * GRID_TOKENS) == [2 * GRID_TOKENS, GRID_TOKENS]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), max_size=8), st.integers(0, 600))
def test_rows_are_dealt_within_the_limit_and_somebody_always_gets_on(places: list[tuple[int, int]], rows: int) -> None:
    shares = share_out(places, rows)
    assert sum(shares) <= rows
    assert all(0 <= share <= left for share, (_, left) in zip(shares, places, strict=True))
    assert sum(shares) > 0 or not places or rows == 0
