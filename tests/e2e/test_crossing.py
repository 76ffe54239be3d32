"""The whole job on a Debian 12 that sees only lo: install, answer, stop, start, reboot, upgrade, and leave.

One server for the file, installed once; the tests that end things stand last.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import browser_flow
import openai
import pytest
from browser_tour import Questions, tour
from demo_bundle import DemoBundle, next_bundle
from lifecycle import Lifecycle
from roots import server_root
from servers import QUESTION, UNITS, URL, Server, booted


@pytest.fixture(scope="module")
def server(demo_media: DemoBundle) -> Iterator[Server]:
    with booted(server_root(), usb=demo_media.folder, next=next_bundle(demo_media).folder) as made:
        made.install()
        yield made


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return str(server.ferry("key", "add", "tests")["key"])


def test_the_server_has_no_network(server: Server) -> None:
    links = server.container.run(["ip", "-brief", "link"]).stdout
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]


def test_both_units_are_active_after_the_install(server: Server) -> None:
    assert server.states() == ["active", "active"]


def test_status_and_verify_say_that_all_is_well(server: Server) -> None:
    status = server.ferry("status")
    assert (status["state"], status["ready"], status["version"]) == ("running", True, "0.1.0")
    assert status["url"].startswith("http://") and status["release"].startswith("0.1.0-")
    assert server.ferry("verify") == {"ok": True, "problems": []}


def test_a_chat_streams_a_sensible_sentence_in_pieces(server: Server, key: str) -> None:
    pieces = [piece for piece in server.chat(key) if piece]
    assert len(pieces) >= 5
    assert "Paris" in "".join(pieces)


def test_the_pieces_arrive_one_after_the_other(server: Server, key: str) -> None:
    """A server that buffered would send them all at the end."""
    script = """
import json, sys, time, urllib.request
body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "Count from one to ten."}]}
headers = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json"}
request = urllib.request.Request(sys.argv[2] + "/v1/chat/completions", json.dumps(body).encode(), headers)
times = []
with urllib.request.urlopen(request, timeout=120) as answer:
    for line in answer:
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            times.append(time.monotonic())
print(json.dumps([len(times), len(set(round(t, 3) for t in times)), times[-1] - times[0]]))
"""
    out = server.container.run(["python3", "-c", script, key, URL]).stdout
    count, moments, seconds = json.loads(out)
    assert count >= 5 and moments >= count / 2 and seconds > 0.1


def test_a_request_without_a_key_is_turned_away(server: Server) -> None:
    with pytest.raises(openai.AuthenticationError):
        server.chat("no-such-key")


def test_a_person_logs_in_with_a_browser_and_reads_the_answer(server: Server) -> None:
    made = server.ferry("user", "add", "alice")
    with server.container.network():
        answer = browser_flow.chat(URL, made["user"], made["password"], QUESTION)
    assert "Paris" in answer


def test_a_person_does_all_that_the_page_is_for(server: Server) -> None:
    made = server.ferry("user", "add", "root", "--role", "administrator")
    questions = Questions(
        "Describe a ferry in three sentences.", "Write a long story about a ferry.", "What is a ship?"
    )
    with server.container.network():
        tour(URL, made["user"], made["password"], questions)


def test_the_engine_has_no_network_at_all(server: Server) -> None:
    pid = server.main_pid("ferry-engine.service")
    namespaces = [server.container.run(["readlink", f"/proc/{who}/ns/net"]).stdout for who in (pid, "1")]
    assert namespaces[0] != namespaces[1]
    inside = server.container.run(["nsenter", "-t", pid, "-n", "ip", "-brief", "link"]).stdout
    assert [line.split()[0] for line in inside.splitlines()] == ["lo"]
    assert server.container.run(["nsenter", "-t", pid, "-n", "ss", "-Htuln"]).stdout == ""


def test_each_process_runs_as_its_own_user_without_rights(server: Server) -> None:
    for unit, user in zip(UNITS, ("ferry", "ferry-engine"), strict=True):
        pid = server.main_pid(unit)
        assert server.container.run(["ps", "-o", "user:20=", "-p", pid]).stdout.strip() == user
        status = server.container.run(["cat", f"/proc/{pid}/status"]).stdout
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


def test_the_engine_cannot_read_accounts_and_conversations(server: Server) -> None:
    as_engine = ["setpriv", "--reuid=ferry-engine", "--regid=ferry", "--clear-groups"]
    assert server.container.run([*as_engine, "ls", "/var/lib/ferry"], check=False).returncode != 0
    assert server.container.run([*as_engine, "ls", "/var/log/ferry"], check=False).returncode != 0


def test_the_same_bundle_again_changes_nothing(server: Server) -> None:
    before, pids = server.container.listing("/opt/ferry", "/etc"), [server.main_pid(unit) for unit in UNITS]
    again = ["sh", "/media/usb/install.sh", "--yes"]  # the server's own list decides by now
    server.container.run(again, timeout_s=300)
    assert server.container.listing("/opt/ferry", "/etc") == before
    assert [server.main_pid(unit) for unit in UNITS] == pids


def test_verify_names_a_changed_file(server: Server) -> None:
    release = server.container.run(["readlink", "-f", "/opt/ferry/current"]).stdout.strip()
    config = f"{release}/model/config.json"
    server.container.run(["sed", "-i.kept", "s/Llama/llama/", config])
    problems = server.ferry("verify", status=3)["problems"]
    server.container.run(["mv", f"{config}.kept", config])
    assert any("config.json" in problem["path"] for problem in problems)
    assert server.ferry("verify")["ok"] is True


def test_stop_ends_both_within_ten_seconds_and_start_brings_both_back(server: Server, key: str) -> None:
    began = time.monotonic()
    server.container.run(["systemctl", "stop", "ferry"])
    while server.states() != ["inactive", "inactive"]:
        assert time.monotonic() - began < 10, server.states()
        time.sleep(0.2)
    assert server.ferry("status")["state"] == "stopped"
    server.container.run(["systemctl", "start", "ferry"])
    server.wait_ready()
    assert server.states() == ["active", "active"]
    assert "Paris" in "".join(server.chat(key))


def test_a_stop_in_the_middle_of_an_answer_takes_no_longer(server: Server, key: str) -> None:
    with server.container.network():
        client = openai.OpenAI(base_url=f"{URL}/v1", api_key=key, timeout=60, max_retries=0)
        messages: Any = [{"role": "user", "content": "Tell me a very long story about the sea."}]
        stream = client.chat.completions.create(model="default", messages=messages, stream=True, max_tokens=500)
        next(iter(stream))
        began = time.monotonic()
        server.container.run(["systemctl", "stop", "ferry"])
        while server.states() != ["inactive", "inactive"]:
            assert time.monotonic() - began < 10, server.states()
            time.sleep(0.2)
        stream.close()
    server.ferry("start")
    server.wait_ready()


def test_a_reboot_brings_both_back(server: Server, key: str) -> None:
    server.container.reboot()
    server.wait_ready()
    assert server.states() == ["active", "active"]
    assert "Paris" in "".join(server.chat(key))


def test_nothing_failed_and_no_secret_went_to_the_journal(server: Server, key: str) -> None:
    failed = server.container.run(["systemctl", "list-units", "--failed", "--no-legend", "--plain"]).stdout
    assert failed == ""
    assert key not in server.container.run(["journalctl", "--no-pager"]).stdout


class TestLifecycle(Lifecycle):
    pass


def test_uninstall_keeps_accounts_and_a_reinstall_finds_them(server: Server) -> None:
    server.ferry("user", "add", "bob")
    server.container.run(["ferry", "uninstall"])
    assert server.container.run(["test", "-e", "/opt/ferry"], check=False).returncode != 0
    assert server.states() == ["inactive", "inactive"]
    server.install()
    assert "bob" in [user["user"] for user in server.ferry("user", "list")["users"]]


def test_after_a_purge_the_disk_is_as_it_was(server: Server) -> None:
    server.container.run(["ferry", "uninstall", "--purge"])
    assert server.changes() == {}
    assert server.container.run(["pgrep", "-f", "ferry"], check=False).stdout == ""
