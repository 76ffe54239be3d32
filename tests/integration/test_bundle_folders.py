"""A bundle from a folder of weights, and one without a tied copy: built, read back, and loaded by transformers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
import small_checkout
import tiny_model

from bundle import model_keys

ROOT = Path(__file__).resolve().parents[2]
LOGITS = """
import sys, torch
from transformers import AutoModelForCausalLM
models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for folder in sys.argv[1:]]
with torch.no_grad():
    first, second = (model(torch.tensor([[5, 17, 42, 7]])).logits for model in models)
print(bool(torch.equal(first, second)), float(first.abs().sum()) > 0)
"""
SAME_KEYS = """
from bundle import model_keys
assert model_keys.render(model_keys.collect()) == model_keys.FILE.read_text(), "write it: python -m bundle.model_keys"
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model whose file holds the tied matrix twice, as Qwen1.5-0.5B's does."""
    folder = tiny_model.make(tmp_path_factory.mktemp("published"))
    return tiny_model.with_copy(folder)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Path:
    folder = small_checkout.make(tmp_path_factory.mktemp("checkout"))
    for weights in ("full", "slim"):
        path = os.path.relpath(published, folder)
        small_checkout.profile(folder, weights, source="folder", path=path, id="Owner/Tied", weights=weights)
    small_checkout.share_wheels(folder / "cache")
    return folder


def build(checkout: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bundle", "build", "--profile", f"{name}.toml", "--out", f"out-{name}"]
    own = {"XDG_CACHE_HOME": str(checkout / "cache"), "SOURCE_DATE_EPOCH": "1735689600", "PYTHONPATH": str(checkout)}
    return subprocess.run(
        command, cwd=checkout, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def built(checkout: Path) -> Path:
    """Both bundles, unpacked: full/ and slim/."""
    for name in ("full", "slim"):
        done = build(checkout, name)
        assert done.returncode == 0, done.stderr
        if name == "slim":
            assert "lm_head.weight is the same as model.embed_tokens.weight" in done.stderr
        (bundle,) = (checkout / f"out-{name}").glob("*.tar")
        with tarfile.open(bundle) as archive:
            archive.extractall(checkout / "unpacked", filter="data")
        next((checkout / "unpacked").glob(f"ferry-{name}-*")).rename(checkout / name)
    return checkout


def manifest(built: Path, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((built / name / "manifest.json").read_text())
    return found


def test_a_folder_is_carried_as_it_is_and_named_by_its_digest(built: Path, published: Path) -> None:
    said = manifest(built, "full")["model"]
    assert isinstance(said, dict)
    assert (said["source"], said["id"], said["revision"]) == ("folder", "Owner/Tied", "folder")
    assert said["commit"].startswith("sha256:")
    for path in published.rglob("*"):
        name = path.relative_to(published).as_posix()
        if path.is_file() and not path.name.startswith("."):
            assert (built / "full/payload/model" / name).read_bytes() == path.read_bytes()
    assert not (built / "full/payload/model/.gitattributes").exists()


def test_no_path_of_this_host_is_in_the_bundle(built: Path, published: Path) -> None:
    for name in ("manifest.json", "sbom.cdx.json"):
        assert str(published) not in (built / "full" / name).read_text()


def test_without_the_copy_the_manifest_keeps_the_digest_of_what_was_published(built: Path, published: Path) -> None:
    files = manifest(built, "slim")["files"]
    assert isinstance(files, list)
    found = {file["path"]: file for file in files}
    weights = found["payload/model/model.safetensors"]
    original = (published / "model.safetensors").read_bytes()
    assert weights["upstream_sha256"] == sha256(original).hexdigest() != weights["sha256"]
    assert weights["size"] < len(original)
    assert [path for path, file in found.items() if "upstream_sha256" in file] == ["payload/model/model.safetensors"]
    assert manifest(built, "slim")["model"] == manifest(built, "full")["model"]


def test_transformers_computes_the_same_without_the_copy(built: Path) -> None:
    command = [sys.executable, "-c", LOGITS, str(built / "full/payload/model"), str(built / "slim/payload/model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_folder_that_the_gate_refuses_exits_3_and_is_left_alone(checkout: Path, published: Path) -> None:
    copy = shutil.copytree(published, checkout / "hostile")
    (copy / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.Y", null]}}')
    small_checkout.profile(checkout, "hostile", source="folder", path="hostile", id="Owner/Hostile")
    done = build(checkout, "hostile")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error: Owner/Hostile: tokenizer_config.json: auto_map" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(checkout.glob("out-hostile/*"))
    assert (copy / "model.safetensors").read_bytes() == (published / "model.safetensors").read_bytes()


def test_the_list_of_keys_is_that_of_the_transformers_that_is_carried() -> None:
    done = subprocess.run([sys.executable, "-c", SAME_KEYS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"transformers=={model_keys.known()['transformers']}" in (ROOT / "requirements.in").read_text()
