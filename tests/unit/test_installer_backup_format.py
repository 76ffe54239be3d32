"""A backup's format: what is written is read back, and every way to make a hostile one is refused by name."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_bundle import digest, make_key

from checksums import signature, sums
from checksums.errors import FerryError, HostError, IntegrityError
from checksums.layout import SUMS
from checksums.tarball import TarWriter, header
from installer import backup, backup_file, log_merge, restore, restored_settings
from installer.backup_file import MODE, NAMESPACE, TOP
from installer.backup_list import DESCRIPTION, Description, Entry
from installer.files import Changes
from installer.journal import Journal
from installer.places import Places

FILES = {"data/ferry.db": b"rows" * 700, "etc/ferry.toml": b"[web]\n", "log/audit.jsonl": b"{}\n"}
Members = list[tuple[str, bytes]]


def description(files: dict[str, bytes] | None = None) -> Description:
    entries = [
        Entry(path, len(data), "0600", "service") for path, data in sorted((FILES if files is None else files).items())
    ]
    return Description("2025-01-01T00:00:00Z", "1.0.0-1-abcd", "1.0.0", "0001", "root", "", tuple(entries))


def written(files: dict[str, bytes], key: Path | None = None, of: Description | None = None) -> bytes:
    stream = io.BytesIO()
    opened: Callable[[Entry], io.BytesIO] = lambda entry: io.BytesIO(files[entry.path])  # noqa: E731
    backup_file.write(stream, of or description(files), opened, key, lambda _: None)
    return stream.getvalue()


def members(files: dict[str, bytes], listed: bytes) -> Members:
    digests = {DESCRIPTION: digest(listed), **{path: digest(data) for path, data in files.items()}}
    return [(SUMS, sums.render(digests)), (DESCRIPTION, listed), *sorted(files.items())]


def packed(content: Iterable[tuple[str, bytes]], top: str = TOP) -> bytes:
    """Write a tarball of members as they are given, sensible or not."""
    stream = io.BytesIO()
    for path, data in content:
        stream.write(header(f"{top}/{path}", len(data), MODE) + data + bytes(-len(data) % 512))
    TarWriter(stream, top).close()
    return stream.getvalue()


def read(data: bytes, allowed_signers: Path | None = None) -> dict[str, bytes]:
    found: dict[str, io.BytesIO] = {}
    opened = backup_file.open_backup(io.BytesIO(data), allowed_signers)
    target = lambda entry: nullcontext(found.setdefault(entry.path, io.BytesIO()))  # noqa: E731
    backup_file.copy_files(opened, target, lambda _: None)
    return {path: stream.getvalue() for path, stream in found.items()}


def refused(data: bytes, allowed_signers: Path | None = None) -> str:
    with pytest.raises(IntegrityError) as error:
        read(data, allowed_signers)
    assert error.value.hint and "bundle" not in error.value.message + error.value.hint
    return error.value.message


def test_what_is_written_is_read_back_and_is_made_of_these_members() -> None:
    data = written(FILES)
    assert read(data) == FILES
    assert data == packed(members(FILES, description().render()))


@given(st.data())
def test_one_flipped_bit_anywhere_is_refused(draw: st.DataObject) -> None:
    data = bytearray(written(FILES))
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    data[bit // 8] ^= 1 << bit % 8
    assert refused(bytes(data))


@given(st.integers(0, len(written(FILES)) - 1))
def test_a_backup_that_is_cut_short_anywhere_is_refused(size: int) -> None:
    assert refused(written(FILES)[:size])


PATHS = [
    "../x", "data/../../x", "/etc/passwd", "data//x", "data/./x", "elsewhere/x", "log/web.log", "log/audit/x", "data",
    "data/", "data/-x", "data/a\nb", "data/" + "x" * 240, "etc/../data/x", "Data/x", "data/\u00e4",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    listed = replace(description({}), files=(Entry(path, 1, "0600", "service"),))
    content = [(DESCRIPTION, listed.render()), *([(path, b"x")] if path.isascii() else [])]
    text = sums.render({DESCRIPTION: digest(listed.render()), path: digest(b"x")})
    assert refused(packed([(SUMS, text), *content]))
    assert not backup.is_carried(path)


def test_links_and_folders_are_no_members() -> None:
    for kind, words in ((b"2", "symbolic link"), (b"1", "hard link"), (b"5", "folder"), (b"6", "no plain file")):
        data = bytearray(written(FILES))
        at = data.index(f"{TOP}/data/ferry.db".encode())
        data[at + 156 : at + 157] = kind
        assert words in refused(bytes(data))


LISTED = members(FILES, description().render())
ORDERS: dict[str, tuple[Members, str]] = {
    "an extra member": ([*LISTED, ("data/more", b"x")], "data/more: occurs twice or is not in the list"),
    "a member twice": ([*LISTED[:3], LISTED[2], *LISTED[3:]], "data/ferry.db: not where"),
    "the last one twice": ([*LISTED, LISTED[-1]], "log/audit.jsonl: occurs twice"),
    "a missing member": (LISTED[:-1], "log/audit.jsonl: missing"),
    "another order": ([*LISTED[:2], *LISTED[:1:-1]], "log/audit.jsonl: not where"),
    "no list of digests": (LISTED[1:], "backup.json: stands where SHA256SUMS must"),
    "no description": ([LISTED[0], *LISTED[2:]], "stands where backup.json must"),
    "nothing": ([], "missing"),
    "a size that differs": ([*LISTED[:2], ("data/ferry.db", b"rows"), *LISTED[3:]], "not of its size"),
    "other bytes": ([*LISTED[:2], ("data/ferry.db", b"ROWS" * 700), *LISTED[3:]], "data/ferry.db: sha256 differs"),
    "another description": (
        [LISTED[0], (DESCRIPTION, LISTED[1][1] + b" "), *LISTED[2:]],
        "backup.json: sha256 differs",
    ),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_backup_with_other_members_than_its_list_is_refused(name: str) -> None:
    content, words = ORDERS[name]
    assert words in refused(packed(content))


def test_every_damaged_file_is_named() -> None:
    changed = {path: data[::-1] + b"" for path, data in FILES.items() if path != "log/audit.jsonl"}
    said = refused(packed([*LISTED[:2], *sorted(changed.items()), LISTED[-1]]))
    assert "data/ferry.db" in said and "etc/ferry.toml" in said


def test_a_list_of_digests_without_end_is_not_read_into_memory() -> None:
    head = header(f"{TOP}/{SUMS}", 1 << 40, MODE)
    assert "too many" in refused(head)


BROKEN: dict[str, Callable[[dict], object]] = {
    "another path twice": lambda raw: raw["files"].append(raw["files"][-1]),
    "a file that is a folder": lambda raw: raw["files"].insert(1, {**raw["files"][0], "path": "data/ferry.db/x"}),
    "a negative size": lambda raw: raw["files"][0].update(size=-1),
    "a size as text": lambda raw: raw["files"][0].update(size="1"),
    "a size that is true": lambda raw: raw["files"][0].update(size=True),
    "a size without end": lambda raw: raw["files"][0].update(size=1 << 80),
    "a set-user-id mode": lambda raw: raw["files"][0].update(mode="4755"),
    "a mode as number": lambda raw: raw["files"][0].update(mode=384),
    "another owner": lambda raw: raw["files"][0].update(owner="root"),
    "an owner that is a list": lambda raw: raw["files"][0].update(owner=["service"]),
    "a path that is a number": lambda raw: raw["files"][0].update(path=1),
    "one key more": lambda raw: raw.update(more=1),
    "a key less": lambda raw: raw.pop("outside"),
    "files that are an object": lambda raw: raw.update(files={}),
    "an item that is a text": lambda raw: raw.update(files=["data/x"]),
    "another mode": lambda raw: raw.update(mode="both"),
    "no time": lambda raw: raw.update(created="2025-13-01T00:00:00Z"),
    "a time as number": lambda raw: raw.update(created=1),
    "a release with a slash": lambda raw: raw.update(release="../x"),
    "a revision as list": lambda raw: raw.update(revision=["0001"]),
    "an outside that beeps": lambda raw: raw.update(outside="\x07"),
    "format 0": lambda raw: raw.update(format=0),
    "format true": lambda raw: raw.update(format=True),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_description_that_makes_no_sense_is_refused(name: str) -> None:
    raw = json.loads(description().render())
    BROKEN[name](raw)
    with pytest.raises(IntegrityError, match=DESCRIPTION):
        Description.parse((json.dumps(raw, indent=1, sort_keys=True) + "\n").encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b"\xff", b'{"format": 1e999}', description().render() + b" "]
)
def test_bytes_that_are_no_description_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=DESCRIPTION):
        Description.parse(data)


def test_a_newer_format_asks_for_an_upgrade() -> None:
    data = description().render().replace(b'"format": 1', b'"format": 2')
    with pytest.raises(HostError, match="newer") as error:
        read(packed(members(FILES, data)))
    assert "ferry upgrade" in error.value.hint


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other"):
        key = make_key(folder / name)
        line = signature.line_of(signature.parse(signature.sign(b"", key)), namespace=NAMESPACE)
        (folder / f"{name}.list").write_text(line)
    return folder


def test_a_signature_is_judged_by_the_list_that_is_given(keys: Path) -> None:
    data = written(FILES, keys / "ours")
    assert read(data, keys / "ours.list") == FILES
    assert backup_file.open_backup(io.BytesIO(data), None).signer.startswith("SHA256:")
    assert "does not allow" in refused(data, keys / "other.list")
    assert "is not signed" in refused(written(FILES), keys / "ours.list")


def test_a_key_for_bundles_and_a_signature_over_a_bundle_do_not_count(keys: Path) -> None:
    assert "does not allow" in refused(written(FILES, keys / "ours"), keys / "ours.allowed")
    text = LISTED[0][1]
    content = [LISTED[0], (f"{SUMS}.sig", signature.sign(text, keys / "ours")), *LISTED[1:]]
    for trusted in (None, keys / "ours.list"):
        assert "signed for something else than a backup" in refused(packed(content), trusted)


def test_a_signature_over_another_list_is_refused_with_and_without_a_list(keys: Path) -> None:
    content = [LISTED[0], (f"{SUMS}.sig", signature.sign(b"other", keys / "ours", NAMESPACE)), *LISTED[1:]]
    for trusted in (None, keys / "ours.list"):
        assert "does not match" in refused(packed(content), trusted)


def test_the_list_can_be_checked_by_hand(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(written(FILES, keys / "ours"))
    lines = f"""tar xf b.tar; cd {TOP}
    ssh-keygen -Y verify -f {keys}/ours.list -I ferry -n {NAMESPACE} -s SHA256SUMS.sig < SHA256SUMS
    sha256sum --quiet -c SHA256SUMS"""
    subprocess.run(["sh", "-euc", lines], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("change", [b"", b"shorter", b"ROWS" * 700])
def test_a_file_that_changes_while_it_is_read_ends_the_backup(change: bytes) -> None:
    contents = iter([b"rows" * 700, b"[web]\n", b"{}\n", change])

    def opened(_: Entry) -> io.BytesIO:
        return io.BytesIO(next(contents))

    with pytest.raises(FerryError, match=r"data/ferry\.db: was changed while it was read"):
        backup_file.write(io.BytesIO(), description(), opened, None, lambda _: None)


def test_a_file_that_grew_is_carried_as_it_was_when_it_was_listed() -> None:
    grown = {path: data + b"more" for path, data in FILES.items()}
    assert read(written(grown, of=description())) == FILES


def test_nothing_is_read_through_a_link_or_from_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "folder" / "link").symlink_to("file")
    with backup.open_below(tmp_path, "folder/file") as file:
        assert file.read() == b"x"
    for inside in ("link/file", "folder/link"):
        with pytest.raises(OSError):
            backup.open_below(tmp_path, inside)
    os.mkfifo(tmp_path / "pipe")
    places = Places(tmp_path, is_user=True)
    assert backup._source("data/pipe", tmp_path, "pipe", places) is None
    assert backup._source("data/x", tmp_path, "folder/link", places) is None


def test_a_disk_that_is_too_full_is_said_before_anything_is_done(tmp_path: Path) -> None:
    huge = replace(description({}), files=(Entry("data/x", 1 << 45, "0600", "service"),))
    with pytest.raises(HostError, match="needs 35,184,372,088,832 bytes"):
        restore._demand_room(huge, Places(tmp_path, is_user=True))
    with pytest.raises(HostError, match="needs 35,184,372,088,832 bytes"):
        backup._demand_room(tmp_path / "b.tar", 1 << 45)


HERE = '[web]\nlisten = "10.0.0.1:80"\n[trust]\nthreshold = 2\n'
FITTING = {
    "the same": (HERE, HERE),
    "listens elsewhere": (HERE.replace("10.0.0.1:80", "127.0.0.1:1"), HERE),
    "asks for fewer keys": (HERE.replace("= 2", "=  1 # one"), HERE.replace("= 2", "=  2 # one")),
    "asks for none": ('[web]\nlisten = "10.0.0.1:80"\n', '[web]\nlisten = "10.0.0.1:80"\n\n[trust]\nthreshold = 2\n'),
    "an empty section": ("[trust]\n[audit]\n", "[trust]\nthreshold = 2\n[audit]\n"),
    "no address": ("[web]\n[trust]\nthreshold = 2\n", "[web]\n[trust]\nthreshold = 2\n"),
}


@pytest.mark.parametrize("name", FITTING)
def test_where_a_server_listens_and_how_many_keys_it_asks_for_stay_its_own(name: str) -> None:
    restored, wanted = FITTING[name]
    text, notes = restored_settings.adapted(restored, HERE)
    assert text == wanted
    assert bool(notes) == (restored != wanted)


def test_a_threshold_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(HostError, match="the backup's"):
        restored_settings.adapted("[trust]\nthreshold = 0x1\n", HERE)


def test_without_settings_here_the_backups_are_taken_as_they_are() -> None:
    assert restored_settings.adapted("[trust]\nthreshold = 1\n", None) == ("[trust]\nthreshold = 1\n", [])
    text, notes = restored_settings.adapted("[trust]\nthreshold = 1\n", "[trust]\nthreshold = many\n")
    assert text == "[trust]\nthreshold = 1\n" and "could not be read" in notes[0]


@pytest.mark.parametrize(
    ("restored", "here", "wanted", "is_kept"),
    [
        (b"a\n", None, b"a\n", False),
        (b"a\n", b"a\nb\n", b"a\nb\n", False),
        (b"a\nb\n", b"a\n", b"a\nb\n", False),
        (b"a\n", b"", b"a\n", False),
        (b"", b"b\n", b"b\n", False),
        (b"a\n", b"b\n", b"a\n", True),
        (b"a\nc\n", b"a\nb\n", b"a\nc\n", True),
    ],
)
def test_an_audit_log_loses_no_line(
    tmp_path: Path, restored: bytes, here: bytes | None, wanted: bytes, is_kept: bool
) -> None:
    log, near = tmp_path / "log", tmp_path / "log" / ".restore-1"
    near.mkdir(parents=True)
    (near / "audit.jsonl").write_bytes(restored)
    if here is not None:
        (log / "audit.jsonl").write_bytes(here)
    changes = Changes(Journal.begin(Places(tmp_path, is_user=True), "restore"))
    merged = log_merge.merge(near, log, "2025-01-01T00:00:00Z", changes)
    assert (log / "audit.jsonl").read_bytes() == wanted
    kept = list(log.glob("audit.jsonl.before-restore-*"))
    assert [path.read_bytes() for path in kept] == ([here] if is_kept else []) and len(merged.notes) == is_kept
