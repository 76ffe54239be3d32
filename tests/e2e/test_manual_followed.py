"""The operator's manual, followed word by word on a Debian 12 without network: from medium to answer, and away.

Both languages have the same commands (tests/unit/test_manual.py), so one run is a run of both. Put in are only the
media and the list of keys, which came another way. No curl is needed for the manual's curl: what it sends is sent.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from demo_bundle import DemoBundle, next_bundle
from manual import MANUALS, Step, code, missing, steps
from roots import server_root
from servers import URL, Server, booted
from web_process import choose_password, log_in_form

HAND_OVER = "cp /media/usb/allowed_signers /root/allowed_signers"
ANSWERS = 120


@dataclass
class Reading:
    """What came of following the manual: each step with its output, and what was said to a client meanwhile."""

    server: Server
    outputs: list[tuple[Step, str]] = field(default_factory=list)
    logged_in: str = ""
    answer: str = ""

    def follow(self, step: Step) -> None:
        output = ""
        for command in step.commands:
            shell = ["sh", "-c", f"exec 2>&1; cd /root && {command}"]
            done = self.server.container.run(shell, check=False, timeout_s=900)
            said = done.stdout
            assert done.returncode == 0, f"{command}: exit {done.returncode}\n{said[-6000:]}\n{self.journal()}"
            assert "Traceback" not in said, command
            self.meet(said)
            output += said
        self.outputs.append((step, output))

    def meet(self, said: str) -> None:
        """Use a password and a key as soon as they are shown, as the manual says they can be."""
        if (found := re.search(r"^password: (\S+)", said, re.M)) and not self.logged_in:
            self.logged_in = self.log_in("admin", found[1])
        if found := re.search(r"^key reports: (\S+)", said, re.M):
            self.answer = self.ask(found[1])

    def log_in(self, name: str, password: str) -> str:
        with self.server.container.network(), httpx.Client(base_url=URL, trust_env=False, timeout=30) as browser:
            log_in_form(browser, name, password)
            choose_password(browser, f"{password} of my own")
            return browser.get("/").text

    def ask(self, key: str) -> str:
        """Send what the manual's curl sends."""
        (curl,) = [block for block in code(MANUALS[0].read_text()) if block.strip().startswith("curl")]
        body = json.loads(re.search(r"-d '(.*)'", curl)[1])  # type: ignore[index]
        path = re.search(r"http://SERVER:8080(\S+)", curl)[1]  # type: ignore[index]
        with self.server.container.network(), httpx.Client(base_url=URL, trust_env=False, timeout=ANSWERS) as client:
            answer = client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def journal(self) -> str:
        try:
            return self.server.journal()
        except (AssertionError, subprocess.SubprocessError):
            return ""


@pytest.fixture(scope="module")
def reading(demo_media: DemoBundle) -> Iterator[Reading]:
    media = {"usb": demo_media.folder, "next": next_bundle(demo_media).folder}
    with booted(server_root(), prepare=HAND_OVER, **media) as server:
        made = Reading(server)
        for step in steps(MANUALS[0].read_text()):
            made.follow(step)
        yield made


def test_every_command_of_the_manual_does_what_it_should(reading: Reading) -> None:
    assert len(reading.outputs) == len(steps(MANUALS[0].read_text()))


def test_each_output_has_what_the_manual_shows(reading: Reading) -> None:
    absent = [
        f"{line!r} after {step.commands}:\n{output[-3000:]}"
        for step, output in reading.outputs
        for line in missing(step, output)
    ]
    assert absent == [], "\n".join(absent)


def test_the_first_login_works_with_the_password_that_was_shown(reading: Reading) -> None:
    assert '<p class="who" title="admin">admin</p>' in reading.logged_in


def test_a_program_gets_an_answer_with_the_key_that_was_shown(reading: Reading) -> None:
    assert len(reading.answer.split()) >= 2


def test_the_model_answers_the_question_of_the_selftest(reading: Reading) -> None:
    (said,) = [output for step, output in reading.outputs if "ferry selftest" in step.commands]
    assert "Paris" in said


def test_no_secret_that_was_shown_went_to_a_log(reading: Reading) -> None:
    shown = "\n".join(output for _, output in reading.outputs)
    secrets = re.findall(r"(?:password[^:\n]*|key reports): (\S{8,})", shown)
    assert len(secrets) >= 3
    logs = reading.server.container.run(["journalctl", "--no-pager"]).stdout
    assert [secret for secret in secrets if secret in logs] == []


def test_after_the_last_chapter_the_disk_is_as_it_was(reading: Reading) -> None:
    assert reading.server.changes() == {}
    assert reading.server.container.run(["systemctl", "list-units", "--all", "--no-legend", "ferry*"]).stdout == ""
    assert reading.server.container.run(["pgrep", "-f", "ferry"], check=False).stdout == ""
