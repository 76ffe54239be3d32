"""The bill of materials: valid by the official schema, naming everything, the same bytes each time, safe to show."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_bundle
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from small_bundle import Recipe

from bundle import artifacts, components, sbom
from bundle.wheel_info import WheelInfo
from checksums.errors import IntegrityError
from checksums.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
INTERPRETER = "payload/python/cpython-3.11.14.tar.gz"
FILES = {
    "payload/model/model-00002-of-00002.safetensors": b"more weights",
    "payload/wheels/torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl": b"a wheel",
    "payload/wheels/odd-1.0-py3-none-any.whl": b"another wheel",
    INTERPRETER: b"an interpreter",
    components.RECORD: (ROOT / components.VENDORED / "README.md").read_bytes(),
    **{
        f"{components.APP_FOLDER}{components.VENDORED}{name}": (ROOT / components.VENDORED / name).read_bytes()
        for name in ("markdown-it.umd.min.js", "purify.min.js")
    },
}


@pytest.fixture
def manifest() -> Manifest:
    recipe = Recipe(more=FILES, is_installable=False)
    made = small_bundle.manifest(recipe, small_bundle._files(recipe))
    licences = {"torch": "Apache-2.0 AND BSD-3-Clause", "odd": "A licence of <its> own, \u00e9"}
    wheels = tuple(dataclasses.replace(wheel, license=licences[wheel.name]) for wheel in made.wheels)
    model = dataclasses.replace(
        made.model,
        source="modelscope",
        id="Qwen/Qwen1.5-0.5B-Chat",
        commit="9dedd8d8a1b2c3d4e5f60718293a4b5c6d7e8f90",
        license="Tongyi Qianwen RESEARCH LICENSE (no commercial use)",
    )
    python = dataclasses.replace(made.python, source="standalone", version="3.11.14")
    return dataclasses.replace(made, wheels=wheels, model=model, python=python)


def rendered(manifest: Manifest) -> bytes:
    return sbom.render(manifest, components.of(manifest, FILES[components.RECORD].decode()))


def by_name(data: bytes) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads(data)["components"]}


def test_it_is_valid_by_the_official_schema(manifest: Manifest) -> None:
    data = rendered(manifest)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    assert (json.loads(data)["bomFormat"], json.loads(data)["specVersion"]) == ("CycloneDX", "1.6")


def test_it_names_every_wheel_the_interpreter_and_the_model_with_version_digest_and_licence(manifest: Manifest) -> None:
    found = by_name(rendered(manifest))
    digests = {file.path: file.sha256 for file in manifest.files}
    expected = {wheel.name: (wheel.version, digests[wheel.file]) for wheel in manifest.wheels}
    expected["python"] = ("3.11.14", digests[INTERPRETER])
    lines = [f"{digest}  {path}\n" for path, digest in sorted(digests.items()) if path.startswith("payload/model/")]
    expected[manifest.model.id] = (manifest.model.commit, hashlib.sha256("".join(lines).encode()).hexdigest())
    scripts = {"markdown-it.umd.min.js": ("markdown-it", "15.0.3"), "purify.min.js": ("dompurify", "3.4.18")}
    folder = f"{components.APP_FOLDER}{components.VENDORED}"
    for file, (name, version) in scripts.items():
        expected[name] = (version, digests[f"{folder}{file}"])
    assert {name: (one["version"], one["hashes"][0]["content"]) for name, one in found.items()} == expected
    assert all(one["licenses"] for one in found.values())
    assert found["torch"]["licenses"] == [{"expression": "Apache-2.0 AND BSD-3-Clause"}]
    assert found["odd"]["licenses"] == [{"license": {"name": "A licence of <its> own, \u00e9"}}]
    assert found["python"]["licenses"] == [{"license": {"id": "PSF-2.0"}}]


def test_the_model_carries_its_files_its_page_and_that_it_is_not_for_commerce(manifest: Manifest) -> None:
    model = by_name(rendered(manifest))[manifest.model.id]
    assert model["type"] == "machine-learning-model"
    assert model["licenses"] == [{"license": {"name": "Tongyi Qianwen RESEARCH LICENSE"}}]
    assert {"name": "ferry:commercial-use", "value": "false"} in model["properties"]
    files = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    assert files == {file.path: file.sha256 for file in manifest.files if file.path.startswith("payload/model/")}
    assert model["externalReferences"][0]["url"].endswith("/models/Qwen/Qwen1.5-0.5B-Chat")


def test_a_hubs_digest_stands_beside_ours_where_they_differ(manifest: Manifest) -> None:
    path = "payload/model/model.safetensors"
    files = [
        dataclasses.replace(file, upstream_sha256="a" * 64) if file.path == path else file for file in manifest.files
    ]
    model = by_name(rendered(dataclasses.replace(manifest, files=tuple(files))))[manifest.model.id]
    (file,) = [one for one in model["components"] if one["name"] == path]
    assert file["properties"] == [{"name": "ferry:upstream-sha256", "value": "a" * 64}]


def test_the_servers_own_python_is_no_component_but_is_said(manifest: Manifest) -> None:
    python = dataclasses.replace(manifest.python, source="host", version="")
    files = tuple(file for file in manifest.files if file.path != INTERPRETER)
    data = rendered(dataclasses.replace(manifest, python=python, files=files))
    assert "python" not in by_name(data)
    assert {"name": "ferry:python", "value": "host the server's own"} in json.loads(data)["metadata"]["properties"]


PROGRAM = """
import sys
from bundle import components, sbom
from checksums.manifest import Manifest
manifest = Manifest.parse(sys.stdin.buffer.read())
sys.stdout.buffer.write(sbom.render(manifest, components.of(manifest, open(sys.argv[1]).read())))
"""


def test_the_same_bundle_gives_the_same_bytes_wherever_and_whenever(manifest: Manifest) -> None:
    made = set()
    for seed, zone in (("1", "UTC"), ("99", "Pacific/Kiritimati")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        command = [sys.executable, "-c", PROGRAM, str(ROOT / components.VENDORED / "README.md")]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, input=manifest.render(), capture_output=True, check=True
        )
        made.add(done.stdout)
    assert made == {rendered(manifest)}


@pytest.mark.parametrize("change", [{"sequence": 2}, {"created": "2025-01-01T00:00:01Z"}])
def test_another_bundle_has_another_serial_number(manifest: Manifest, change: dict[str, int | str]) -> None:
    one, other = (
        json.loads(rendered(dataclasses.replace(manifest, **values)))["serialNumber"] for values in ({}, change)
    )
    assert one != other


def test_a_bundle_lists_its_own_bill(manifest: Manifest) -> None:
    bare = dataclasses.replace(manifest, files=tuple(f for f in manifest.files if f.path != "sbom.cdx.json"))
    listed, carried = artifacts.with_sbom(bare, [], ROOT)
    entry = listed.file("sbom.cdx.json")
    assert entry is not None and entry.sha256 == hashlib.sha256(rendered(bare)).hexdigest()
    assert [one.path for one in carried] == ["sbom.cdx.json"]
    assert Manifest.parse(listed.render()) == listed


def test_the_summary_names_the_model_before_the_libraries(manifest: Manifest) -> None:
    lines = sbom.text(rendered(manifest)).splitlines()
    assert lines[0].startswith("CycloneDX 1.6, 7 components, urn:uuid:")
    kinds = [line.split()[0] for line in lines[1:]]
    assert kinds == ["application", "machine-learning-model", "platform", *["library"] * 4]
    assert "9dedd8d8a1b2…" in lines[2] and "RESEARCH" in lines[2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"metadata": {"component": 1}, "specVersion": 1, "serialNumber": 1}',
        b'{"metadata": {"component": {"type": "x", "name": "\\u001b[2J"}}, "specVersion": 1, "serialNumber": 1}',
        b'{"metadata": {"component": {"type": [], "name": {}, "hashes": [{"content": 7}], "licenses": [3]}}}',
        b'{"metadata": {"component": {"type": "x", "name": "x"}}, "components": 5}',
    ],
)
def test_what_is_no_bill_is_refused_and_never_shown(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"sbom\.cdx\.json"):
        sbom.text(data)


def test_a_wheel_without_a_text_gets_the_standard_text_of_apaches_licence_and_no_other() -> None:
    apache = b"the text"
    info = WheelInfo("Apache Software License", {}, 0, 0)
    assert artifacts.wheel_texts(info, apache) == {"Apache-2.0.txt": apache}
    assert artifacts.wheel_texts(dataclasses.replace(info, license="MIT"), apache) == {}
    own = dataclasses.replace(info, license_texts={"LICENSE": b"its own"})
    assert artifacts.wheel_texts(own, apache) == {"LICENSE": b"its own"}
    assert b"[name of copyright owner]" in (ROOT / "LICENSE").read_bytes(), "Ferry's LICENSE is the unchanged text"
