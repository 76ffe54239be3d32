"""The page of the installed release: what its folder tells, damaged too, and no other file of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_app import LoggedIn, WebApp, web_app

MANIFEST = {
    "name": "ferry-demo-1.2.0-x86_64",
    "version": "1.2.0",
    "sequence": 7,
    "model": {"id": "maker/tiny", "license": "Apache-2.0", "parameters": 1000, "source": "hub", "revision": "r"},
    "files": [{"path": "a", "size": 2048}],
    "wheels": [{"name": "flask", "version": "3.1.0", "license": "BSD-3-Clause"}],
}

SBOM = {
    "bomFormat": "CycloneDX",
    "metadata": {"component": {"name": "ferry", "licenses": [{"license": {"id": "Apache-2.0"}}]}},
    "components": [
        {
            "purl": "pkg:npm/katex@0.19.1",
            "name": "katex",
            "version": "0.19.1",
            "licenses": [{"license": {"id": "MIT"}}],
        },
        {
            "purl": "pkg:npm/%40owner/high@2.0",
            "name": "@owner/high",
            "version": "2.0",
            "licenses": [{"expression": "BSD-3-Clause AND MIT"}],
        },
        {"purl": "pkg:pypi/flask@3.1.0", "name": "flask", "version": "3.1.0"},
    ],
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("release")) as made:
        made.add_user("root", "administrator")
        yield made


@pytest.fixture(scope="module")
def root(web: WebApp) -> LoggedIn:
    return web.login("root")


def test_the_release_shows_what_its_folder_tells(web: WebApp, root: LoggedIn) -> None:
    release = web.paths.release
    assert "ferry verify" in root.client.get("/admin/release").text  # nothing is there yet
    (release / "manifest.json").write_text(json.dumps(MANIFEST))
    (release / "SHA256SUMS.signers").write_text("SHA256:abc\n")
    (release / "sbom.cdx.json").write_text(json.dumps(SBOM))
    for name in ("ferry", "scripts/katex-0.19.1", "scripts/@owner/high-2.0", "wheels/flask-3.1.0/licenses/more"):
        (release / "licenses" / name).mkdir(parents=True)
        (release / "licenses" / name / "LICENSE.txt").write_text("text")
    (release / "licenses" / "wheels" / "flask-3.1.0" / "LICENSE").write_text("Copyright <script>alert(1)</script>")
    page = root.client.get("/admin/release").text
    for words in ("1.2.0", "maker/tiny", "BSD-3-Clause", "SHA256:abc", "flask-3.1.0"):
        assert words in page
    rows = re.findall(r'scope="row">([^ <]+).*?</th><td[^>]*>(.*?)</td>', page)
    assert rows == [
        ("ferry", "Apache-2.0"),
        ("model", "Apache-2.0"),
        ("katex-0.19.1", "MIT"),
        ("flask-3.1.0", "BSD-3-Clause"),
        ("@owner/high-2.0", "BSD-3-Clause AND MIT"),
    ]
    (link,) = re.findall(r'href="(/admin/release/licence\?file=[^"]+flask-3.1.0/LICENSE)"', page)
    assert "Copyright &lt;script&gt;" in root.client.get(link).text
    sbom = root.client.get("/admin/release/sbom")
    assert sbom.json == SBOM and "attachment" in sbom.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "name", ["../manifest.json", "/etc/passwd", "", ".", "wheels", "wheels/../../manifest.json", "\0"]
)
def test_no_licence_leads_to_another_file(web: WebApp, root: LoggedIn, name: str) -> None:
    (web.paths.release / "manifest.json").write_text(json.dumps(MANIFEST))
    assert root.client.get("/admin/release/licence", query_string={"file": name}).status_code == 404


def test_a_link_among_the_licences_is_not_followed(web: WebApp, root: LoggedIn) -> None:
    folder = web.paths.release / "licenses" / "odd"
    folder.mkdir(parents=True)
    (folder / "LICENSE").symlink_to(Path("/etc/passwd"))
    assert root.client.get("/admin/release/licence?file=odd/LICENSE").status_code == 404


def test_a_manifest_that_is_damaged_breaks_no_page(web: WebApp, root: LoggedIn) -> None:
    for text in ("", "[]", "{", '{"files": [{}], "model": null, "wheels": [{}]}'):
        (web.paths.release / "manifest.json").write_text(text)
        assert root.client.get("/admin/release").status_code == 200, text
    for text in ('{"components": {}}', '{"metadata": [], "components": [1, {"purl": "pkg:npm/x", "licenses": [1]}]}'):
        (web.paths.release / "sbom.cdx.json").write_text(text)
        assert root.client.get("/admin/release").status_code == 200, text
