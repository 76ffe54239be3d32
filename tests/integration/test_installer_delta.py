"""Deltas in user mode: they make the release that the full bundle makes, and need what they count on to be whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import delta_bundle
import pytest
import small_bundle
from install_bench import Bench, benching, tree
from small_bundle import Recipe

from bundle import media
from bundle.progress import Progress
from checksums.inventory import Inventory

QUIET = Progress(quiet=True)
MODEL = "payload/model/large.safetensors"
TEXTS = {f"licenses/wheels/{number}/LICENSE": b"%d" % number * 2000 for number in range(20)}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        yield made


@pytest.fixture
def first(bench: Bench) -> Recipe:
    """A release with 64 MB of weights, installed."""
    recipe = replace(bench.recipe, more=TEXTS | {MODEL: os.urandom(1 << 20) * 64})
    bench.install(recipe)
    return recipe


def next_of(recipe: Recipe, number: int = 2) -> Recipe:
    """Return the release after it, in which one file of the app is new and one has another place."""
    changed = {
        "payload/app/service/news": b"%d" % number,
        "payload/app/service/copy": TEXTS["licenses/wheels/7/LICENSE"],
    }
    return replace(recipe, version=f"{number}.0.0", sequence=number, more=recipe.more | changed)


def inventory(bench: Bench) -> Inventory:
    return Inventory.parse(json.dumps(bench.ferry("inventory")).encode())


def test_a_change_of_the_app_is_a_small_delta_and_the_same_release(bench: Bench, first: Recipe) -> None:
    weights = (bench.prefix / "current" / "model" / "large.safetensors").stat().st_ino
    out = bench.folder / "inventory.json"
    bench.ferry("inventory", "--out", str(out))
    assert Inventory.parse(out.read_bytes()) == inventory(bench) and out.stat().st_size < 10_000
    delta = delta_bundle.make(bench.folder / "delta", next_of(first), Inventory.parse(out.read_bytes()))
    assert delta.stat().st_size < 1_000_000
    done = bench.install_file(delta, "--json")
    release = json.loads(done.stdout)["release"]
    assert bench.ferry("verify") == {"ok": True, "problems": []}
    current = bench.prefix / "current"
    assert (current / "app" / "service" / "copy").read_bytes() == TEXTS["licenses/wheels/7/LICENSE"]
    assert (current / "model" / "large.safetensors").stat().st_ino == weights
    again = json.loads(bench.install(next_of(first), "--json").stdout)
    assert (again["release"], bench.releases()[-1]) == (release, release)
    assert [path for path in current.rglob("*") if path.is_file() and path.stat().st_mode & 0o022] == []


def test_any_base_works_whatever_came_between_and_nothing_kept_is_lost(bench: Bench, first: Recipe) -> None:
    base = inventory(bench)
    bench.install_file(delta_bundle.make(bench.folder / "2", next_of(first), base))
    bench.install_file(delta_bundle.make(bench.folder / "3", next_of(first, 3), base))
    assert [name[0] for name in bench.releases()] == ["2", "3"]
    bench.install_file(delta_bundle.make(bench.folder / "4", next_of(first, 4), inventory(bench)))
    assert bench.ferry("verify")["ok"] and bench.ferry("status")["ready"]
    bench.ferry("uninstall", "--purge")
    assert not bench.prefix.exists()


def test_a_server_without_the_base_refuses_and_is_as_it_was(bench: Bench) -> None:
    recipe = bench.recipe
    base = Inventory("1.0.0-1-abcdef01", 1, _digests(recipe))
    delta = delta_bundle.make(bench.folder / "delta", next_of(recipe), base)
    for words in ([], ["--dry-run"]):
        said = bench.install_file(delta, *words, status=4).stderr
        assert "a delta on 1.0.0-1-abcdef01" in said and "lacks" in said and "licenses/model/LICENSE" in said
        assert " more\n" in said and "install the full bundle" in said
        assert not bench.prefix.exists()
    bench.install(recipe)
    before = tree(bench.prefix)
    lacking = replace(next_of(recipe), more={"licenses/new": b"new"})
    base = Inventory(base.release, 1, _digests(recipe) | _digests(lacking))
    said = bench.install_file(delta_bundle.make(bench.folder / "d", lacking, base), status=4).stderr
    assert "lacks 1: licenses/new\n" in said
    assert tree(bench.prefix) == before and bench.ferry("status")["ready"]


def _digests(recipe: Recipe) -> dict[str, int]:
    return {small_bundle.digest(data): len(data) for _, data in small_bundle.members(recipe)}


def test_a_damaged_file_counts_as_one_that_is_not_there(bench: Bench, first: Recipe) -> None:
    base = inventory(bench)
    for path in ("model/large.safetensors", "licenses/wheels/3/LICENSE"):
        with (bench.prefix / "current" / path).open("r+b") as file:
            file.write(b"damage")
    delta = delta_bundle.make(bench.folder / "delta", next_of(first), base)
    before = tree(bench.prefix)
    said = bench.install_file(delta, status=4).stderr
    assert "lacks 2: licenses/wheels/3/LICENSE, payload/model/large.safetensors\n" in said
    assert tree(bench.prefix) == before
    without = inventory(bench)
    assert len(without.files) == len(base.files) - 2
    bench.install_file(delta_bundle.make(bench.folder / "again", next_of(first), without))
    # What is damaged stays so in the release before alone.
    found = {problem["path"] for problem in bench.ferry("verify", status=3)["problems"]}
    assert {path.partition("/")[2].partition("-")[0] for path in found} == {first.version}


def test_a_delta_comes_in_parts_and_one_damaged_part_is_enough_to_refuse(bench: Bench, first: Recipe) -> None:
    delta = delta_bundle.make(bench.folder / "delta", next_of(first), inventory(bench))
    parts = media.split(delta, 100_000, bench.folder / "parts", QUIET)
    before, data = tree(bench.prefix), parts[-2].read_bytes()
    parts[-2].write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    said = bench.install_file(parts[0], status=3).stderr
    assert "damaged" in said and parts[-2].name in said and parts[-3].name not in said
    assert tree(bench.prefix) == before
    good = bench.folder / parts[-2].name
    good.write_bytes(data)
    bench.install_file(parts[0], str(good))
    assert bench.ferry("status")["version"] == "2.0.0"


def test_a_delta_of_the_same_number_and_other_content_is_refused(bench: Bench, first: Recipe) -> None:
    other = replace(first, more=first.more | {"licenses/other": b"other"})
    delta = delta_bundle.make(bench.folder / "delta", other, inventory(bench))
    assert "numbered like" in bench.install_file(delta, status=3).stderr
    same = delta_bundle.make(bench.folder / "same", first, inventory(bench))
    assert "installed already; nothing was changed" in bench.install_file(same).stdout
