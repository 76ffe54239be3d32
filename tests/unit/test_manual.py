"""The manual in two languages: the same chapters, commands, outputs and settings. test_manual_followed.py runs it."""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import click
import manual
import pytest
from manual import MANUALS, ROOT, Step

from installer import units
from installer.cli import COMMANDS, cli
from installer.places import ROOT_PREFIX, places_of
from service import config, config_rules

PAGES = [*MANUALS, ROOT / "docs" / "security.md", ROOT / "docs" / "security.zh.md"]
SETTINGS = [ROOT / "docs" / "settings.md", ROOT / "docs" / "settings.zh.md"]
ENGINES = [ROOT / "docs" / "engines.md", ROOT / "docs" / "engines.zh.md"]
LINK = re.compile(r"\]\(([^)#:]+)\)")


def test_both_languages_have_the_same_commands_and_outputs() -> None:
    english, chinese = (manual.code(path.read_text()) for path in MANUALS)
    assert len(english) > 40 and chinese == english


def test_both_languages_have_the_same_chapters() -> None:
    english, chinese = (manual.chapters(path.read_text()) for path in MANUALS)
    assert chinese == english == [str(number) for number in range(1, len(english) + 1)]


def test_each_box_of_output_follows_a_box_of_commands() -> None:
    kinds = [kind for kind, _ in manual.FENCE.findall(MANUALS[0].read_text())]
    assert set(kinds) == {"sh", "text"} and kinds[0] == "sh"
    assert ("text", "text") not in set(pairwise(kinds))


def test_both_manuals_stay_close_in_the_words_that_are_no_language() -> None:
    """What stands in backticks (paths, options, keys) is in both, or a translator forgot something."""
    english, chinese = ({*re.findall(r"`([^`\n]+)`", _prose(path))} for path in MANUALS)
    assert english ^ chinese == set()


@pytest.mark.parametrize("page", MANUALS, ids=lambda path: path.name)
def test_every_command_is_shown(page: Path) -> None:
    shown = set(re.findall(r"ferry ([a-z]+)", page.read_text()))
    context = click.Context(cli)
    commands = {name for name in COMMANDS if not cli.get_command(context, name).hidden}
    assert len(commands) > 15 and commands - shown == set()


@pytest.mark.parametrize("page", SETTINGS, ids=lambda path: path.name)
def test_every_setting_is_explained_with_its_default(page: Path) -> None:
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `[")]
    for section in fields(config.Config):
        for key in fields(section.default):
            (row,) = [row for row in rows if re.search(rf"`\[{section.name}\] {key.name}`", row)]
            assert f"`{config_rules.toml(key.default)}`" in row.split("|")[2], row
            assert ("†" in row) == (key.metadata["rule"].refusal != config_rules.Rule(str, "").refusal), row


def test_both_pages_on_engines_show_the_same_commands_settings_and_files() -> None:
    texts = [path.read_text().replace(".zh.md", ".md") for path in ENGINES]
    english, chinese = ((manual.INDENTED.findall(text), {*re.findall(r"`([^`\n]+)`", text)}) for text in texts)
    assert len(english[0]) > 4 and chinese == english


@pytest.mark.parametrize("page", ENGINES, ids=lambda path: path.name)
def test_the_settings_that_the_page_on_engines_shows_can_be_used(page: Path) -> None:
    shown = [block for block in manual.INDENTED.findall(page.read_text()) if "[engine]" in block]
    assert len(shown) >= 3
    for block in shown:
        assert config.parse(block).engine.url


@pytest.mark.parametrize("page", [*PAGES, *SETTINGS, *ENGINES, ROOT / "README.md"], ids=lambda path: path.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert links and [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES[2:], ids=lambda path: path.name)
def test_the_page_for_the_security_office_names_all_that_lands_on_the_server(page: Path) -> None:
    text, places = page.read_text(), places_of(ROOT_PREFIX, is_user=False)
    folders = [places.prefix, places.etc, places.data, places.log, places.cache, places.run, places.wrapper]
    files = [path.name for path in units.FILES]
    assert len(files) > 4 and [name for name in (*map(str, folders), *files, *units.USERS) if name not in text] == []


def test_a_line_that_an_output_lacks_is_named() -> None:
    step = Step(("ferry status",), ("state   …", "address http://…:8080"))
    assert list(manual.missing(step, "release 1\nstate   running, ready\naddress http://10.0.0.7:8080\n")) == []
    assert list(manual.missing(step, "state   stopped\n")) == ["address http://…:8080"]
    assert list(manual.missing(step, "address http://10.0.0.7:8080\nstate   stopped\n")) == ["address http://…:8080"]
    assert list(manual.missing(Step((), ("user:     admin",)), "user:     admin2\n")) == ["user:     admin"]


def _prose(path: Path) -> str:
    text = path.read_text().replace(".zh.md", ".md")
    return manual.INDENTED.sub("", manual.FENCE.sub("", text))
