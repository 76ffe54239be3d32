"""The audit log is read from either end, by user, event and time, and handed on as CSV and JSON."""

import csv
import io
import json
from pathlib import Path

import pytest
from audit_logs import make_folders
from hypothesis import given, settings
from hypothesis import strategies as st

from service.web import audit_export, audit_files, audit_reader
from service.web.audit_log import Log
from service.web.audit_reader import Page, Wanted

NAMES = ("alice", '小明 "x"', "bob")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Sixty events of three users, a minute apart, in several files."""
    log = Log(*make_folders(tmp_path_factory.mktemp("audit")), rotate_bytes=3000)
    for hour in range(6):
        log.append([event(hour, number) for number in range(10)])
    return log


def event(hour: int, number: int) -> dict[str, object]:
    kind = "login" if number % 2 else "chat"
    at = f"2026-01-02T0{hour}:{number:02d}:00.000+00:00"
    return {"at": at, "event": kind, "user": NAMES[number % 3], "address": "", "number": hour * 10 + number}


def back(log: Log, wanted: Wanted, before: int | None = None, limit: int = 7, **arguments: int) -> Page:
    with audit_files.snapshot(log.log, log.data) as taken:
        return audit_reader.backward(taken, wanted, before, limit, **arguments)


def all_forward(log: Log, wanted: Wanted) -> list[dict[str, object]]:
    with audit_files.snapshot(log.log, log.data) as taken:
        return list(audit_reader.forward(taken, wanted))


def all_backward(log: Log, wanted: Wanted, **arguments: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    before: int | None = None
    for _ in range(200):
        page = back(log, wanted, before, **arguments)
        found += page.events
        before = page.before
        if before is None:
            return found[::-1]
    raise AssertionError("the pages have no end")


def test_the_newest_come_first_and_the_next_page_goes_on_where_this_one_ended(log: Log) -> None:
    first = back(log, Wanted(event="chat"))
    second = back(log, Wanted(event="chat"), first.before)
    numbers = [found["number"] for found in (*first.events, *second.events)]
    assert numbers == [58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32]


@settings(max_examples=60, deadline=None)
@given(
    user=st.sampled_from(("", *NAMES, "nobody")),
    kind=st.sampled_from(("", "chat", "login", "audit_file", "none")),
    hours=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    limit=st.integers(1, 70),
    budget=st.integers(200, 5000),
)
def test_both_directions_find_the_same(
    log: Log, user: str, kind: str, hours: tuple[int, int], limit: int, budget: int
) -> None:
    wanted = Wanted.of(user, kind, f"2026-01-02T0{hours[0]}:00", f"2026-01-02T0{hours[1]}:00")
    assert all_backward(log, wanted, limit=limit, budget=budget) == all_forward(log, wanted)


def test_blocks_that_cut_lines_change_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = all_forward(log, Wanted())
    for size in (1, 7, 100, 1000):
        monkeypatch.setattr(audit_reader, "BLOCK_BYTES", size)
        assert all_forward(log, Wanted()) == whole
        assert all_backward(log, Wanted()) == whole


def test_an_account_s_events_are_also_those_that_others_did_to_it(tmp_path: Path) -> None:
    log = Log(*make_folders(tmp_path))
    log.append([{"at": "2026", "event": "user_disabled", "user": "root", "name": "alice", "text": "bob"}])
    assert [len(all_forward(log, Wanted(user=name))) for name in ("alice", "root", "bob")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [("2026-01-02", "2026-01-02", 60), ("2026-01-03", "", 0), ("2026-01-02T05:00Z", "2026-01-02T07:30+02:00", 10)],
)
def test_times_are_taken_as_people_write_them(log: Log, start: str, end: str, count: int) -> None:
    found = [each for each in all_forward(log, Wanted.of(start=start, end=end)) if "number" in each]
    assert len(found) == count


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        Wanted.of(start="yesterday")


def test_json_is_one_array_of_all_there_is(log: Log) -> None:
    events = all_forward(log, Wanted())
    assert json.loads(b"".join(audit_export.render(events, "json"))) == events
    assert json.loads(b"".join(audit_export.render([], "json"))) == []


def test_csv_has_a_column_for_each_common_fact_and_the_rest_in_the_last(log: Log) -> None:
    rows = list(csv.DictReader(io.StringIO(b"".join(audit_export.render(all_forward(log, Wanted()), "csv")).decode())))
    assert len(rows) == len(all_forward(log, Wanted()))
    first = next(row for row in rows if row["user"] == NAMES[1])
    assert (first["event"], first["at"]) == ("login", "2026-01-02T00:01:00.000+00:00")
    assert json.loads(first["more"]) == {"number": 1}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_the_csv_is_a_formula(text: str) -> None:
    data = b"".join(audit_export.render([{"seq": 1, "user": text, "question": f'"{text}\n{text}'}], "csv")).decode()
    (row,) = csv.DictReader(io.StringIO(data, newline=""))
    assert (row["user"], row["question"]) == (f"'{text}", f'"{text}\n{text}')
