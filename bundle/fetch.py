"""An address and a digest -> a file: one stream that goes on where a killed run stopped, with some retries.

Bytes are appended to `NAME.part` beside the place; its size is all that a next run needs to know. Only what has the
digest gets the final name. Addresses may be of the kind file://, for a mirror on a disk.
"""

import os
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError

from bundle.progress import Progress
from bundle.sources import without_passwords
from checksums.errors import CollectError, IntegrityError
from checksums.hashing import sha256_file

TIMEOUT_S = (10, 30)  # to connect, and between two reads
# Failures in a row; one that brought some bytes begins the count anew.
PAUSES_S = (0.5, 1, 2, 4)
# What a kill can lose: a read waits for as much.
CHUNK_BYTES = 1 << 16
WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
SPAN = re.compile(r"bytes (\d+)-\d+/(\d+)")


class _Hiccup(Exception):
    """Something that may go better the next time."""


def fetch(url: str, sha256: str, place: Path, progress: Progress, hint: str) -> Path:
    """Fetch a file to its place, going on with what an earlier run left.

    Raises:
        CollectError: it cannot be had; the message names the address, without a password.
        IntegrityError: what came is not what the digest names; nothing of it is kept.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.part")
    shown = without_passwords(url)
    try:
        if urlsplit(url).scheme == "file":
            shutil.copyfile(unquote(urlsplit(url).path), part)
        else:
            _stubbornly(url, part, progress)
    except (_Hiccup, requests.RequestException, HTTPError, FileNotFoundError) as error:
        raise CollectError(f"{shown}: {without_passwords(_reason(error))}", hint) from error
    found = sha256_file(part)
    if found != sha256:
        part.unlink()
        raise IntegrityError(f"{shown}: sha256 is {found}, and has to be {sha256}", hint)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    return part.replace(place)


def _stubbornly(url: str, part: Path, progress: Progress) -> None:
    """Append until all of it is there; raises what the last try of several raised."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _once(url, part, progress)
        except (_Hiccup, requests.ConnectionError, requests.Timeout, HTTPError):
            failures = 1 if _size(part) > before else failures + 1
            if failures > len(PAUSES_S):
                raise
        time.sleep(PAUSES_S[failures - 1])


def _once(url: str, part: Path, progress: Progress) -> None:
    """Ask for what is missing and append it."""
    have = _size(part)
    # The file is a gzip file: a server must not wrap it in another one, nor requests unwrap it.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, timeout=TIMEOUT_S, stream=True) as answer:
        if answer.status_code == 416:
            _expect_whole(answer, part, have)
            return
        start, total = _offered(answer, have)
        with progress.bytes_bar(part.stem, total) as bar, part.open("ab", buffering=0) as file:
            file.truncate(start)
            bar.update(start)
            while chunk := answer.raw.read(CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
    if total and _size(part) != total:
        raise _Hiccup(f"the connection ended after {_size(part)} of {total} bytes")


def _expect_whole(answer: requests.Response, part: Path, have: int) -> None:
    """Take "there is no more" for an answer where all of it is here; else begin anew."""
    if answer.headers.get("Content-Range") != f"bytes */{have}":
        part.unlink()
        raise _Hiccup("the server has less of it than an earlier run fetched")


def _offered(answer: requests.Response, have: int) -> tuple[int, int]:
    """Return where the bytes of an answer begin in the file, and how long the whole file is, 0 where it is not said."""
    span = SPAN.match(answer.headers.get("Content-Range", ""))
    if answer.status_code == 206 and span and int(span[1]) == have:
        return have, int(span[2])
    if answer.status_code == 200:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else 0
    text = f"HTTP {answer.status_code} {answer.reason or ''}".rstrip()
    if answer.status_code in WORTH_ANOTHER_TRY:
        raise _Hiccup(text)
    raise requests.RequestException(text)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: Exception) -> str:
    """Return the cause in one line: requests wraps it several times."""
    return str(error).splitlines()[0].rpartition(": ")[2] if str(error) else type(error).__name__
