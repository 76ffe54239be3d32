"""What an auditor types into the filter: times that are none, parts of names, and what a download makes of them."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from audit_logs import event, make_folders
from hypothesis import given
from hypothesis import strategies as st
from web_app import LoggedIn, WebApp, web_app

from service.web import audit_chain, audit_files, audit_pages, audit_reader
from service.web.accounts import fold
from service.web.audit_log import Log
from service.web.audit_reader import Wanted

BAD_TIMES = ("30.11.2026", "yesterday", "2026-13-01", "9999-12-31", "0001-01-01")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web")) as web:
        web.add_user("olga", "auditor")
        yield web


@pytest.fixture(scope="module")
def olga(web: WebApp) -> LoggedIn:
    return web.login("olga")


def exports(web: WebApp) -> int:
    return (web.paths.log / "audit.jsonl").read_text().count('"audit_exported"')


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_time_that_is_none_is_said_at_its_field_and_nothing_is_listed(olga: LoggedIn, name: str, text: str) -> None:
    answer = olga.request("GET", f"/audit?{name}={text}")
    assert answer.status_code == 400
    fields = dict(re.findall(r'<input id="(from|to)"(.*?)>', answer.text))
    assert ['aria-invalid="true"' in fields[each] for each in (name, {"from": "to", "to": "from"}[name])] == [1, 0]
    assert 'aria-describedby="bad-time times-note"' in fields[name] and f'value="{text}"' in fields[name]
    before, _, after = answer.text.partition('id="bad-time"')
    assert 'id="events-title"' in before and after.partition("</p>")[0].endswith("2026-01-31T12:00.")
    assert '<table class="rows events">' not in answer.text and "No such event" not in answer.text


@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_download_for_a_time_that_is_none_is_refused_and_no_export(web: WebApp, olga: LoggedIn, text: str) -> None:
    before = exports(web)
    answer = olga.request("GET", f"/audit/export?format=json&from={text}")
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "nothing was downloaded" in answer.text and "olga" not in answer.text
    assert exports(web) == before


def test_a_part_of_a_name_in_small_or_capital_letters_finds_its_events(web: WebApp, olga: LoggedIn) -> None:
    Log(web.paths.log, web.paths.data).append([{**event(1), "user": name} for name in ("emma", "ÜNAL", "小明")])
    for typed, name in (("emm", "emma"), ("Emma", "emma"), ("MMA", "emma"), ("ünal", "ÜNAL"), ("明", "小明")):
        assert f">{name}</td>" in olga.request("GET", "/audit", query_string={"user": typed}).text
        (found,) = olga.request("GET", "/audit/export", query_string={"user": typed, "format": "json"}).json
        assert found["user"] == name
    assert ">emma</td>" not in olga.request("GET", "/audit?user=emmma").text


NAMES = st.text(st.sampled_from('aAbSsßſÄä明"\\\n\x7f\u2028"'), max_size=4)


@given(part=NAMES, who=NAMES, name=NAMES, subject=st.one_of(NAMES, st.integers(), st.none()))
def test_no_line_is_passed_over_whose_names_have_the_part(part: str, who: str, name: str, subject: object) -> None:
    facts = {"at": "2026", "event": "test", "user": who, "address": "", "name": name, "subject": subject}
    line, _ = audit_chain.render(audit_chain.START, facts)
    wanted = Wanted.of(part)
    assert (wanted.fits(line) is not None) == any(wanted.user in fold(str(each)) for each in (who, name, subject or ""))


def test_lines_without_the_name_are_not_even_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, parsed = Log(*make_folders(tmp_path)), list[bytes]()
    log.append([{**event(number), "user": f"user-{number % 10}"} for number in range(100)])
    loads = json.loads
    with audit_files.snapshot(log.log, log.data) as taken:
        monkeypatch.setattr(audit_reader.json, "loads", lambda line: parsed.append(line) or loads(line))
        assert len(list(audit_reader.forward(taken, Wanted.of("USER-7")))) == len(parsed) == 10


def test_the_download_s_buttons_send_what_is_typed_in_the_filter(olga: LoggedIn) -> None:
    (form,) = re.findall(r'<form [^>]*role="search".*?</form>', olga.request("GET", "/audit").text, re.S)
    buttons = re.findall(r'<button type="submit"[^>]*>', form)
    assert 'id="apply"' in buttons[0] and "formaction" not in buttons[0]  # the first is what the Enter key presses
    for button, kind in zip(buttons[1:], ("csv", "json"), strict=True):
        assert f'formaction="/audit/export" name="format" value="{kind}"' in button
    assert all(f'name="{name}"' in form for name in ("user", "event", "from", "to"))


@pytest.mark.parametrize(
    ("user", "ending"),
    [("", ""), ("Emma", "-Emma"), ('a"\r\n../b', "-a-b"), ("小明", ""), ("key reports", "-key-reports"), ("-", "")],
)
def test_a_download_is_named_for_its_day_and_the_filter_s_user(olga: LoggedIn, user: str, ending: str) -> None:
    day = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    answer = olga.request("GET", "/audit/export", query_string={"user": user, "format": "csv"})
    assert answer.headers["Content-Disposition"] == f'attachment; filename="ferry-audit-{day}{ending}.csv"'


def test_a_small_log_has_its_size_in_kib_and_lines_newer_than_the_check_are_counted(tmp_path: Path) -> None:
    with web_app(tmp_path) as web:
        web.add_user("olga", "auditor")
        olga, log = web.login("olga"), Log(web.paths.log, web.paths.data)
        log.append([event(number) for number in range(20)])
        assert re.search(r"<dd>21 \(files: 1, \d\.\d+ KiB\)", olga.request("GET", "/audit").text)
        olga.request("POST", "/audit/check")
        assert "Lines written since" not in olga.request("GET", "/audit").text
        log.append([event(number) for number in range(5)])
        text = olga.request("GET", "/audit").text
        assert "each of the 21 lines" in text and "not covered by it: 5<" in text and "<dd>26 (" in text


@pytest.mark.parametrize("head", ['""', '"x sha256:"', "7", "null"])
def test_a_damaged_note_of_the_last_check_breaks_no_page(web: WebApp, olga: LoggedIn, head: str) -> None:
    note = web.paths.data / "audit.verified"
    note.write_text(f'{{"at": "2026-01-01T00:00:00+00:00", "is_ok": true, "lines": 1, "head": {head}, "problems": []}}')
    try:
        assert olga.request("GET", "/audit").status_code == 200
    finally:
        note.unlink()


def test_what_is_known_of_an_event_reads_as_english(web: WebApp, olga: LoggedIn) -> None:
    facts = {"asked": 57, "before": "1.0.0", "release": "1.1.0", "unheard_of": "x"}
    Log(web.paths.log, web.paths.data).append([{**event(1), "user": "reader", **facts}])
    details = re.search(r'class="details"[^>]*>(.*?)</td>', olga.request("GET", "/audit?user=reader").text, re.S)
    assert details is not None
    words = " ".join(re.sub(r"<[^>]+>", "", details[1]).split())
    assert words == "number: 1 the question is on line 57 previously: 1.0.0 release: 1.1.0 unheard_of: x"


@pytest.mark.parametrize(
    ("name", "path", "status", "home", "word"),
    [
        ("olga", "/admin", 403, "/audit", "Back to the audit log"),
        ("olga", "/api/conversations/x/export", 403, "", ""),
        ("olga", "/nowhere", 404, "/", "To the start page"),
        ("alice", "/audit", 403, "/", "Back to the chat"),
    ],
)
def test_an_error_page_leads_on_to_what_its_reader_may_see(
    tmp_path: Path, name: str, path: str, status: int, home: str, word: str
) -> None:
    with web_app(tmp_path) as web:
        web.add_user(name, "auditor" if name == "olga" else "user")
        answer = web.login(name).request("GET", path)
        assert answer.status_code == status
        links = re.findall(r'<a class="button" href="(.*?)">(.*?)</a>', answer.text)
        assert links == ([(home, word)] if home else [])


def test_every_event_of_the_filter_has_a_name_in_both_languages() -> None:
    folder = Path(audit_pages.__file__).parent / "strings"
    for language in ("en", "zh"):
        words = json.loads((folder / language / "audit.json").read_text())
        assert [name for name in audit_pages.EVENTS if not words.get(f"audit_is_{name}")] == []
        assert [word for name, word in words.items() if "_fact_" in name and word.count("{value}") != 1] == []
