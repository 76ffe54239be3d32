"""A hub's listing -> weights on disk, through the ModelScope SDK: the one module that knows it.

The SDK's client makes every request: address, token, headers, proxies, redirects, time limits, what an error means.
Which ranges are asked for, and going on after a kill, is bundle/ranges.py: the SDK's own downloader gives a file up
after an hour, or after five failures however much arrived between them, truncates what it has where a server ignores a
range, and loses parts that it is merging (docs/decisions/0009). It is kept away from the user's own ModelScope folders.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from bundle import cache
from bundle.hub import HubFile, Listing
from bundle.partial import Partial
from bundle.progress import Progress
from bundle.ranges import AGAIN, WRONG, Answer, StoppedError, TransientError, Wanted, fetch
from bundle.sources import without_passwords
from checksums.errors import CollectError, IntegrityError
from checksums.hashing import sha256_file

JOBS = 4
CHUNK_BYTES = 1 << 20
IDLE_S = "20"
MIN_BYTES_PER_S, WINDOW_S = 1024, 60
# The SDK wants an end; a line may be slow, and a file large.
TEN_YEARS_S = 10 * 365 * 86_400.0
RETRIED = {408, 429}
# No file has more digits than these; Python turns no more than some thousand into a number.
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")


def endpoint(given: str = "") -> str:
    """Return the hub's address without a final slash: the given one, MODELSCOPE_ENDPOINT, or the SDK's own default."""
    _prepare()
    from modelscope_hub.config import HubConfig

    return str(HubConfig(endpoint=given or None, token="").endpoint)


def collect(listing: Listing, address: str, token: str, jobs: int, progress: Progress) -> Path:
    """Return a folder that holds every file of the listing, fetching what the cache lacks, `jobs` ranges at a time.

    Raises:
        CollectError: the hub stopped answering, or the disk is full; what was fetched is kept.
        IntegrityError: what it sent is not what it listed; every such file is named, with both digests.
    """
    home = cache.folder("models") / listing.id
    folder, parts, proof = home / listing.commit, home / ".parts", home / f"{listing.commit}.json"
    missing = _missing(listing, folder, _read(proof))
    missing = [file for file in missing if not _taken_over(file, folder, home)]
    if missing:
        proof.unlink(missing_ok=True)
        parts.mkdir(parents=True, exist_ok=True)
        _fetch(missing, listing, folder, parts, _Sdk(listing, address, token), jobs, progress)
    shutil.rmtree(parts, ignore_errors=True)
    proof.write_text(json.dumps({f.path: _note(folder / f.path, f) for f in listing.files}, indent=1), encoding="utf-8")
    return folder


def _fetch(
    missing: list[HubFile],
    listing: Listing,
    folder: Path,
    parts: Path,
    source: "_Sdk",
    jobs: int,
    progress: Progress,
) -> None:
    first = {file.sha256: file for file in reversed(missing)}
    wanted = [
        Wanted(file.path, digest, Partial(parts, digest, file.size_bytes), folder / file.path)
        for digest, file in first.items()
    ]
    _check_room(parts, wanted)
    with progress.bytes_bar(listing.id, sum(file.partial.size_bytes for file in wanted)) as bar, source:
        fetch(wanted, source, jobs, bar)
    for file in missing:
        if file is not first[file.sha256]:
            _link(folder / first[file.sha256].path, folder / file.path)


def _check_room(folder: Path, wanted: list[Wanted]) -> None:
    needed = sum(file.partial.size_bytes - file.partial.held_bytes for file in wanted)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CollectError(
            f"{folder}: {needed} bytes are to be fetched and {free} are free",
            "make room there, or name another disk: XDG_CACHE_HOME=FOLDER",
        )


def _missing(listing: Listing, folder: Path, notes: Mapping[str, Any]) -> list[HubFile]:
    """Return the files that are not there whole; one that changed since it was noted is read again."""

    def is_there(file: HubFile) -> bool:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            return False
        return notes.get(file.path) == _note(path, file) or sha256_file(path) == file.sha256

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(is_there, listing.files))
    return [file for file, is_whole in zip(listing.files, found, strict=True) if not is_whole]


def _taken_over(file: HubFile, folder: Path, home: Path) -> bool:
    """Take a file from another commit of the same model, where only others changed; tell whether there was one."""
    for proof in sorted(home.glob("*.json")):
        for path, note in _read(proof).items():
            other = home / proof.stem / path
            is_alike = note[:2] == [file.size_bytes, file.sha256] and other != folder / file.path
            if is_alike and other.is_file() and sha256_file(other) == file.sha256:
                _link(other, folder / file.path)
                return True
    return False


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _note(path: Path, file: HubFile) -> list[Any]:
    return [file.size_bytes, file.sha256, path.stat().st_mtime_ns]


def _read(proof: Path) -> dict[str, Any]:
    """Return path -> [size, digest, time of change] as an earlier run left it; nothing where that is not readable."""
    with suppress(OSError, ValueError):
        value = json.loads(proof.read_bytes())
        if isinstance(value, dict) and all(isinstance(note, list) for note in value.values()):
            return value
    return {}


def _prepare() -> None:
    """Set what the SDK reads while it is imported: folders of our own, no request beyond the one that is made."""
    home = cache.folder("modelscope")
    os.environ["MODELSCOPE_CACHE"] = str(home / "cache")
    os.environ["MODELSCOPE_HOME"] = str(home / "home")
    os.environ.setdefault("MODELSCOPE_DOWNLOAD_TIMEOUT", IDLE_S)
    for name in ("modelscope", "modelscope_hub"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class _Sdk:
    """The SDK's client as a Source; its control ends slow answers, and all of them when told to stop."""

    def __init__(self, listing: Listing, address: str, token: str) -> None:
        _prepare()
        from modelscope_hub import HubApi
        from modelscope_hub._download_control import _DownloadControl

        self._listing = listing
        self.name = without_passwords(f"{listing.id} from {address}")
        self._client = HubApi(endpoint=address, token=token).legacy
        self._control = _DownloadControl(total_timeout=TEN_YEARS_S, min_rate=MIN_BYTES_PER_S, speed_window=WINDOW_S)

    def __enter__(self) -> "_Sdk":
        return self

    def __exit__(self, *error: object) -> None:
        self._control.__exit__(*error)

    @contextmanager
    def open(self, path: str, start: int, stop: int | None) -> Iterator[Answer]:
        """Ask for a range, or for the whole file where `stop` is None."""
        headers = {"Accept-Encoding": "identity"}
        if stop is not None:
            headers["Range"] = f"bytes={start}-{stop - 1}"
        try:
            with self._client.read_context(self._control):
                response = self._client.download_stream(
                    self._listing.id, "model", path, self._listing.revision, headers=headers
                )
                with self._control.response(response):
                    yield _answer(response, self._control.chunks(response, CHUNK_BYTES))
        except requests.RequestException as error:
            raise TransientError(_said(error)) from error
        except Exception as error:
            if (ours := self._translated(error, path)) is error:
                raise
            raise ours from error

    def sleep(self, seconds: float) -> None:
        """Wait, unless stopped."""
        if self._control.cancel_event.wait(seconds):
            raise StoppedError

    def stop(self) -> None:
        """End every wait and every answer."""
        self._control.cancel_event.set()

    def _translated(self, error: Exception, path: str) -> Exception:
        """Return our error for the SDK's; what is not the SDK's stays what it is."""
        from modelscope_hub._download_control import _DownloadCancelledError
        from modelscope_hub.errors import APIError, HubError, NetworkError

        if isinstance(error, _DownloadCancelledError):
            return StoppedError()
        status = getattr(error, "status_code", None) if isinstance(error, APIError) else None
        if isinstance(error, NetworkError) or (status is not None and (status >= 500 or status in RETRIED)):
            return TransientError(_said(error, status), getattr(error, "retry_after", None))
        if status == 416:
            return IntegrityError(f"{path}: the hub's file is shorter than it lists (HTTP 416)", WRONG)
        if isinstance(error, HubError):
            hint = "give a token that may read it: MODELSCOPE_API_TOKEN" if status in (401, 403) else AGAIN
            return CollectError(f"{path}: {self.name}: {_said(error, status)}", hint)
        if isinstance(error, ValueError):
            return CollectError(f"{path}: {self.name} sends us on to where nobody can be asked: {_said(error)}", AGAIN)
        return error


def _said(error: Exception, status: int | None = None) -> str:
    """Return what happened in one line; the SDK says some of it in Chinese, and shows addresses with their secrets."""
    line = (str(error).splitlines() or [""])[0]
    if status:
        return f"HTTP {status}"
    return without_passwords(line) if line.isascii() and line else type(error).__name__


def _answer(response: requests.Response, chunks: Iterator[bytes]) -> Answer:
    """Read where a body begins, and how large the file is, from the status and the headers."""
    if response.status_code == 206:
        stated = response.headers.get("Content-Range", "").strip()
        found = CONTENT_RANGE.fullmatch(stated)
        if not found:
            raise TransientError(f"a part without a usable Content-Range: {stated[:80]!r}")
        return Answer(int(found[1]), None if found[3] == "*" else int(found[3]), chunks)
    if response.status_code != 200:
        raise TransientError(f"HTTP {response.status_code} instead of the file")
    length = response.headers.get("Content-Length", "")
    is_plain = response.headers.get("Content-Encoding", "identity") in ("", "identity")
    return Answer(0, int(length) if CONTENT_LENGTH.fullmatch(length) and is_plain else None, chunks)
