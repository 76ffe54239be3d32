"""Every shipped script and style against the oldest browsers that Ferry serves, by the linters from npm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from npm_modules import PAGE_CHECKS, workplace

ROOT = Path(__file__).resolve().parents[2]
FLOOR = "chrome 79, firefox 78"
ESLINT = ("eslint/bin/eslint.js", "--no-inline-config", "--config", "eslint.config.mjs")
STYLELINT = ("stylelint/bin/stylelint.mjs", "--config", "stylelint.config.mjs")
TOO_NEW = {
    "optional chaining": "export const a = window?.name;",
    "a class field": "export class A { b = 1; }",
    "a method of strings": 'export const a = (text) => text.replaceAll("a", "b");',
    "a method of arrays": "export const a = (list) => list.at(-1);",
    "a function of the browser": "export const a = structuredClone({});",
}
TOO_NEW_STYLES = {
    "a selector": ".a:has(.b) { color: red; }",
    "a gap between flexible boxes": ".a { display: flex; gap: 4px; }",
    "nesting": ".a { .b { color: red; } }",
}

pytestmark = pytest.mark.npm


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workplace(PAGE_CHECKS, tmp_path_factory.mktemp("npm"))


def run(tools: Path, tool: tuple[str, ...], *files: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    program, *options, config = tool
    command = ["node", str(tools / "node_modules" / program), *options, str(tools / config), *files]
    environment = {**os.environ, "BROWSERSLIST": FLOOR}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_every_script_works_in_the_oldest_browsers(tools: Path) -> None:
    done = run(tools, ESLINT, "service/web/static")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_every_style_works_in_the_oldest_browsers(tools: Path) -> None:
    done = run(tools, STYLELINT, "service/web/static/**/*.css")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]


def test_newer_scripts_would_be_found(tools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "service" / "web" / "static" / "js"
    folder.mkdir(parents=True)
    for name, text in TOO_NEW.items():
        (folder / f"{name}.js").write_text(text)
    done = run(tools, ESLINT, "service", cwd=tmp_path)
    assert {name for name in TOO_NEW if f"{name}.js" not in done.stdout} == set(), done.stdout + done.stderr


def test_newer_styles_would_be_found(tools: Path, tmp_path: Path) -> None:
    for name, text in TOO_NEW_STYLES.items():
        (tmp_path / f"{name}.css").write_text(text)
    done = run(tools, STYLELINT, "*.css", cwd=tmp_path)
    output = done.stdout + done.stderr
    assert {name for name in TOO_NEW_STYLES if f"{name}.css" not in output} == set(), output
