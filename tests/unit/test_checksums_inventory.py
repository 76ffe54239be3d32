"""Inventories and what deltas count on: canonical bytes, and one impossible thing at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import delta_bundle
import pytest
import small_bundle
from hypothesis import given
from hypothesis import strategies as st
from small_bundle import Recipe

from bundle import delta, inspection
from bundle.progress import Progress
from checksums.errors import FerryError, HostError, IntegrityError, UsageError
from checksums.inventory import Inventory
from checksums.layout import INSTALLER, MANIFEST, SUMS
from checksums.manifest import Manifest
from installer.verify import Trust

QUIET = Progress(quiet=True)
UNSIGNED = Trust(None, insecure_unsigned=True)
RECIPE = Recipe(is_installable=False)
CONFIG, LICENCE = "payload/model/config.json", "licenses/model/LICENSE"


def inventory_of(recipe: Recipe, *leave: str) -> Inventory:
    """Return the inventory of a server that has this bundle, but for some of its files."""
    manifest = Manifest.parse(dict(small_bundle.members(recipe))[MANIFEST])
    return Inventory(
        "1.0.0-1-abcdef01", 1, {file.sha256: file.size for file in manifest.files if file.path not in leave}
    )


@pytest.fixture
def whole() -> Inventory:
    return inventory_of(RECIPE)


def test_an_inventory_survives_its_own_bytes_and_what_mail_does_to_them(whole: Inventory) -> None:
    assert Inventory.parse(whole.render()) == whole
    assert Inventory.parse(whole.render().replace(b"\n", b"\r\n")) == whole
    assert Inventory.parse(b"\xef\xbb\xbf" + whole.render()) == whole


def signed(raw: dict[str, Any]) -> bytes:
    """Give any content the digest that it has."""
    content = {key: value for key, value in raw.items() if key != "sha256"}
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    return json.dumps(content | {"sha256": small_bundle.digest(text.encode())}).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"release": "../../etc"},
        {"release": 1},
        {"release": ""},
        {"sequence": -1},
        {"sequence": 10**40},
        {"sequence": True},
        {"sequence": "1"},
        {"files": []},
        {"files": None},
        {"files": {"../../etc/passwd": 1}},
        {"files": {"A" * 64: 1}},
        {"files": {"a" * 63: 1}},
        {"files": {"a" * 64: -1}},
        {"files": {"a" * 64: 10**40}},
        {"files": {"a" * 64: 1.0}},
        {"files": {"a" * 64: True}},
        {"files": {"a" * 64: "1"}},
        {"format": 0},
        {"format": "1"},
        {"surprise": 1},
    ],
    ids=str,
)
def test_an_inventory_with_one_impossible_value_is_refused(whole: Inventory, change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="no inventory"):
        Inventory.parse(signed(json.loads(whole.render()) | change))


@pytest.mark.parametrize("lost", ["release", "sequence", "files", "format", "sha256"])
def test_an_inventory_without_one_of_its_fields_is_refused(whole: Inventory, lost: str) -> None:
    raw = json.loads(whole.render())
    del raw[lost]
    with pytest.raises(IntegrityError):
        Inventory.parse(json.dumps(raw).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"sequence": 1', b'"sequence": 2'),
        lambda data: data.replace(b": 15,", b": 16,").replace(b": 24,", b": 25,"),
        lambda data: data[:-20],
        lambda data: data + b"x",
        lambda data: data + data,
        lambda data: b"",
        lambda data: b"[" * 100_000,
        lambda data: b"\xff" + data,
        lambda data: data.replace(b'"format": 1', b'"format": 1, "format": 1'),
        lambda data: data + b" " * (16 << 20),
        lambda data: b"9" * 5000,
    ],
)
def test_an_inventory_that_was_changed_on_its_way_is_refused(
    whole: Inventory, change: Callable[[bytes], bytes]
) -> None:
    assert change(whole.render()) != whole.render()
    with pytest.raises(IntegrityError) as raised:
        Inventory.parse(change(whole.render()))
    assert "ferry inventory" in raised.value.hint


def test_a_newer_inventory_asks_for_a_newer_ferry() -> None:
    with pytest.raises(HostError, match="format 2 is newer"):
        Inventory.parse(b'{"format": 2, "surprise": []}')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_no_json_at_all_makes_the_inventory_parser_stumble(value: object) -> None:
    with pytest.raises(FerryError):
        Inventory.parse(json.dumps(value).encode())


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent.json", tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError):
            delta.read(path)


def test_a_delta_carries_what_the_server_lacks_and_always_the_installer(tmp_path: Path) -> None:
    base = inventory_of(RECIPE, CONFIG)
    manifest, files = delta_bundle.of(RECIPE, base)
    assert set(files) == {INSTALLER, CONFIG}
    assert manifest.base and (manifest.base.release, manifest.base.inventory_sha256) == (base.release, base.sha256)
    verified = inspection.verify(delta_bundle.make(tmp_path, RECIPE, base), UNSIGNED, QUIET)
    assert [file.path for file in verified.left_out] == list(manifest.base.files)
    assert [file.path for file in verified.payload] == [CONFIG]


def test_a_digest_with_another_size_is_not_what_the_server_has(whole: Inventory) -> None:
    lying = Inventory(whole.release, whole.sequence, {digest: size + 1 for digest, size in whole.files.items()})
    manifest, _ = delta_bundle.of(RECIPE, lying)
    assert manifest.base and manifest.base.files == ()


def test_a_delta_and_the_full_bundle_are_one_release(whole: Inventory) -> None:
    full = Manifest.parse(dict(small_bundle.members(RECIPE))[MANIFEST])
    one, _ = delta_bundle.of(RECIPE, whole)
    other, _ = delta_bundle.of(RECIPE, inventory_of(RECIPE, CONFIG))
    assert full.identity == one.identity == other.identity
    changed = Manifest.parse(dict(small_bundle.members(Recipe(is_installable=False, behaviour="other")))[MANIFEST])
    assert changed.identity != full.identity


Raw = dict[str, Any]


def base_files(*paths: str) -> Callable[[Raw], None]:
    return lambda raw: raw["base"].update(files=list(paths))


def add(path: str) -> Callable[[Raw], None]:
    def change(raw: Raw) -> None:
        raw["base"]["files"] = sorted([*raw["base"]["files"], path])

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (add(INSTALLER), "install.pyz"),
        (add(MANIFEST), "manifest.json"),
        (add(SUMS), "SHA256SUMS"),
        (add("../../etc/passwd"), "etc/passwd"),
        (add("/etc/passwd"), "etc/passwd"),
        (add("payload/model/absent"), "absent"),
        (add(CONFIG), "config.json"),
        (add(LICENCE), "twice"),
        (lambda raw: raw["base"]["files"].reverse(), "out of order"),
        (lambda raw: raw["base"]["files"].pop(), "disagree"),
        (base_files(), "disagree"),
        (lambda raw: raw["base"].update(files=[1]), r"base\.files\[0\]"),
        (lambda raw: raw["base"].update(files="payload/model/config.json"), "base.files is not a list"),
        (lambda raw: raw["base"].update(files=["\x1b[2J"]), "cannot be shown"),
        (lambda raw: raw["base"].update(release="../x"), "base"),
        (lambda raw: raw["base"].update(release=7), "base.release"),
        (lambda raw: raw["base"].update(inventory_sha256="0"), "base"),
        (lambda raw: raw["base"].pop("files"), "base.files is missing"),
        (lambda raw: raw.update(base=[]), "base"),
        (lambda raw: raw.update(base=None), "disagree"),
        (lambda raw: raw["files"].remove(next(file for file in raw["files"] if file["path"] == LICENCE)), "LICENSE"),
    ],
)
def test_a_signed_delta_that_contradicts_itself_is_refused(
    tmp_path: Path, change: Callable[[Raw], None], named: str
) -> None:
    manifest, files = delta_bundle.of(RECIPE, inventory_of(RECIPE, CONFIG))
    raw = json.loads(manifest.render())
    change(raw)
    text = (json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    bundle = small_bundle.pack(tmp_path / "b.tar", RECIPE.name, delta_bundle.members(RECIPE, text, files))
    with pytest.raises(IntegrityError, match=named):
        inspection.verify(bundle, UNSIGNED, QUIET)
