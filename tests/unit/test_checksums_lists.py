"""SHA256SUMS and manifest.json: canonical bytes, and one thing broken at a time."""

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checksums import sums
from checksums.errors import FerryError, HostError, IntegrityError
from checksums.hashing import sha256_file
from checksums.layout import member_order
from checksums.manifest import File, Manifest, Model, Python, Requires, Target, Wheel

DIGEST = "0" * 63 + "a"


def manifest():
    return Manifest(
        format=1,
        name="ferry-demo-1.0-x86_64",
        profile="demo",
        version="1.0",
        sequence=7,
        created="2026-01-01T00:00:00Z",
        target=Target("3.11", "x86_64", "2.28"),
        python=Python("host", ""),
        model=Model("pypi", "a/b", "1.0", "", "Apache-2.0", "float16", 10),
        wheels=(Wheel("six", "1.0", "payload/wheels/six-1.0-py3-none-any.whl", "index", "MIT"),),
        files=(
            File("install.pyz", 1, DIGEST, "0644"),
            File("payload/wheels/six-1.0-py3-none-any.whl", 2, DIGEST, "0644", DIGEST),
        ),
        requires=Requires(1, 2),
    )


def test_the_list_is_what_sha256sum_reads(tmp_path):
    (tmp_path / "b").write_bytes(b"hello\n")
    (tmp_path / "a b").write_bytes(b"")
    digests = {name: sha256_file(tmp_path / name) for name in ("b", "a b")}
    (tmp_path / "SHA256SUMS").write_bytes(sums.render(digests))
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "a b: OK\nb: OK\n"
    assert sums.parse(sums.render(digests)) == digests


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{DIGEST}  a",
        f"{DIGEST} a\n",
        f"{DIGEST} *a\n",
        f"{DIGEST.upper()}  a\n",
        f"{DIGEST}  a\r\n",
        f"{DIGEST}  ../a\n",
        f"{DIGEST}  /a\n",
        f"{DIGEST}  a\n{DIGEST}  a\n",
        f"{DIGEST}  b\n{DIGEST}  a\n",
        f"\\{DIGEST}  a\n",
        f"{DIGEST}  a\n\n",
        "é\n",
    ],
)
def test_a_list_in_any_other_form_is_refused(text):
    with pytest.raises(IntegrityError):
        sums.parse(text.encode())


def test_members_stand_in_the_contracts_order():
    paths = ["sbom.cdx.json", "payload/wheels/a.whl", "payload/python/p.tar.gz", "licenses/x", "install.pyz"]
    paths += ["payload/model/a", "manifest.json", "payload/app/service/x.py"]
    assert member_order(paths) == [
        "manifest.json",
        "install.pyz",
        "payload/python/p.tar.gz",
        "licenses/x",
        "payload/app/service/x.py",
        "payload/model/a",
        "payload/wheels/a.whl",
        "sbom.cdx.json",
    ]


def test_a_manifest_survives_its_own_bytes():
    assert Manifest.parse(manifest().render()) == manifest()


def test_install_sh_can_find_the_target_python_in_the_canonical_bytes():
    assert b'\n  "python": "3.11"' in manifest().render()


def test_a_newer_format_is_this_hosts_trouble_not_damage():
    with pytest.raises(HostError, match="format 2 is newer"):
        Manifest.parse(b'{"format": 2, "surprise": []}')


@pytest.mark.parametrize("lost", [field for field in json.loads(manifest().render()) if field != "base"])
def test_a_manifest_without_one_of_its_fields_is_refused_by_name(lost):
    raw = json.loads(manifest().render())
    del raw[lost]
    with pytest.raises(IntegrityError, match=lost):
        Manifest.parse(json.dumps(raw).encode())


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("files.0.path", "../x"),
        ("files.0.path", "payload/wheels/six-1.0-py3-none-any.whl"),
        ("files.0.size", -1),
        ("files.0.size", "1"),
        ("files.0.size", True),
        ("files.0.sha256", "A" * 64),
        ("files.0.mode", "0777"),
        ("files.1.upstream_sha256", "x"),
        ("wheels.0.file", "payload/wheels/absent.whl"),
        ("version", "../../1"),
        ("profile", ""),
        ("sequence", -1),
        ("format", 0),
        ("created", "yesterday"),
        ("created", "2026-02-30T00:00:00Z"),
        ("created", "2026-1-1T0:0:0Z"),
        ("target", []),
        ("files", {}),
        ("base", 3),
    ],
)
def test_a_manifest_with_one_impossible_value_is_refused(where, value):
    raw = json.loads(manifest().render())
    *folders, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    place = raw
    for part in folders:
        place = place[part]
    place[last] = value
    with pytest.raises(IntegrityError):
        Manifest.parse(json.dumps(raw).encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_json_at_all_makes_the_parser_stumble(value):
    with pytest.raises(FerryError):
        Manifest.parse(json.dumps(value).encode())


def test_a_key_that_occurs_twice_is_refused():
    with pytest.raises(IntegrityError, match="twice"):
        Manifest.parse(b'{"format": 1, "format": 1}')


def test_more_wheels_than_there_can_be_are_refused():
    raw = json.loads(manifest().render())
    raw["wheels"] *= 2001
    with pytest.raises(IntegrityError, match=f"{len(raw['wheels'])} wheels"):
        Manifest.parse(json.dumps(raw).encode())
