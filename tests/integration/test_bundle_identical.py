"""The same inputs give the same bytes, whatever the circumstances; and a bundle can be made again from its own lock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_checkout
import tampering
import tiny_model
import variations

from checksums.inventory import Inventory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identical")
    small_checkout.profile(folder, "tiny", source="folder", path="model", id="Tests/Tiny")
    (folder / "model").mkdir()
    tiny_model.write_large(folder / "model", [300_000, 5_000])
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    small_checkout.make(folder / "checkout")
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "checkout"), "SOURCE_DATE_EPOCH": variations.EPOCH}
    command = [sys.executable, "-m", "bundle", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    done = run(folder, "build", "--profile", "tiny.toml", "--out", "out", "--sign-key", "key")
    assert done.returncode == 0, done.stderr
    return folder / "out" / Path(done.stdout.splitlines()[0]).name


needs_faketime = pytest.mark.skipif(not shutil.which("faketime"), reason="no faketime here: apt-get install faketime")


@needs_faketime
def test_signed_builds_give_the_same_bytes_whatever_the_circumstances(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    plain = {path.name: variations.digest(path) for path in bundle.parent.iterdir()}
    assert len(plain) == 4
    words = ("--profile", str(folder / "tiny.toml"), "--sign-key", str(folder / "key"))
    assert [variations.build(n, folder / "checkout", words, tmp_path / str(n)) for n in (2, 3)] == [plain, plain]


@needs_faketime
def test_an_unsigned_build_is_the_signed_one_without_its_signature(folder: Path, bundle: Path, tmp_path: Path) -> None:
    tampering.write_unsigned(bundle, tmp_path / bundle.name)
    shutil.copy(bundle.with_name("install.sh"), tmp_path)
    made = variations.build(1, folder / "checkout", ("--profile", str(folder / "tiny.toml")), tmp_path / "out")
    assert made == {name: variations.digest(tmp_path / name) for name in made}


@pytest.fixture
def changed(folder: Path, tmp_path: Path) -> Path:
    """Another state of the checkout, beside the same profile and model."""
    for name in ("tiny.toml", "model", "checkout"):
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copy
        copy(folder / name, tmp_path / name)
    return tmp_path


def trusting(bundle: Path) -> list[str]:
    return [str(bundle), "--allowed-signers", str(bundle.with_name("allowed_signers")), "--rebuild"]


def test_a_bundle_made_again_from_its_own_lock_is_identical(folder: Path, bundle: Path) -> None:
    done = run(folder, "verify", *trusting(bundle), "--profile", "tiny.toml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["rebuilt"] == "identical"


def test_a_delta_that_brings_the_next_keys_is_made_again_too(folder: Path, bundle: Path) -> None:
    held = Inventory("0.1.0-1-x", 1, {variations.digest(path): path.stat().st_size for path in held_files(folder)})
    (folder / "inventory.json").write_bytes(held.render())
    shutil.copy(bundle.with_name("allowed_signers"), folder / "next")
    words = ("--base", "inventory.json", "--next-signers", "next", "--split", "1M", "--sign-key", "key")
    done = run(folder, "build", "--profile", "tiny.toml", "--out", "delta", *words)
    assert done.returncode == 0, done.stderr
    part = str(folder / "delta" / f"{bundle.name}.001")
    words = ("--allowed-signers", "next", "--rebuild", "--profile", "tiny.toml")
    assert run(folder, "verify", part, *words, "--next-signers", "next").returncode == 0
    without = run(folder, "verify", part, *words)
    assert without.returncode == 2
    assert "--next-signers" in without.stderr


def held_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "model").iterdir() if path.is_file())


def test_every_file_that_differs_is_named(changed: Path, bundle: Path) -> None:
    (changed / "checkout" / "service" / "more.py").write_text("x = 1\n")
    (changed / "checkout" / "service" / "ferry.toml").write_text("")
    (changed / "checkout" / "installer" / "health.py").unlink()
    done = run(changed, "verify", *trusting(bundle), "--profile", "tiny.toml")
    assert done.returncode == 3
    found = dict(line.split(": ", 1) for line in done.stderr.splitlines()[1:-1])
    assert found.pop("manifest.json").startswith("differs in files")
    assert found.pop("sbom.cdx.json") == "differs"
    assert found == {
        "install.pyz": "differs",
        "payload/app/service/ferry.toml": "differs",
        "payload/app/service/more.py": "not in the bundle",
    }


def test_another_model_under_the_same_name_is_noticed(changed: Path, bundle: Path) -> None:
    (changed / "model" / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 1}}}')
    done = run(changed, "verify", *trusting(bundle), "--profile", "tiny.toml")
    assert (done.returncode, done.stdout) == (3, "")
    assert "payload/model/tokenizer.json: differs" in done.stderr


def test_a_profile_that_only_its_owner_has_is_asked_for(folder: Path, bundle: Path) -> None:
    done = run(folder, "verify", *trusting(bundle))
    assert done.returncode == 2
    assert "tiny: not one of Ferry's own profiles" in done.stderr
    assert "--profile FILE" in done.stderr


def test_its_options_mean_nothing_without_it(folder: Path, bundle: Path) -> None:
    done = run(folder, "verify", str(bundle), "--insecure-unsigned", "--profile", "tiny.toml")
    assert done.returncode == 2
    assert "--profile: belongs to --rebuild" in done.stderr
