"""The engine's limits: generous to what works, and an end to what runs wild."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import small_bundle
from small_bundle import Recipe

from bundle import sizing
from checksums.manifest import File, Manifest
from installer import limits, units
from installer.limits import MIB, Server
from installer.places import places_of

GIB = 1 << 30
BIG = Server(256 * GIB, 8)
PARAMETERS, KV_BYTES = 464_000_000, 196_608  # Qwen1.5-0.5B, float32
WEIGHTS = File("payload/model/model.safetensors", 1_240_000_000, "0" * 64, "0644")
TEMPLATES = small_bundle.ROOT / "systemd"


def manifest() -> Manifest:
    """Return the manifest that the build side would write for a model of half a billion parameters."""
    plain = small_bundle.manifest(Recipe(ram_bytes=RAM), {"install.pyz": b""})
    model = replace(plain.model, parameters=PARAMETERS)
    return replace(plain, model=model, files=(*plain.files, WEIGHTS))


RAM = sizing.BASE_RAM_BYTES + 4 * PARAMETERS + sizing.CONTEXT_TOKENS * KV_BYTES


def test_both_sides_count_alike() -> None:
    ours = (limits.BASE_RAM_BYTES, limits.CONTEXT_TOKENS, limits.FLOAT32_BYTES)
    assert ours == (sizing.BASE_RAM_BYTES, sizing.CONTEXT_TOKENS, sizing.FLOAT32_BYTES)


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ("", 2048),
        ("[engine]\ncontext_tokens = 4096\n", 4096),
        ("[engine]\n  context_tokens=32_768   # long\nslots = 4\n", 131_072),
        ("engine.context_tokens = 0x1000\n", 4096),
        ("# context_tokens = 9\n[engine]\ncontext_tokens = 512\n", 512),
        ("context_tokens = 1O24\n", 2048),
    ],
)
def test_the_context_is_read_as_it_may_be_written(settings: str, tokens: int) -> None:
    assert limits.tokens_of(settings) == tokens


def test_what_the_release_needs_fits_with_its_files_and_a_quarter_more() -> None:
    found = limits.limits(manifest(), "", BIG)
    needed = RAM + (limits.ROOM_TOKENS - 2048) * KV_BYTES + WEIGHTS.size
    assert found.memory_max_bytes == pytest.approx(needed * 1.25, abs=2 * MIB)
    assert needed < found.memory_high_bytes < found.memory_max_bytes
    assert found.room_tokens == 8192 and found.tasks_max == 128 + 8 * 8


def test_a_longer_context_gets_its_memory() -> None:
    plain, long = (limits.limits(manifest(), text, BIG) for text in ("", "context_tokens = 32768\nslots = 2\n"))
    assert long.room_tokens == 65_536
    more = long.memory_max_bytes - plain.memory_max_bytes
    assert more == pytest.approx((65_536 - 8192) * KV_BYTES * 1.25, abs=2 * MIB)


def test_a_tenth_of_a_small_server_is_left_to_the_others_unless_the_release_needs_it() -> None:
    assert limits.limits(manifest(), "", Server(6 * GIB, 2)).memory_max_bytes == pytest.approx(5.4 * GIB, abs=MIB)
    assert limits.limits(manifest(), "", Server(2 * GIB, 2)).memory_max_bytes >= RAM


def test_a_bundle_that_asks_for_nearly_nothing_gets_what_the_libraries_take() -> None:
    found = limits.limits(small_bundle.manifest(Recipe(ram_bytes=1), {"install.pyz": b""}), "", BIG)
    assert found.memory_high_bytes > limits.BASE_RAM_BYTES
    assert found.values()["MEMORY_MAX"] == f"{found.memory_max_bytes // MIB}M"


@pytest.mark.parametrize("unit", units.UNITS)
def test_nothing_in_a_rendered_unit_is_left_to_be_filled_in(unit: str) -> None:
    values = limits.limits(manifest(), "", BIG).values()
    text = units.render((TEMPLATES / unit).read_text(), places_of(None, is_user=False), values)
    assert "@" not in text.replace("SystemCallFilter=@system-service", "").replace("~@privileged @resources", "")
    if unit == "ferry-engine.service":
        lines = set(text.splitlines())
        assert {f"MemoryMax={values['MEMORY_MAX']}", "Environment=FERRY_ROOM_TOKENS=8192"} <= lines


def test_the_units_of_a_release_follow_the_settings_of_the_server(tmp_path: Path) -> None:
    release, here = tmp_path / "release", places_of(tmp_path, is_user=True)
    (release / "app").mkdir(parents=True)
    (release / "app" / "systemd").symlink_to(TEMPLATES)
    (release / "app" / "service").symlink_to(small_bundle.ROOT / "service")
    (release / "manifest.json").write_bytes(manifest().render())
    engine = units.SYSTEM / "ferry-engine.service"
    assert b"FERRY_ROOM_TOKENS=8192\n" in units.rendered(release, here)[engine]
    here.config.parent.mkdir()
    here.config.write_text("[engine]\ncontext_tokens = 16384\n")
    assert b"FERRY_ROOM_TOKENS=16384\n" in units.rendered(release, here)[engine]


def test_a_unit_between_two_attempts_has_failed() -> None:
    shown = "ActiveState=active\nSubState=running\n\nActiveState=activating\nSubState=auto-restart"
    assert units.words_of(shown) == ["active", "failed"]
    assert units.state_of(units.words_of(shown)) == "failed"
    assert units.words_of("SubState=start\nActiveState=activating\n") == ["activating"]
