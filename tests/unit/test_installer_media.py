"""install.sh on a bundle in parts: any order, any folders, one broken thing at a time; and on deltas."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import small_bundle
from shell_bench import SCRIPT, Bench
from small_bundle import Recipe

from bundle import media
from bundle.progress import Progress

QUIET = Progress(quiet=True)
NAME = "ferry-small.tar"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_bundle.make_key(tmp_path / "key"))


@pytest.fixture(params=[700, 5_001, 30_000], ids=["the head in many parts", "in some", "in one"])
def parts(bench: Bench, request: pytest.FixtureRequest) -> list[Path]:
    """The parts of a bundle, of sizes at which members, headers and blocks are cut anywhere; and their list."""
    bundle = bench.pack(small_bundle.members(bench.recipe)).rename(bench.folder / NAME)
    made = media.split(bundle, request.param, bench.folder / "a medium", QUIET)
    bundle.unlink()
    return made


def accepted(bench: Bench, *words: str | Path) -> list[str]:
    done = bench.run(*words, "--allowed-signers", bench.allowed)
    assert done.returncode == 0, done.stderr
    assert list((bench.folder / "tmp").iterdir()) == []
    argv = json.loads(done.stdout)["argv"]
    return list(argv[argv.index("install") + 1 : argv.index("--user-mode")])


def test_parts_in_any_order_from_any_folders_are_handed_on(bench: Bench, parts: list[Path]) -> None:
    (bench.folder / "other").mkdir()
    moved = Path(shutil.move(parts[-2], bench.folder / "other"))
    assert accepted(bench, moved, parts[0]) == [str(moved), str(parts[0])]


def test_one_part_or_the_list_is_enough(bench: Bench, parts: list[Path]) -> None:
    for path in (parts[-2], parts[-1]):
        assert accepted(bench, path) == [str(path)]
    assert accepted(bench, *parts, parts[0]) == [str(path) for path in [*parts, parts[0]]]


def test_parts_without_their_list_are_enough(bench: Bench, parts: list[Path]) -> None:
    parts[-1].unlink()
    accepted(bench, parts[0])


def test_the_only_bundle_beside_the_script_may_be_in_parts(bench: Bench, parts: list[Path]) -> None:
    folder = parts[0].parent
    shutil.copy(SCRIPT, folder)

    def run() -> subprocess.CompletedProcess[str]:
        words = ["--allowed-signers", str(bench.allowed), "--user-mode", "--prefix", str(bench.folder / "prefix")]
        return subprocess.run(["sh", str(folder / "install.sh"), *words], capture_output=True, text=True, check=False)

    assert json.loads(run().stdout)["argv"][3] == str(parts[0])
    (folder / NAME).write_bytes(b"".join(part.read_bytes() for part in parts[:-1]))
    assert json.loads(run().stdout)["argv"][3] == str(folder / NAME)
    (folder / NAME).rename(folder / "ferry-other.tar")
    assert "2 bundles beside" in run().stderr


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)


def test_a_damaged_part_is_named_and_a_good_copy_takes_its_place(bench: Bench, parts: list[Path]) -> None:
    good = Path(shutil.copy(parts[0], bench.folder))
    flip(parts[0])
    said = bench.refuse(parts[0], "damaged: ferry-small.tar.001; ")
    assert "the other parts are whole" in said
    accepted(bench, parts[1], good)


@pytest.fixture
def few(bench: Bench) -> list[Path]:
    bundle = bench.pack(small_bundle.members(bench.recipe)).rename(bench.folder / NAME)
    return media.split(bundle, 5_000, bench.folder / "few", QUIET)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda few: few[1].unlink(), "ferry-small.tar.002: missing"),
        (lambda few: few[2].write_bytes(b""), "ferry-small.tar.003: is empty"),
        (lambda few: few[0].write_bytes(few[1].read_bytes()), "damaged: ferry-small.tar.001"),
        (lambda few: few[0].write_bytes(few[0].read_bytes()[:300]), "damaged: ferry-small.tar.001"),
        (lambda few: (flip(few[0]), flip(few[2])), "damaged: ferry-small.tar.001 ferry-small.tar.003; "),
        (lambda few: (few[-1].write_text('"sha256": "$(reboot)"'), flip(few[0])), "ferry-small.tar.001"),
        (lambda few: (few[-1].unlink(), flip(few[0])), "SHA256SUMS"),
    ],
)
def test_a_broken_head_in_parts_is_refused(
    bench: Bench, few: list[Path], change: Callable[[list[Path]], object], named: str
) -> None:
    change(few)
    bench.refuse(few[3], named)


def test_a_signature_by_a_stranger_is_no_damage(bench: Bench, few: list[Path], tmp_path: Path) -> None:
    stranger = small_bundle.make_key(tmp_path / "stranger")
    said = bench.refuse(few[0], "signed by", 3, "--allowed-signers", stranger.with_suffix(".allowed"))
    assert "damaged" not in said and "looking for" not in said


def test_parts_of_two_bundles_and_two_that_differ_are_refused(bench: Bench, few: list[Path]) -> None:
    other = Path(shutil.copy(few[1], few[1].with_name("ferry-other.tar.002")))
    bench.refuse(few[0], "is no part of ferry-small.tar", 3, other)
    copy = Path(shutil.copy(few[1], bench.folder))
    flip(copy)
    bench.refuse(few[1], "is there twice and differs", 3, copy)


def test_a_part_and_a_bundle_are_no_set(bench: Bench, few: list[Path]) -> None:
    bench.refuse(few[0], "one bundle at a time", 2, bench.folder / NAME)
    bench.refuse(few[0].with_name("ferry-small.tar.000"), "no such file", 2)


def test_a_delta_without_the_carried_interpreter_is_told_so(bench: Bench) -> None:
    recipe = Recipe(keys=(bench.key,), installer=b"", is_installable=False, python="3.99")
    files = dict(small_bundle.members(recipe))
    described = json.loads(files["manifest.json"])
    described["base"] = {"release": "1", "inventory_sha256": "0" * 64, "files": ["payload/python/cpython.tar.gz"]}
    text = json.dumps(described, indent=1, sort_keys=True) + "\n"
    listed = {"install.pyz": b"", "manifest.json": text.encode()}
    content = [*small_bundle.signed(recipe, listed), ("manifest.json", text.encode()), ("install.pyz", b"")]
    bench.refuse(bench.pack(content), "a delta that leaves out payload/python/cpython.tar.gz", 4)
