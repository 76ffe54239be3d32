"""The commands of README.md and docs/trust.md that check a bundle by hand, run as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import small_bundle
import tampering
from small_bundle import ROOT, Recipe

from checksums import signature

Damage = Callable[[Path], tampering.Damage]
PAGES = ["README.md", "docs/trust.md", "docs/trust.zh.md"]
INSTALLER = "-s install.sh.sig < install.sh"
EVERYTHING = "tar xf ferry-*.tar && cd ferry-*/ &&"


def block(page: str, holding: str) -> str:
    """Return the one block of commands on a page that holds a text."""
    text = (ROOT / page).read_text()
    (found,) = [part for part in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE) if holding in part]
    return "\n".join(line[4:] for line in found.splitlines())


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A folder as an operator has it: bundle, install.sh with its signature, and allowed_signers."""
    folder = tmp_path / "medium"
    folder.mkdir()
    key = small_bundle.make_key(tmp_path / "key")
    small_bundle.make(folder, Recipe(keys=(key,), is_installable=False, installer=bytes(range(256)) * 9))
    (folder / "install.sh").write_text("#!/bin/sh\necho INSTALLED\n")
    (folder / "install.sh.sig").write_bytes(signature.sign((folder / "install.sh").read_bytes(), key))
    shutil.copy(key.with_suffix(".allowed"), folder / "allowed_signers")
    return folder


def bundle(medium: Path) -> Path:
    (found,) = medium.glob("ferry-*.tar")
    return found


def by_hand(medium: Path, commands: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["sh", "-c", commands], cwd=medium, capture_output=True, text=True, check=False)
    for path in medium.glob("ferry-*/"):
        if path.is_dir():
            shutil.rmtree(path)
    return done


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_give_the_same_commands(page: str) -> None:
    assert block(page, EVERYTHING) == block(PAGES[0], EVERYTHING)
    assert block(page, INSTALLER).splitlines()[0].removesuffix(" &&") == block(PAGES[0], INSTALLER).split(" &&")[0]


def test_the_first_step_on_the_server_proves_the_installer(medium: Path, tmp_path: Path) -> None:
    commands = block("README.md", INSTALLER)
    done = by_hand(medium, commands)
    assert done.returncode == 0 and done.stdout.endswith("INSTALLED\n") and 'Good "ferry-bundle"' in done.stdout
    script, signed = medium / "install.sh", medium / "install.sh.sig"
    good, good_signature = script.read_bytes(), signed.read_bytes()
    stranger = small_bundle.make_key(tmp_path / "stranger")
    tampered = [
        (good.replace(b"echo", b"ecHo"), good_signature),
        (good + b"\n", good_signature),
        (b"", good_signature),
        (good, signature.sign(good, stranger)),
        (good, b""),
        (good, good_signature.replace(b"A", b"B")),
    ]
    for script_bytes, signature_bytes in tampered:
        script.write_bytes(script_bytes)
        signed.write_bytes(signature_bytes)
        done = by_hand(medium, commands)
        assert done.returncode != 0 and "INSTALLED" not in done.stdout and "Good" not in done.stdout


def test_a_good_bundle_is_accepted_by_hand(medium: Path) -> None:
    done = by_hand(medium, block("README.md", EVERYTHING))
    assert done.returncode == 0, done.stderr
    assert 'Good "ferry-bundle" signature for ferry' in done.stdout and done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "damage",
    [
        tampering.flip_a_byte(".safetensors"),
        tampering.flip_a_byte("/service/web/admin.py"),
        tampering.flip_a_byte("/manifest.json"),
        tampering.flip_a_byte("/install.pyz"),
        tampering.flip_a_byte("/SHA256SUMS"),
        tampering.change_one_base64_character,
        tampering.keep(0.00001),
        tampering.keep(0.5),
        tampering.keep(0.9),
        tampering.keep_nothing,
        tampering.repeat("/SHA256SUMS"),
        tampering.repeat("/manifest.json"),
        tampering.repeat("/config.json"),
    ],
)
def test_a_tampered_bundle_is_refused_by_hand(medium: Path, damage: Damage) -> None:
    with damage(bundle(medium)):
        assert by_hand(medium, block("README.md", EVERYTHING)).returncode != 0


def test_strangers_unsigned_and_added_files_are_refused_by_hand(medium: Path, tmp_path: Path) -> None:
    commands, good = block("README.md", EVERYTHING), bundle(medium)
    with tampering.sign_with_another_key(small_bundle.make_key(tmp_path / "stranger"))(good):
        assert by_hand(medium, commands).returncode != 0
    whole = good.read_bytes()
    recipe = Recipe(keys=(tmp_path / "key",), is_installable=False)
    content = [*small_bundle.members(recipe), ("payload/app/service/more.py", b"import os\n")]
    small_bundle.pack(good, recipe.name, content)
    assert by_hand(medium, commands).returncode != 0
    good.write_bytes(whole)
    small_bundle.make(medium, replace(recipe, keys=()))
    assert by_hand(medium, commands).returncode != 0


@pytest.mark.parametrize("damage", [tampering.break_the_lines_elsewhere, tampering.drop_the_last_block])
def test_what_only_ferry_refuses_changes_no_signed_byte(medium: Path, damage: Damage) -> None:
    """docs/trust.md says so: how the signature's text is broken into lines, and the empty blocks at the end."""
    with damage(bundle(medium)):
        assert by_hand(medium, block("README.md", EVERYTHING)).returncode == 0
