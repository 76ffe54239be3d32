"""No payload byte is read before the signature holds, and no byte of a bundle is read twice: shown by counting."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import small_bundle
from small_bundle import Recipe

from checksums import quorum
from checksums.errors import IntegrityError
from checksums.layout import INSTALLER
from checksums.quorum import Rule, Verdict
from installer.verify import Discard, Trust, copy_payload, open_bundle

PAYLOAD = {"payload/model/more.bin": bytes(range(256)) * 8192}


class CountedFile(io.FileIO):
    """A file, below the buffer that the installer reads through, that knows how much was read and how far."""

    total = farthest = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = super().readinto(buffer) or 0
        self.total += count
        self.farthest = max(self.farthest, self.tell())
        return count


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle.make_key(tmp_path_factory.mktemp("key") / "key")


@pytest.fixture(scope="module")
def bundle(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle.make(tmp_path_factory.mktemp("bundle"), Recipe(keys=(key,), more=PAYLOAD))


def head_bytes(bundle: Path) -> int:
    """Return where the first member stands that is no part of the head."""
    with tarfile.open(bundle) as tar:
        names = tar.getnames()
        return tar.getmembers()[names.index(f"{bundle.stem}/{INSTALLER}") + 1].offset


def test_the_signature_is_judged_before_a_payload_byte_is_read(
    bundle: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    judge = quorum.judge
    with CountedFile(str(bundle)) as file:

        def noting(data: bytes, signatures: dict[str, bytes], rule: Rule) -> Verdict:
            seen.append(file.farthest)
            return judge(data, signatures, rule)

        monkeypatch.setattr(quorum, "judge", noting)
        open_bundle(io.BufferedReader(file), Trust(key.with_suffix(".allowed")))
    (farthest,) = seen
    assert 0 < farthest <= head_bytes(bundle)


def test_a_bundle_of_a_stranger_is_given_up_without_its_payload(bundle: Path, tmp_path: Path) -> None:
    stranger = small_bundle.make_key(tmp_path / "stranger")
    with CountedFile(str(bundle)) as file, pytest.raises(IntegrityError):
        open_bundle(io.BufferedReader(file), Trust(stranger.with_suffix(".allowed")))
    assert 0 < file.farthest <= head_bytes(bundle)


def test_every_byte_is_read_once(bundle: Path, key: Path) -> None:
    with CountedFile(str(bundle)) as file:
        verified = open_bundle(io.BufferedReader(file), Trust(key.with_suffix(".allowed")))
        copy_payload(verified, lambda _: Discard())
    assert file.total == bundle.stat().st_size
