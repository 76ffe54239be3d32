"""Bundles in parts: in any order from any folders they are the bundle, and one broken thing at a time is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import small_bundle
import tampering
from hypothesis import given
from hypothesis import strategies as st
from parts_bench import PART_BYTES, QUIET, Set, flip

from bundle import glance, inspection, media
from checksums import parts
from checksums.errors import FerryError, IntegrityError, UsageError
from checksums.parts import PartsReader
from checksums.parts_list import PartsList
from installer.verify import Trust

UNSIGNED = Trust(None, insecure_unsigned=True)


@pytest.fixture
def made(tmp_path: Path) -> Set:
    return Set(tmp_path)


def test_the_parts_are_plain_slices_and_the_bundle_stays(made: Set) -> None:
    assert len(made.parts) > 5
    assert b"".join(part.read_bytes() for part in made.parts) == made.bundle.read_bytes()
    assert {part.stat().st_size for part in made.parts[:-1]} == {PART_BYTES}
    assert PartsList.parse(made.list.read_bytes(), "").render() == made.list.read_bytes()


@pytest.mark.parametrize("has_list", [True, False])
def test_parts_in_any_order_from_any_folders_are_the_bundle(made: Set, tmp_path: Path, has_list: bool) -> None:
    if not has_list:
        made.list.unlink()
    (tmp_path / "other").mkdir()
    moved = [Path(shutil.move(made.part(number), tmp_path / "other")) for number in (2, 5)]
    named = [moved[1], made.part(3), moved[0]]
    joined = media.join(named, tmp_path / "joined", QUIET)
    assert joined.read_bytes() == made.bundle.read_bytes() and joined.name == made.bundle.name
    assert [path.name for path in joined.parent.iterdir()] == [joined.name]
    assert inspection.verify(named, UNSIGNED, QUIET).manifest == glance.at(made.bundle).manifest


@pytest.mark.parametrize("named", [["*.tar.*"], ["*.002"], ["*.parts.json"], ["*.003", "*.003"]])
def test_one_part_its_list_or_all_of_them_may_be_named(made: Set, named: list[str]) -> None:
    paths = [path for pattern in named for path in made.folder.glob(pattern)]
    assert [part.path for part in parts.find(paths)] == made.parts


def test_a_good_copy_that_is_named_takes_the_place_of_a_damaged_part(made: Set, tmp_path: Path) -> None:
    good = Path(shutil.copy(made.part(3), tmp_path))
    flip(made.part(3))
    with pytest.raises(IntegrityError, match=r"\.003: damaged"):
        media.join([made.part(1)], tmp_path / "joined", QUIET)
    assert media.join([made.part(1), good], tmp_path / "joined", QUIET).read_bytes() == made.bundle.read_bytes()


def test_the_same_part_twice_is_one_and_two_that_differ_are_none(made: Set, tmp_path: Path) -> None:
    copy = Path(shutil.copy(made.part(2), tmp_path))
    assert parts.find([made.part(2), copy])[1].path == made.part(2)
    flip(copy)
    with pytest.raises(IntegrityError, match="are the same part and differ"):
        parts.find([made.part(2), copy])


def drop(number: int) -> Callable[[Set], object]:
    return lambda made: made.part(number).unlink()


def cut(number: int, size: int) -> Callable[[Set], object]:
    return lambda made: made.part(number).write_bytes(made.part(number).read_bytes()[:size])


def grow(number: int) -> Callable[[Set], object]:
    return lambda made: made.part(number).write_bytes(made.part(number).read_bytes() + b"x")


def swap(made: Set) -> None:
    second, third = made.part(2).read_bytes(), made.part(3).read_bytes()
    made.part(2).write_bytes(third)
    made.part(3).write_bytes(second)


def of_another(made: Set) -> None:
    made.part(4).write_bytes(bytes(reversed(made.part(4).read_bytes())))


def listed(text: str | bytes) -> Callable[[Set], object]:
    return lambda made: made.list.write_bytes(text if isinstance(text, bytes) else text.encode())


def no_list(then: Callable[[Set], object]) -> Callable[[Set], object]:
    def change(made: Set) -> None:
        made.list.unlink()
        then(made)

    return change


HOSTILE: list[tuple[Callable[[Set], object], str]] = [
    (drop(2), r"\.002: missing"),
    (lambda made: (drop(2)(made), drop(4)(made)), r"\.002, .*\.004: missing"),
    (lambda made: made.parts[-1].unlink(), r": missing"),
    (cut(3, 0), r"\.003: is empty"),
    (cut(3, 500), r"\.003: 500 of 20000 bytes"),
    (grow(3), r"\.003: 20001 of 20000 bytes"),
    (swap, r"\.002: damaged.*\n.*\.003: damaged"),
    (of_another, r"\.004: damaged"),
    (lambda made: flip(made.part(1), 0), r"\.001: damaged"),
    (lambda made: (flip(made.part(3)), flip(made.part(5))), r"\.003: damaged.*\n.*\.005: damaged"),
    (no_list(drop(2)), r"\.002: missing"),
    (no_list(lambda made: made.parts[-1].unlink()), r"the last part here: is one missing\?"),
    (no_list(cut(3, 0)), r"\.003: is empty"),
    (no_list(cut(3, 500)), r"\.003: 500 of 20000 bytes"),
    (no_list(grow(3)), r"\.001: 20000 of 20001 bytes"),
    (no_list(swap), r"in .*\.00[0-9]"),
    (no_list(of_another), r"sha256 differs .*\(in .*\.00[1-4] to .*\.00[4-9]\)"),
    (no_list(lambda made: flip(made.part(1), 0)), r"noticed in .*\.001"),
    (no_list(lambda made: made.part(2).with_suffix(".009").write_bytes(bytes(9))), r"\.00[0-9]: "),
    (listed(""), "not a list"),
    (listed("[" * 100_000), "not a list"),
    (listed(b"\xff\xfe"), "not a list"),
    (listed("x" * (2 << 20)), "not a list"),
    (listed("{}"), "not a list"),
    (lambda made: made.change_list(format=2), "not a list"),
    (lambda made: made.change_list(size=1), "not a list"),
    (lambda made: made.change_list(parts=[]), "not a list"),
    (lambda made: made.change_list(bundle="../../etc/passwd.tar"), "not a list"),
    (lambda made: made.change_list(bundle="other.tar"), "not a list"),
    (lambda made: made.change_listed(2, name="../../../etc/passwd"), "not a list"),
    (lambda made: made.change_listed(2, name="/etc/passwd"), "not a list"),
    (lambda made: made.change_listed(2, size=-1), "not a list"),
    (lambda made: made.change_listed(2, size=10**40), "not a list"),
    (lambda made: made.change_listed(2, size=True), "not a list"),
    (lambda made: made.change_listed(2, sha256="0"), "not a list"),
    (lambda made: made.change_listed(2, sha256="0" * 64), r"\.002: damaged"),
]


@pytest.mark.parametrize(("change", "named"), HOSTILE)
def test_a_broken_set_is_refused_by_name_and_nothing_is_left(
    made: Set, change: Callable[[Set], object], named: str, tmp_path: Path
) -> None:
    change(made)
    there = next(part for part in made.parts if part.exists())
    with pytest.raises(IntegrityError, match=f"(?s){named}"):
        media.join([there], tmp_path / "joined", QUIET)
    assert list((tmp_path / "joined").glob("*")) == []


def test_a_lying_list_makes_no_bundle_of_another(made: Set, tmp_path: Path) -> None:
    """The list names the digests of what lies there; the signed list does not."""
    flip(made.part(4))
    made.change_listed(4, sha256=small_bundle.digest(made.part(4).read_bytes()))
    with pytest.raises(IntegrityError, match="sha256 differs from the signed list"):
        inspection.verify(made.part(1), UNSIGNED, QUIET)
    with pytest.raises(IntegrityError, match="sha256 differs from SHA256SUMS"):
        media.join([made.part(1)], tmp_path / "joined", QUIET)


def test_what_the_signed_list_proves_needs_no_list_of_parts(made: Set) -> None:
    made.change_listed(2, sha256="0" * 64)
    assert inspection.verify(made.part(1), UNSIGNED, QUIET).digests


@pytest.mark.parametrize("path", ["service/engine.py", "model/config.json", "model/more.safetensors"])
def test_damage_is_told_by_part_and_by_file(made: Set, path: str) -> None:
    at = tampering.member(made.bundle, path).offset_data
    damaged = made.parts[at // PART_BYTES]
    flip(damaged, at % PART_BYTES)
    with pytest.raises(IntegrityError) as raised:
        inspection.verify(made.part(1), UNSIGNED, QUIET)
    assert raised.value.message.startswith(f"{damaged.name}: damaged")
    assert path in raised.value.message and "other parts are whole" in raised.value.hint
    assert raised.value.message.count(".tar.0") == 1


def test_without_the_list_damage_is_told_by_file_and_the_list_is_asked_for(made: Set) -> None:
    at = tampering.member(made.bundle, "model/config.json").offset_data
    damaged = made.parts[at // PART_BYTES]
    flip(damaged, at % PART_BYTES)
    made.list.unlink()
    with pytest.raises(IntegrityError) as raised:
        inspection.verify(made.part(1), UNSIGNED, QUIET)
    assert damaged.name in raised.value.message and made.list.name in raised.value.hint
    assert "are whole" not in raised.value.hint


def test_a_medium_that_cannot_be_read_is_told_by_part(made: Set) -> None:
    found = parts.find([made.part(1)])
    unreadable = [part if part is not found[3] else parts.Part(part.name, made.folder, part.size, "") for part in found]
    reader = PartsReader(unreadable)
    with pytest.raises(IntegrityError, match=r"\.004: cannot be read: Is a directory"):
        reader.read()


@pytest.mark.parametrize(
    "named",
    [["absent.tar.001"], ["x.tar"], ["x.tar.000"], ["x.tar.1"], ["x.tar.0001"], ["folder.tar.001"], ["x.json"]],
)
def test_what_is_no_part_is_wrong_usage(tmp_path: Path, named: list[str]) -> None:
    (tmp_path / "folder.tar.001").mkdir()
    with pytest.raises(UsageError):
        parts.find([tmp_path / name for name in named])


def test_parts_of_two_bundles_are_refused(made: Set) -> None:
    other = made.part(2).with_name("ferry-other.tar.002")
    made.part(2).rename(other)
    with pytest.raises(IntegrityError, match="parts of 2 bundles"):
        parts.find([made.part(1), other])


def test_the_list_of_another_bundle_is_refused(made: Set, tmp_path: Path) -> None:
    for path in made.parts:
        path.rename(path.with_name(path.name.replace("small", "renamed")))
    made.list.rename(made.folder / made.list.name.replace("small", "renamed"))
    with pytest.raises(IntegrityError, match="is about 'ferry-small"):
        parts.find([next(made.folder.glob("*.001"))])


def test_two_lists_that_differ_need_a_word_from_the_operator(made: Set, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    moved = Path(shutil.move(made.part(2), tmp_path / "other"))
    other = Path(shutil.copy(made.list, tmp_path / "other"))
    other.write_text(other.read_text().replace('"sha256": "', '"sha256":  "', 1))
    assert parts.find([made.part(1), moved])
    other.write_text(made.list.read_text().replace(made.list.read_text().split('"')[15], "0" * 64))
    with pytest.raises(IntegrityError, match="two lists of parts differ"):
        parts.find([made.part(1), moved])
    assert parts.find([made.list, made.part(1), moved])


def test_a_part_beyond_the_list_is_refused_where_it_is_named(made: Set) -> None:
    extra = made.folder / f"{made.bundle.name}.099"
    extra.write_bytes(b"x")
    assert len(parts.find([made.part(1)])) == len(made.parts)
    with pytest.raises(IntegrityError, match=r"\.099: .* names [0-9]+ parts only"):
        parts.find([extra])


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_bytes_at_all_make_the_list_parser_stumble(data: bytes) -> None:
    with pytest.raises(FerryError):
        PartsList.parse(data, "x.parts.json")
