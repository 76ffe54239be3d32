"""What a trusted key may have signed and no server can install: refused by name, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_bundle
from small_bundle import Recipe

from checksums import contents
from checksums.errors import IntegrityError
from checksums.layout import INSTALLER, MANIFEST, SUMS, member_order
from checksums.manifest import Manifest
from installer.verify import Trust, open_bundle

FILES = {INSTALLER: b"", "payload/wheels/six-1.0-py3-none-any.whl": b"", "payload/model/config.json": b"{}"}
WHEEL = ("six", "1.0", "payload/wheels/six-1.0-py3-none-any.whl")


def raw_manifest() -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(small_bundle.manifest(Recipe(), FILES).render())
    return raw


def parse(raw: dict[str, Any]) -> Manifest:
    return Manifest.parse(json.dumps(raw).encode())


@pytest.mark.parametrize(
    "path",
    [
        "payload/manifest.json", "payload/install.pyz", "payload/SHA256SUMS.2.sig", "SHA256SUMS.2.sig", "SHA256SUMS",
        "manifest.json", "payload/venv", "payload/venv/bin/python", "payload/current", "payload", "payload/app",
        "payload/licenses/model/LICENSE", "payload/.staging-x", "licenses", "PAYLOAD/x", "README.md",
    ],
)  # fmt: skip
def test_a_file_outside_the_bundles_folders_is_refused(path: str) -> None:
    with pytest.raises(IntegrityError, match="no place in a bundle"):
        Manifest.parse(small_bundle.manifest(Recipe(), FILES | {path: b"x"}).render())


def test_a_file_that_is_another_ones_folder_is_refused() -> None:
    files = FILES | {"licenses/a": b"", "licenses/a/b": b""}
    with pytest.raises(IntegrityError, match="licenses/a is a file and the folder of licenses/a/b"):
        Manifest.parse(small_bundle.manifest(Recipe(), files).render())
    assert list(contents.path_faults(["licenses/a", "licenses/a.b", "licenses/ab/c"])) == []


@pytest.mark.parametrize(
    ("wheel", "fault"),
    [
        (("six", "1.0", "payload/model/config.json"), "is not a wheel"),
        (("seven", "1.0", WHEEL[2]), "is not a wheel of 'seven'"),
        (("six\n-r /etc/passwd", "1.0", WHEEL[2]), "is not a wheel"),
        (("--index-url=http://a", "1.0", WHEEL[2]), "is not a wheel"),
        (("six", "1.0 ; x", WHEEL[2]), "is not a wheel"),
        (("six", "1.0", "payload/wheels/a/six-1.0-py3-none-any.whl"), "is not a wheel"),
    ],
)
def test_a_wheel_that_cannot_be_installed_by_its_name_is_refused(wheel: tuple[str, str, str], fault: str) -> None:
    assert fault in "\n".join(contents.wheel_faults([wheel], FILES))


def test_wheels_and_their_list_are_the_same() -> None:
    assert list(contents.wheel_faults([WHEEL], FILES)) == []
    assert list(contents.wheel_faults([], FILES)) == [f"{WHEEL[2]} is among no wheels"]
    assert list(contents.wheel_faults([WHEEL], [])) == [f"{WHEEL[2]} is missing"]
    assert list(contents.wheel_faults([WHEEL, ("Six", *WHEEL[1:])], FILES)) == ["six is there twice"]
    odd = ("ruamel.yaml", "1.0+cpu", "payload/wheels/ruamel_yaml-1.0+cpu-1-cp311-cp311-manylinux_2_28_x86_64.whl")
    assert list(contents.wheel_faults([odd], [odd[2]])) == []


def put(*where: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        *folders, last = where
        for folder in folders:
            raw = raw[folder]
        raw[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("requires", "disk_bytes", value=10**400),
        put("requires", "ram_bytes", value=10**400),
        put("model", "parameters", value=10**400),
        put("sequence", value=10**300),
        put("model", "id", value="a\ud800"),
        put("model", "license", value="MIT\x1b[2J"),
        put("model", "license", value="MIT\nerror: none"),
        put("base", value={"a": "\ud800"}),
        put("target", "python", value="3"),
        put("target", "python", value="../3.11"),
        put("target", "glibc", value="9" * 5000),
        put("target", "glibc", value="new"),
        put("version", value="1..0"),
        put("name", value="ferry-" + "x" * 77),
    ],
)
def test_a_value_on_which_an_installer_would_stumble_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    raw = raw_manifest()
    parse(raw)
    change(raw)
    with pytest.raises(IntegrityError):
        parse(raw)


def test_the_head_has_the_size_and_the_modes_that_the_manifest_says(tmp_path: Path) -> None:
    files = small_bundle._files(Recipe(is_installable=False))
    good = small_bundle.manifest(Recipe(), files)
    entries = tuple(replace(file, size=1) if file.path == INSTALLER else file for file in good.files)
    listed = {**files, MANIFEST: replace(good, files=entries).render()}
    content = [(SUMS, small_bundle.signed(Recipe(), listed)[0][1]), *((p, listed[p]) for p in member_order(listed))]
    bundle = small_bundle.pack(tmp_path / "b.tar", good.name, content)
    with bundle.open("rb") as stream, pytest.raises(IntegrityError, match=r"install\.pyz: size or mode differs"):
        open_bundle(stream, Trust(None, insecure_unsigned=True))


def test_a_head_member_with_another_mode_is_refused(tmp_path: Path) -> None:
    bundle = small_bundle.make(tmp_path, Recipe(is_installable=False))
    data = bytearray(bundle.read_bytes())
    data[100:107], data[148:156] = b"0000755", b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    bundle.write_bytes(data)
    with bundle.open("rb") as stream, pytest.raises(IntegrityError, match="SHA256SUMS: mode 0755"):
        open_bundle(stream, Trust(None, insecure_unsigned=True))
