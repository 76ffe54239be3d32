"""inspect and diff: what they say of good bundles, and that no hostile one gets more than a refusal out of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import delta_bundle
import pytest
import small_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from small_bundle import Recipe

from bundle import comparison, components, glance, inspection, licences, overview, sbom
from bundle.progress import Progress
from checksums.errors import FerryError, IntegrityError, UsageError
from checksums.inventory import Inventory
from checksums.layout import MANIFEST, NEXT_SIGNERS, SBOM, SUMS
from checksums.manifest import Manifest
from installer.verify import Trust

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "payload/wheels/{}-py3-none-any.whl"
OLD = Recipe(
    is_installable=False,
    more={
        WHEEL.format("alpha-1.0"): b"one",
        WHEEL.format("beta-1.0"): b"two",
        WHEEL.format("gamma-1.0"): b"three",
        components.RECORD: (ROOT / components.VENDORED / "README.md").read_bytes(),
    },
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle.make_key(tmp_path_factory.mktemp("keys") / "key")


def write(folder: Path, recipe: Recipe, change: Callable[[dict[str, Any]], object] = lambda raw: None) -> Path:
    """Write a bundle whose manifest was changed after it was made, and whose lists go with it."""
    files = small_bundle._files(recipe)
    raw = json.loads(small_bundle.manifest(recipe, files).render())
    change(raw)
    listed = {**files, MANIFEST: json.dumps(raw).encode()}
    content = small_bundle.signed(recipe, listed)
    content += [(path, listed[path]) for path in small_bundle.member_order(listed)]
    return small_bundle.pack(folder / f"{recipe.name}.tar", recipe.name, content)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bundle", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_overview_answers_what_is_asked_first(tmp_path: Path, key: Path) -> None:
    seen = glance.at(write(tmp_path, dataclasses.replace(OLD, keys=(key,), license="GPL-3.0-only")))
    text = overview.text(seen, with_files=False)
    assert text.splitlines()[0] == OLD.name
    assert "not proved" in text.splitlines()[1]
    assert "the server's own; none travels" in text
    assert f"with {seen.signed_by[0]} (not checked)" in text and seen.signed_by[0].startswith("SHA256:")
    assert "passing it on, changed or built into something" in text
    assert "3 wheels" in text
    assert "\n  payload/model/config.json  " not in text
    assert "\n  payload/model/config.json  " in overview.text(seen, with_files=True)


def test_the_list_of_keys_that_a_bundle_brings_is_never_overlooked(tmp_path: Path) -> None:
    old = glance.at(write(tmp_path, OLD))
    (tmp_path / "new").mkdir()
    new = glance.at(write(tmp_path / "new", dataclasses.replace(OLD, more={**OLD.more, NEXT_SIGNERS: b"keys"})))
    said = f"brings another list of trusted keys, sha256:{hashlib.sha256(b'keys').hexdigest()}"
    assert said in overview.text(new, with_files=False) and said not in overview.text(old, with_files=False)
    assert f"  ! the new bundle {said}" in comparison.text(comparison.compare(old, new)).splitlines()


def test_inspect_and_verify_count_the_same_files(tmp_path: Path) -> None:
    path = small_bundle.make(tmp_path, OLD)
    verified = inspection.verify(path, Trust(None, insecure_unsigned=True), Progress(quiet=True))
    assert glance.at(path).file_count == len(verified.digests)


def test_an_overview_says_what_is_unsigned_and_what_a_model_forbids(tmp_path: Path) -> None:
    recipe = dataclasses.replace(OLD, license="Research Licence (no commercial use)")
    text = overview.text(glance.at(write(tmp_path, recipe)), with_files=False)
    assert "NOT SIGNED" in text and "NOT FOR COMMERCIAL USE" in text


def changed(raw: dict[str, Any]) -> None:
    """What a new release may bring."""
    raw["model"] |= {"id": "nobody/bigger", "commit": "2", "license": "Research Licence (no commercial use)"}
    raw["target"]["python"] = "3.13"
    for wheel in raw["wheels"]:
        if wheel["name"] == "gamma":
            wheel["license"] = "AGPL-3.0-only"


@pytest.fixture
def found(tmp_path: Path, key: Path) -> dict[str, Any]:
    more = {
        **OLD.more,
        WHEEL.format("beta-2.0"): b"two, newer",
        WHEEL.format("delta-1.0"): b"four",
        "payload/app/service/more.py": b"x = 1\n",
    }
    more[WHEEL.format("gamma-1.0")] = b"three, another file"
    for name in ("alpha-1.0", "beta-1.0"):
        del more[WHEEL.format(name)]
    new = dataclasses.replace(OLD, version="1.1.0", behaviour="better", more=more)
    paths = (write(tmp_path, dataclasses.replace(OLD, keys=(key,))), write(tmp_path, new, changed))
    before, after = (glance.at(path, {components.RECORD}) for path in paths)
    return comparison.compare(before, after)


def test_a_comparison_names_what_came_what_went_and_what_changed(found: dict[str, Any]) -> None:
    packages = found["packages"]
    assert [row["name"] for row in packages["added"]] == ["delta"]
    assert [row["name"] for row in packages["removed"]] == ["alpha"]
    versions = {row["name"]: (row["old"]["version"], row["new"]["version"]) for row in packages["changed"]}
    assert versions == {"beta": ("1.0", "2.0"), "gamma": ("1.0", "1.0")}
    assert found["model"]["id"] == {"old": "nobody/small", "new": "nobody/bigger"}
    assert found["target"] == {"python": {"old": small_bundle.PYTHON, "new": "3.13"}}
    assert found["service"] == {"added": ["service/more.py"], "removed": [], "changed": ["service/behaviour"]}
    assert found["model_files"] == {"added": [], "removed": [], "changed": []}
    assert found["installer"] == {}


def test_a_comparison_warns_of_what_nobody_may_overlook(found: dict[str, Any]) -> None:
    worse = {row["name"]: (row["old_use"], row["new_use"]) for row in found["licences_worse"]}
    assert worse == {"nobody/bigger": ("free", "no-commercial-use"), "gamma": ("free", "care")}
    text = "\n".join(found["watch"])
    for words in ("same sequence and differ", "another model", "another kind of server", "NOT SIGNED", "gamma: MIT ->"):
        assert words in text
    shown = comparison.text(found)
    for words in (
        "  + delta 1.0  (MIT)",
        "  - alpha 1.0",
        "  ~ beta 1.0 -> 2.0",
        "same version, another file  (MIT -> AG",
    ):
        assert words in shown


def test_two_like_bundles_have_no_differences(tmp_path: Path) -> None:
    seen = glance.at(write(tmp_path, OLD), {components.RECORD})
    found = comparison.compare(seen, seen)
    assert (found["watch"], found["licences_worse"], found["model"]) == ([], [], {})
    assert found["packages"]["changed"] == [] and found["packages"]["unchanged"] == 3
    assert comparison.text(found).count("unchanged") == 8


def test_a_delta_without_the_scripts_still_names_them(tmp_path: Path) -> None:
    script = f"{components.APP_FOLDER}{components.VENDORED}purify.min.js"
    recipe = dataclasses.replace(OLD, more={**OLD.more, script: b"1;"})
    full = glance.at(write(tmp_path, recipe), {components.RECORD})
    base = Inventory("1.0.0-1-abcdef01", 0, {file.sha256: file.size for file in full.manifest.files})
    found = comparison.compare(full, glance.at(delta_bundle.make(tmp_path, recipe, base), {components.RECORD}))
    assert [row["name"] for row in found["packages"]["removed"]] == []
    assert found["packages"]["unchanged"] == 4


@pytest.mark.parametrize("words", [["inspect"], ["verify", "--insecure-unsigned"], ["diff", "good.tar"]])
def test_what_is_no_bundle_is_named(tmp_path: Path, words: list[str]) -> None:
    write(tmp_path, OLD).rename(tmp_path / "good.tar")
    (tmp_path / "other.tar").write_bytes(b"x" * 2048)
    done = run(*(tmp_path / word if word.endswith(".tar") else word for word in words), tmp_path / "other.tar")
    assert (done.returncode, done.stderr.count("other.tar")) == (3, 1)


def test_an_older_bundle_is_said_to_be_refused(tmp_path: Path) -> None:
    new = glance.at(write(tmp_path, dataclasses.replace(OLD, sequence=7)))
    old = glance.at(write(tmp_path, dataclasses.replace(OLD, sequence=8)))
    assert "a server that had the old one refuses it" in comparison.compare(old, new)["watch"][0]


def listing(raw: dict[str, Any], path: str) -> dict[str, Any]:
    return next(file for file in raw["files"] if file["path"] == path)


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no files": lambda raw: raw.pop("files"),
    "files of another kind": lambda raw: raw.update(files={"a": 1}),
    "a file that is a number": lambda raw: raw["files"].append(7),
    "a path that climbs": lambda raw: raw["files"][0].update(path="../../etc/passwd"),
    "a path twice": lambda raw: raw["files"].append(raw["files"][0]),
    "an absolute path": lambda raw: raw["files"][0].update(path="/etc/passwd"),
    "a file outside its folders": lambda raw: raw["files"][0].update(path="etc/passwd"),
    "a size below nothing": lambda raw: raw["files"][0].update(size=-1),
    "a size beyond reason": lambda raw: raw["files"][0].update(size=1 << 70),
    "a size that is true": lambda raw: raw["files"][0].update(size=True),
    "a digest that is none": lambda raw: raw["files"][0].update(sha256="0" * 63),
    "a mode that runs as root": lambda raw: raw["files"][0].update(mode="4755"),
    "an escape in a name": lambda raw: raw["model"].update(id="x\x1b[2Jy"),
    "an escape in a licence": lambda raw: raw["wheels"][0].update(license="\x1b]0;x\x07"),
    "a wheel that is not there": lambda raw: raw["wheels"][0].update(file=WHEEL.format("alpha-9.9")),
    "a wheel of another name": lambda raw: raw["wheels"][0].update(name="omega"),
    "a wheel twice": lambda raw: raw["wheels"].append(raw["wheels"][0]),
    "a model that is a list": lambda raw: raw.update(model=[]),
    "a number of parameters below nothing": lambda raw: raw["model"].update(parameters=-1),
    "a name that climbs": lambda raw: raw.update(name=".."),
    "a name that is an option": lambda raw: raw.update(name="--help"),
    "a sequence in words": lambda raw: raw.update(sequence="one"),
    "a Python that cannot be": lambda raw: raw["target"].update(python="2.7; rm -rf /"),
    "a base that is a list": lambda raw: raw.update(base=[1]),
    "a base with other files": lambda raw: raw.update(base={"release": "x", "inventory_sha256": "0", "files": [1]}),
    "an older format": lambda raw: raw.update(format=0),
}


def look(path: Path) -> list[str]:
    """Do all that the commands do with a bundle, and return what they would print."""
    seen = glance.at(path, {components.RECORD, SBOM})
    carried = components.of(seen.manifest, seen.text(components.RECORD))
    report = licences.report(carried, [file.path for file in seen.manifest.files])
    found = comparison.compare(seen, seen)
    return [overview.text(seen, True), licences.text(seen.manifest.name, report), comparison.text(found)]


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_hostile_manifest_is_refused_and_named(case: str, tmp_path: Path) -> None:
    path = write(tmp_path, OLD, MANIFESTS[case])
    with pytest.raises(IntegrityError) as caught:
        look(path)
    assert (caught.value.exit_code, MANIFEST in caught.value.message or "path" in caught.value.message) == (3, True)


def packed(tmp_path: Path, content: list[tuple[str, bytes]]) -> Path:
    return small_bundle.pack(tmp_path / "x.tar", OLD.name, content)


def good() -> list[tuple[str, bytes]]:
    return small_bundle.members(OLD)


def replaced(path: str, data: bytes) -> list[tuple[str, bytes]]:
    return [(name, data if name == path else old) for name, old in good()]


BUNDLES: dict[str, Callable[[], list[tuple[str, bytes]]]] = {
    "nothing in it": list,
    "the manifest first": lambda: good()[1:],
    "no manifest": lambda: [member for member in good() if member[0] != MANIFEST],
    "a manifest of megabytes": lambda: replaced(MANIFEST, b" " * (17 << 20)),
    "a manifest that is no text": lambda: replaced(MANIFEST, b"\xff\xfe"),
    "a manifest without end": lambda: replaced(MANIFEST, b"[" * 200_000),
    "a key twice": lambda: replaced(MANIFEST, b'{"format": 1, "format": 1}'),
    "digests that are none": lambda: replaced(SUMS, b"hello\n"),
    "a signature that is none": lambda: [good()[0], ("SHA256SUMS.sig", b"x" * 100), *good()[1:]],
    "a signature beyond reason": lambda: [good()[0], ("SHA256SUMS.sig", b"x" * (1 << 20)), *good()[1:]],
    "a record that differs": lambda: replaced(components.RECORD, b"| other"),
    "a bill that differs": lambda: replaced(SBOM, b"{ }\n"),
    "no bill": lambda: [member for member in good() if member[0] != SBOM],
}


@pytest.mark.parametrize("case", BUNDLES)
def test_a_hostile_bundle_is_refused(case: str, tmp_path: Path) -> None:
    path = packed(tmp_path, BUNDLES[case]())
    with pytest.raises(IntegrityError):
        look(path)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_bundle_with_any_few_bytes_changed_is_read_or_refused_and_shows_nothing_odd(
    tmp_path_factory: pytest.TempPathFactory, choose: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    data = bytearray(write(folder, OLD).read_bytes())
    end = data.index(b"install.pyz\0")
    for place in choose.draw(st.lists(st.integers(0, end), min_size=1, max_size=4)):
        data[place] = choose.draw(st.integers(0, 255))
    path = folder / "x.tar"
    path.write_bytes(data)
    try:
        shown = look(path)
    except FerryError as error:
        assert error.message
    else:
        assert "".join(shown).replace("\n", "").isprintable()


def test_the_commands_refuse_hostile_bundles_with_exit_3_and_no_traceback(tmp_path: Path) -> None:
    bad = write(tmp_path, OLD, MANIFESTS["an escape in a name"])
    fine = write(tmp_path / "fine", OLD)
    for words in (["inspect"], ["inspect", "--sbom"], ["inspect", "--licenses"], ["diff", fine], ["diff", bad]):
        done = run(*words, bad)
        assert (done.returncode, done.stdout) == (3, ""), words
        assert MANIFEST in done.stderr and "Traceback" not in done.stderr
    done = run("inspect", "--sbom", fine)
    assert done.returncode == 3 and "not a bill of materials" in done.stderr, "the small bundle's is a stand-in"


def test_a_pipe_is_no_bundle_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(UsageError, match=r"pipe\.tar: not a file that can be read"):
        glance.at(tmp_path / "pipe.tar")


def test_the_commands_speak_json_and_text(tmp_path: Path) -> None:
    bare = {path: data for path, data in small_bundle._files(OLD).items() if path != SBOM}
    manifest = small_bundle.manifest(OLD, bare)
    bill = sbom.render(manifest, components.of(manifest, bare[components.RECORD].decode()))
    path = write(tmp_path, dataclasses.replace(OLD, more={**OLD.more, SBOM: bill}))
    assert Manifest.parse(run("inspect", path, "--json").stdout.encode()).name == OLD.name
    assert run("inspect", path, "--sbom", "--json").stdout.encode() == bill
    assert "machine-learning-model" in run("inspect", path, "--sbom").stdout
    assert json.loads(run("inspect", path, "--licenses", "--json").stdout)["commercial_use"] is True
    assert json.loads(run("diff", path, path, "--json").stdout)["watch"] == []
    assert run("inspect", path, "--sbom", "--licenses").returncode == 2
    assert "python -m bundle diff" in run("diff", "--help").stdout
