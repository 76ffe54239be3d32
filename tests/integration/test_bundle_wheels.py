"""Wheels through the real uv and pip: resolved for the target and not for this host, fetched by digest, kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stub_wheels

from bundle import lock, resolve, resolver, targets, wheels
from bundle.progress import Progress
from bundle.sources import Sources
from checksums.errors import CollectError, IntegrityError

QUIET = Progress(quiet=True)
ARM = targets.make_target("3.12", "aarch64", "2.31")
INTEL = targets.make_target("3.10", "x86_64", "2.28")
TARGETS = [targets.make_target(python, machine, "2.28") for python in targets.PYTHONS for machine in targets.PLATFORMS]
REQUIREMENTS = 'app==1.0\ntomli==1.0; python_version < "3.11"\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    # The host's own configuration file must not add a source to these.
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of wheels whose tags and markers differ by target."""
    place = tmp_path / "wheels"
    stub_wheels.make(place, "app", requires=["fast", "only-arm; platform_machine == 'aarch64'"])
    stub_wheels.make(place, "only-arm")
    stub_wheels.make(place, "tomli")
    stub_wheels.make(place, "fast", tag="py3-none-any")
    for target in TARGETS:
        tag = targets.abi(target)
        stub_wheels.make(place, "fast", tag=f"{tag}-{tag}-manylinux_2_28_{target.platform}")
        stub_wheels.make(place, "fast", tag=f"{tag}-{tag}-manylinux_2_39_{target.platform}")
    return place


def here(folder: Path) -> Sources:
    return Sources(find_links=(str(folder),), no_index=True)


@pytest.mark.parametrize("target", TARGETS, ids=targets.lock_name)
def test_wheels_are_resolved_for_the_target_whatever_the_host(folder: Path, target: targets.Target) -> None:
    found = resolve.resolve(REQUIREMENTS, target, here(folder))
    tag = targets.abi(target)
    expected = {"app", "fast"}
    expected |= {"only-arm"} if target.platform == "aarch64" else set()
    expected |= {"tomli"} if target.python == "3.10" else set()
    assert {wheel.name for wheel in found.wheels} == expected
    assert found.wheel("fast").file == f"fast-1.0-{tag}-{tag}-manylinux_2_28_{target.platform}.whl"
    assert {wheel.origin for wheel in found.wheels} == {"find-links"}
    assert str(folder) not in lock.render(found, target)


@pytest.mark.parametrize("target", [ARM, INTEL], ids=targets.lock_name)
def test_pip_fetches_the_locked_wheels_and_a_second_run_needs_no_source(folder: Path, target: targets.Target) -> None:
    found = resolve.resolve(REQUIREMENTS, target, here(folder))
    first = wheels.collect(found.wheels, target, wheels.ask(found.wheels, target, here(folder)), QUIET)
    assert [path.name for path in first] == [wheel.file for wheel in found.wheels]
    nowhere = Sources(no_index=True)
    assert wheels.collect(found.wheels, target, wheels.ask(found.wheels, target, nowhere), QUIET) == first


def test_a_wheel_that_is_not_offered_is_named_before_anything_is_fetched(folder: Path) -> None:
    found = resolve.resolve(REQUIREMENTS, ARM, here(folder))
    (folder / found.wheel("only-arm").file).unlink()
    with pytest.raises(CollectError, match="only-arm"):
        wheels.ask(found.wheels, ARM, here(folder))
    assert wheels.missing(found.wheels) == list(found.wheels)


def test_wheels_that_were_replaced_since_the_lock_are_all_named(folder: Path) -> None:
    found = resolve.resolve(REQUIREMENTS, ARM, here(folder))
    for name in ("app", "only-arm"):
        with (folder / found.wheel(name).file).open("ab") as file:
            file.write(b"\0")
    with pytest.raises(CollectError) as caught:
        wheels.ask(found.wheels, ARM, here(folder))
    assert all(found.wheel(name).file in caught.value.message for name in ("app", "only-arm"))


def test_pip_refuses_a_wheel_that_is_not_the_locked_one(folder: Path) -> None:
    found = resolve.resolve(REQUIREMENTS, ARM, here(folder))
    with (folder / found.wheel("app").file).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(IntegrityError, match="DO NOT MATCH THE HASHES"):
        wheels.collect(found.wheels, ARM, here(folder), QUIET)
    assert wheels.missing(found.wheels) == list(found.wheels)


def test_a_source_distribution_is_never_taken(folder: Path) -> None:
    (folder / "fast-2.0.tar.gz").write_bytes(b"setup.py could run here")
    assert resolve.resolve("fast", ARM, here(folder)).wheel("fast").version == "1.0"


def test_a_gpu_package_stops_the_resolution(folder: Path) -> None:
    stub_wheels.make(folder, "nvidia-cublas")
    stub_wheels.make(folder, "greedy", requires=["nvidia-cublas"])
    with pytest.raises(CollectError, match="nvidia-cublas: a GPU package"):
        resolve.resolve("greedy", ARM, here(folder))


def test_torch_that_nobody_offers_is_an_error_that_says_what_to_set(folder: Path) -> None:
    with pytest.raises(CollectError) as caught:
        resolve.resolve("torch==9.9+cpu", ARM, here(folder))
    assert "torch==9.9+cpu" in caught.value.message
    assert "PIP_FIND_LINKS=" in caught.value.hint
    assert "cp312" in caught.value.hint


def test_an_index_that_only_the_resolver_knows_is_handed_to_pip(folder: Path) -> None:
    """What uv writes when torch's CPU build comes from PyTorch's own index; that index cannot be asked here."""
    file = stub_wheels.make(folder, "torch", "9.9+cpu", "cp312-cp312-manylinux_2_28_aarch64")
    package = {
        "name": "torch",
        "version": "9.9+cpu",
        "index": "https://wheels.example/cpu",
        "wheels": [{"url": f"https://wheels.example/{file.name.replace('+', '%2B')}", "hashes": {"sha256": "a" * 64}}],
    }
    (offer,) = resolver.offers({"packages": [package]}, ARM, here(folder))
    assert offer.extra_index == "https://wheels.example/cpu"
    assert (offer.wheel.file, offer.wheel.origin, offer.wheel.size_bytes) == (file.name, "index", 0)
    assert json.dumps(here(folder).with_index(offer.extra_index).for_pip()).count(offer.extra_index) == 1
