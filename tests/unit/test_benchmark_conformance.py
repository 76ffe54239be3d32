"""The table of two runs of the conformance scenarios is one table, and counts what each server was asked."""

from __future__ import annotations

from benchmarks.conformance import join, passed, read, render

OURS = """| scenario | engine | web |
| --- | --- | --- |
| a stream ends (chat) | passed | passed |
| a stop | passed | failed |
| passed | 2 of 2 | 1 of 2 |
"""
THEIRS = """| scenario | given |
| --- | --- |
| a stop | failed |
| a stream ends (chat) | passed |
| passed | 1 of 2 |
"""


def test_two_tables_become_one_with_a_column_for_each_server() -> None:
    table = join(read(OURS), {name: {"other": row["given"]} for name, row in read(THEIRS).items()})
    assert table == {
        "a stream ends (chat)": {"engine": "passed", "web": "passed", "other": "passed"},
        "a stop": {"engine": "passed", "web": "failed", "other": "failed"},
    }
    assert passed(table) == {"engine": "2 of 2", "web": "1 of 2", "other": "1 of 2"}
    assert render(table).splitlines() == [
        "scenario              engine  web  other",
        "a stream ends (chat)  passed  passed  passed",
        "a stop                passed  failed  failed",
        "passed                2 of 2  1 of 2  1 of 2",
    ]


def test_a_scenario_of_one_server_alone_stands_in_its_column_alone() -> None:
    table = join({"of a socket": {"engine": "passed"}}, {"of the network": {"other": "failed"}})
    assert passed(table) == {"engine": "1 of 1", "other": "0 of 1"}
