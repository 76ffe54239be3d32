"""The whole build side as an operator runs it: the command line, real wheels, the real SDK, and a hub on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import small_checkout
import tiny_model
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from local_hub import LISTING, LocalHub, serving

from checksums.layout import member_order

ROOT = Path(__file__).resolve().parents[2]
PROFILE = "qwen1.5-0.5b-chat"
NAME = f"ferry-{PROFILE}-0.1.0-x86_64"
EPOCH = "1735689600"


@dataclass
class Builder:
    """Runs `python -m bundle` with caches of the test's own, but for the wheels, which take minutes to fetch."""

    hub: LocalHub
    folder: Path
    checkout: Path

    def command(self, out: str) -> list[str]:
        words = ["build", "--profile", PROFILE, "--hub-endpoint", self.hub.address, "--out", str(self.folder / out)]
        return [sys.executable, "-m", "bundle", *words, "--python", "host"]

    def environment(self, **changes: str) -> dict[str, str]:
        own = {
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "SOURCE_DATE_EPOCH": EPOCH,
            "PYTHONPATH": str(self.checkout),
        }
        return {**os.environ, **own, **changes}

    def build(self, out: str, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command, environment = [*self.command(out), *options], self.environment(**changes)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("build")
    small_checkout.share_wheels(folder / "cache")
    model = tiny_model.make(tmp_path_factory.mktemp("published"))
    with serving(LocalHub(model)) as hub:
        yield Builder(hub, folder, copy_checkout(ROOT, folder / "checkout"))


def copy_checkout(checkout: Path, copy: Path) -> Path:
    """Copy what a bundle is made from, so that the builds of this file do not see what is edited meanwhile."""
    for name in ("bundle", "checksums", "installer", "service", "systemd"):
        shutil.copytree(checkout / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "requirements.in"):
        shutil.copy(checkout / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "signing_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def out(builder: Builder, key: Path) -> Path:
    done = builder.build("out", "--sign-key", str(key))
    assert done.returncode == 0, done.stderr
    return builder.folder / "out"


@pytest.fixture
def misbehaving(builder: Builder) -> Iterator[LocalHub]:
    yield builder.hub
    builder.hub.faults.clear()
    builder.hub.listed.clear()


def read(out: Path, member: str) -> bytes:
    with tarfile.open(out / f"{NAME}.tar") as archive:
        found = archive.extractfile(f"{NAME}/{member}")
        assert found is not None
        return found.read()


def test_the_manifest_carries_the_hubs_commit_and_every_files_digest(out: Path, builder: Builder) -> None:
    manifest = json.loads(read(out, "manifest.json"))
    assert manifest["model"]["commit"] == builder.hub.commit
    assert manifest["model"]["revision"] == "master"
    assert "RESEARCH" in manifest["model"]["license"]
    assert "no commercial use" in manifest["model"]["license"]
    carried = {file["path"]: file["sha256"] for file in manifest["files"]}
    for path in builder.hub.folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(builder.hub.folder).as_posix()
            assert carried[f"payload/model/{name}"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"licenses/model/LICENSE", "licenses/ferry/LICENSE", "install.pyz"} <= set(carried)
    assert any(path.startswith("payload/app/service/") for path in carried)


def test_the_manifest_says_what_it_takes_and_what_it_is_for(out: Path) -> None:
    manifest = json.loads(read(out, "manifest.json"))
    assert manifest["target"] == {"python": "3.11", "platform": "x86_64", "glibc": "2.28"}
    assert (manifest["created"], manifest["sequence"]) == ("2025-01-01T00:00:00Z", int(EPOCH))
    assert manifest["requires"]["disk_bytes"] > sum(file["size"] for file in manifest["files"])
    assert manifest["requires"]["ram_bytes"] > 700_000_000
    assert {wheel["origin"] for wheel in manifest["wheels"]} <= {"index", "find-links"}
    assert not [wheel for wheel in manifest["wheels"] if wheel["license"] == ""]


def test_members_stand_in_the_contracts_order_and_are_plain_files(out: Path) -> None:
    with tarfile.open(out / f"{NAME}.tar") as archive:
        members = archive.getmembers()
    names = [member.name.partition("/")[2] for member in members]
    assert names[:4] == ["SHA256SUMS", "SHA256SUMS.sig", "manifest.json", "install.pyz"]
    assert names[2:] == member_order(names[2:])
    assert {(m.uid, m.gid, m.uname, m.gname, m.isreg()) for m in members} == {(0, 0, "", "", True)}
    assert len({member.mtime for member in members}) == 1


def test_the_bill_of_materials_is_valid_and_names_all_that_is_carried(out: Path) -> None:
    manifest, data = json.loads(read(out, "manifest.json")), read(out, "sbom.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    digests = {file["path"]: file["sha256"] for file in manifest["files"]}
    assert digests["sbom.cdx.json"] == hashlib.sha256(data).hexdigest()
    found = json.loads(data)["components"]
    named = {(one["name"], one["version"], one["hashes"][0]["content"]) for one in found if one["licenses"]}
    wheels = {(wheel["name"], wheel["version"], digests[wheel["file"]]) for wheel in manifest["wheels"]}
    assert wheels <= named
    lines = [f"{digest}  {path}\n" for path, digest in sorted(digests.items()) if path.startswith("payload/model/")]
    model = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (manifest["model"]["id"], manifest["model"]["commit"], model) in named
    assert {"markdown-it", "dompurify"} <= {name for name, _, _ in named}


def test_every_component_has_its_licence_text(out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bundle", "inspect", "--licenses", "--json", str(out / f"{NAME}.tar")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["commercial_use"] is False
    assert [row["name"] for row in report["components"] if not row["texts"]] == []


def test_the_documented_commands_accept_it_by_hand(out: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "xf", out / f"{NAME}.tar"], cwd=tmp_path, check=True)
    script = (
        f"ssh-keygen -Y verify -f {out}/allowed_signers -I ferry -n ferry-bundle -s SHA256SUMS.sig < SHA256SUMS"
        " && sha256sum --quiet -c SHA256SUMS"
        f" && ssh-keygen -Y verify -f {out}/allowed_signers -I ferry -n ferry-bundle -s {out}/install.sh.sig"
        f" < {out}/install.sh"
    )
    subprocess.run(["sh", "-euc", script], cwd=tmp_path / NAME, check=True, capture_output=True)


def test_install_pyz_runs_and_needs_nothing_beside_itself(out: Path, tmp_path: Path) -> None:
    data = read(out, "install.pyz")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {"click/__init__.py", "tqdm/__init__.py", "installer/verify.py"} <= set(archive.namelist())
    (tmp_path / "install.pyz").write_bytes(data)
    program = "import click, tqdm, checksums.tarball, installer.verify; print(click.__file__)"
    environment = {"PYTHONPATH": str(tmp_path / "install.pyz"), "PATH": os.environ["PATH"]}
    base = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run([base, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "install.pyz" in done.stdout


def test_verify_and_inspect_read_it(out: Path) -> None:
    for words in (["verify", "--allowed-signers", str(out / "allowed_signers")], ["inspect", "--json"]):
        command = [sys.executable, "-m", "bundle", *words, str(out / f"{NAME}.tar")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert NAME in done.stdout


def test_the_same_inputs_give_the_same_bytes_in_another_place(out: Path, builder: Builder, key: Path) -> None:
    elsewhere = {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7", "LC_ALL": "C", "HOME": str(builder.folder)}
    old = os.umask(0o077)
    try:
        copy = copy_checkout(builder.checkout, builder.folder / "another folder")
        done = replace(builder, checkout=copy).build("again", "--sign-key", str(key), **elsewhere)
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr
    for path in out.iterdir():
        again = builder.folder / "again" / path.name
        assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest(), path.name


def test_a_build_without_a_key_says_that_it_is_unsigned(builder: Builder) -> None:
    done = builder.build("unsigned", "--json")
    assert done.returncode == 0
    assert "not signed" in done.stderr
    report = json.loads(done.stdout)
    assert report["name"] == NAME
    assert {Path(path).name for path in report["files"]} == {"install.sh"}


def test_a_hub_that_is_down_exits_1_soon_names_the_address_and_leaves_nothing(builder: Builder) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    done = builder.build("down", "--hub-endpoint", address)
    assert (done.returncode, done.stdout) == (1, "")
    assert address in done.stderr
    assert time.monotonic() - started < 60
    assert not (builder.folder / "down").exists()


def test_the_hub_can_come_from_the_environment(builder: Builder, misbehaving: LocalHub) -> None:
    misbehaving.faults[LISTING] = "500"
    command = [sys.executable, "-m", "bundle", "build", "--profile", PROFILE, "--python", "host", "--out", "env"]
    environment = builder.environment(MODELSCOPE_ENDPOINT=misbehaving.address)
    done = subprocess.run(command, cwd=builder.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert misbehaving.address in done.stderr


def test_a_file_that_differs_from_the_hubs_digest_exits_3_and_leaves_nothing(
    builder: Builder, misbehaving: LocalHub
) -> None:
    misbehaving.listed["config.json"] = {"Sha256": "0" * 64}
    done = builder.build("wrong")
    assert done.returncode == 3
    assert "config.json" in done.stderr
    assert "0" * 64 in done.stderr
    assert not list(builder.folder.glob("wrong/*"))


@pytest.mark.parametrize("path", ["modeling_qwen.py", "pytorch_model.bin"])
def test_a_model_that_brings_code_is_refused_before_it_is_fetched(
    builder: Builder, misbehaving: LocalHub, path: str
) -> None:
    (misbehaving.folder / path).write_text("import os\n")
    misbehaving.requests.clear()
    try:
        done = builder.build("code")
    finally:
        (misbehaving.folder / path).unlink()
    assert done.returncode == 3
    assert path in done.stderr
    assert [asked for asked, _ in misbehaving.requests] == [LISTING]


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_build_leaves_nothing(builder: Builder, sent: int, status: int) -> None:
    out = builder.folder / f"interrupted-{sent}"
    environment = builder.environment()
    with subprocess.Popen(builder.command(out.name), env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob(".building-*/*.tar")) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "error: interrupted" in errors
    assert list(out.iterdir()) == []
