"""What install.pyz refuses, in user mode, on a small bundle: damaged, forged, older, unfit; nothing changes."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import small_bundle
import tampering
from install_bench import OUTPUT, Bench, benching, tree
from small_bundle import Members

from checksums.layout import MANIFEST
from installer.verify import MAX_HEAD_BYTES


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        yield made


def test_an_older_bundle_is_refused_and_so_is_another_of_the_same_number(bench: Bench) -> None:
    bench.install(replace(bench.recipe, sequence=5))
    before = tree(bench.prefix)
    assert "older than" in bench.install(replace(bench.recipe, sequence=4), status=3).stderr
    other = replace(bench.recipe, sequence=5, more={"licenses/other": b"other"})
    assert "numbered like" in bench.install(other, status=3).stderr
    assert tree(bench.prefix) == before


@pytest.mark.parametrize(
    "path",
    [
        "payload/model/model.safetensors",
        "payload/wheels/",
        "payload/app/service/web/admin.py",
        "licenses/",
        "sbom.cdx.json",
    ],
)
def test_one_flipped_bit_in_the_payload_is_refused_by_name(bench: Bench, path: str) -> None:
    bundle = small_bundle.make(bench.folder / "medium", bench.recipe)
    info = max((one for one in tampering.members(bundle) if f"/{path}" in one.name), key=lambda one: one.size)
    with bundle.open("rb") as file:
        file.seek(info.offset_data)
        first = file.read(1)[0]
    with tampering.patched(bundle, info.offset_data, bytes([first ^ 1])):
        for words in ([], ["--dry-run"]):
            assert info.name.partition("/")[2] in bench.install_file(bundle, *words, status=3).stderr
    assert not bench.prefix.exists()


def appended(content: Members) -> Members:
    return [*content, ("payload/wheels/zzz-1-py3-none-any.whl", b"more")]


def repeated(content: Members) -> Members:
    return [*content, content[-1]]


def reordered(content: Members) -> Members:
    return [*content[:-2], content[-1], content[-2]]


def shortened(content: Members) -> Members:
    return content[:-1]


@pytest.mark.parametrize("change", [appended, repeated, reordered, shortened])
def test_a_payload_in_any_other_shape_is_refused(bench: Bench, change: Callable[[Members], Members]) -> None:
    content = change(small_bundle.members(bench.recipe))
    done = bench.install_file(small_bundle.pack(bench.folder / "b.tar", bench.recipe.name, content), status=3)
    assert content[-1][0] in done.stderr or "sbom.cdx.json" in done.stderr
    assert not bench.prefix.exists()


def test_a_truncated_payload_is_refused_and_an_installation_stays(bench: Bench) -> None:
    bench.install(bench.recipe)
    before = tree(bench.prefix)
    newer = small_bundle.make(bench.folder / "medium", replace(bench.recipe, version="2.0.0", sequence=2))
    for share in (0.1, 0.5, 0.9, 0.99999):
        with tampering.keep(share)(newer):
            assert "cut short" in bench.install_file(newer, status=3).stderr
    assert tree(bench.prefix) == before
    assert bench.ferry("status")["ready"] is True


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"], ids=["hard link", "symbolic link", "folder"])
def test_a_payload_member_that_is_no_plain_file_is_refused(bench: Bench, kind: bytes) -> None:
    bundle = small_bundle.make(bench.folder / "medium", bench.recipe)
    info = tampering.member(bundle, "/config.json")
    with bundle.open("rb") as file:
        file.seek(info.offset)
        block = bytearray(file.read(512))
    block[156:157], block[148:156] = kind, b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    with tampering.patched(bundle, info.offset, bytes(block)):
        assert "config.json" in bench.install_file(bundle, status=3).stderr
    assert not bench.prefix.exists()


def test_a_path_that_climbs_is_refused_though_it_is_signed(bench: Bench) -> None:
    content = small_bundle.members(bench.recipe)
    listed = {path: data for path, data in content if not path.startswith("SHA256SUMS")}
    manifest = listed[MANIFEST].replace(b"payload/model/config.json", b"payload/../../../x.json")
    listed = {
        path.replace("payload/model/config.json", "payload/../../../x.json"): data for path, data in listed.items()
    }
    listed[MANIFEST] = manifest
    text = "".join(f"{small_bundle.digest(data)}  {path}\n" for path, data in sorted(listed.items())).encode()
    signatures = [("SHA256SUMS.sig", small_bundle.signature.sign(text, bench.key))]
    head = [(name, listed[name]) for name in (MANIFEST, "install.pyz")]
    bundle = small_bundle.pack(bench.folder / "b.tar", bench.recipe.name, [("SHA256SUMS", text), *signatures, *head])
    assert "not a path" in bench.install_file(bundle, status=3).stderr
    assert not bench.prefix.exists() and max(MAX_HEAD_BYTES.values()) < 100 << 20


def test_a_restricted_licence_needs_the_flag(bench: Bench) -> None:
    recipe = replace(bench.recipe, license="research only")
    done = bench.install(recipe, "--yes", status=2)
    assert "not accepted: research only" in done.stderr and "--accept-license" in done.stderr
    assert not bench.prefix.exists()
    bench.install(recipe, "--accept-license")


@pytest.mark.parametrize(("typed", "status"), [(b"yes\n", 0), (b"sure\n", 2)])
def test_a_restricted_licence_is_accepted_at_a_terminal(bench: Bench, typed: bytes, status: int) -> None:
    bundle = small_bundle.make(bench.folder / "medium", replace(bench.recipe, license="research only"))
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    done = subprocess.run(bench.command(bundle), stdin=theirs, **OUTPUT, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == status and "research only" in done.stderr and "Accept it?" in done.stderr


def test_a_server_that_cannot_run_it_is_told_everything_that_is_missing(bench: Bench) -> None:
    done = bench.install(replace(bench.recipe, ram_bytes=1 << 60, disk_bytes=1 << 60), status=4)
    assert "disk: found " in done.stderr and "memory: found " in done.stderr
    assert not bench.prefix.exists()


def test_a_port_in_use_is_a_finding(bench: Bench) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", bench.port))
        holder.listen()
        assert "in use" in bench.install(bench.recipe, status=4).stderr
    assert not bench.prefix.exists()


@pytest.mark.parametrize("below", ["", "and/below"])
def test_a_prefix_that_cannot_be_a_folder_is_a_wrong_call(bench: Bench, below: str) -> None:
    bundle = small_bundle.make(bench.folder / "medium", bench.recipe)
    for make in (bench.prefix.touch, lambda: bench.prefix.symlink_to("nowhere")):
        make()
        at = replace(bench, prefix=bench.prefix / below)
        assert "is no folder" in at.install_file(bundle, status=2).stderr
        bench.prefix.unlink()


def test_an_unsigned_bundle_installs_where_that_is_said(bench: Bench) -> None:
    recipe = replace(bench.recipe, keys=())
    assert "not signed" in bench.install(recipe, status=3).stderr
    bench.install(recipe, "--insecure-unsigned")
    assert bench.ferry("verify")["ok"] is True
