"""What a ModelScope hub lists for a model: one small request, made before anything large is fetched.

Out comes a Listing: the commit that the revision stands for, and every file with its size and digest. Fetching the
files is bundle/models.py's. Format: the hub's own, GET /api/v1/models/{id}/repo/files.
"""

import json
import re
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import requests
from urllib3.exceptions import NewConnectionError

from bundle.retry import Tries
from bundle.sources import without_passwords
from checksums.errors import CollectError, IntegrityError, UsageError
from checksums.layout import safe_path
from checksums.manifest import MAX_SIZE_BYTES

CONNECT_S, READ_S = 10, 20
LISTING_TRIES = 3
MAX_LISTING_BYTES = 32 << 20
# The real hub cuts a listing there and does not say so (modelscope_hub, REPO_FILES_TRUNCATION_LIMIT).
MAX_FILES = 3000
NOTHING_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HINT = "check the address (--hub-endpoint, MODELSCOPE_ENDPOINT), the proxy and the network"
SHA256 = re.compile(r"[0-9a-f]{64}")
# Hubs also write the beginning of a commit only, as git does.
COMMIT = re.compile(r"[0-9a-f]{7,64}")
COMMIT_KEYS = ("CommitId", "CommitID", "Commit", "Sha", "Revision")


@dataclass(frozen=True)
class HubFile:
    """One file of a model: its path, size in bytes and SHA-256, as the hub lists them."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Listing:
    """A model at one commit."""

    id: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes for file in self.files)


def ask(endpoint: str, model_id: str, revision: str, token: str = "") -> Listing:
    """Ask a hub what a model holds.

    Raises:
        CollectError: the hub does not answer, or does not have it; the message names the address.
        IntegrityError: the listing lacks a digest, or names a path that no bundle may carry.
        UsageError: the token cannot be sent.
    """
    if not (token.isascii() and token.isprintable()):
        raise UsageError("the hub's token holds characters that no token has", "copy MODELSCOPE_API_TOKEN again")
    url = f"{endpoint}/api/v1/models/{quote(model_id)}/repo/files"
    shown = without_passwords(url)
    try:
        status, data = _fetch(url, {"Revision": revision, "Recursive": "True"}, token)
    except requests.HTTPError as error:
        raise CollectError(f"{shown}: {error} for revision {revision}", HINT) from error
    except (requests.RequestException, ValueError) as error:
        # An address that cannot be, ours or one that the hub sends us on to, is not always a RequestException.
        text = f"the hub at {endpoint} does not answer: {_reason(error)}"
        raise CollectError(without_passwords(text), HINT) from error
    try:
        body = json.loads(data) if data else {}
    except (ValueError, RecursionError) as error:
        raise CollectError(f"{shown}: HTTP {status}, and no hub's answer", HINT) from error
    if status != 200 or not isinstance(body, dict) or body.get("Success") is False:
        said = body.get("Message") if isinstance(body, dict) else None
        reason = f"HTTP {status} for revision {revision}" + (f": {ascii(said)[:200]}" if said else "")
        raise CollectError(f"{shown}: {reason}", HINT)
    return read(model_id, revision, body.get("Data"))


def _fetch(url: str, parameters: dict[str, str], token: str) -> tuple[int, bytes]:
    """Return status and body; resets, timeouts and 5xx are tried again, a refused connection is not."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    cookies = {"m_session_id": token} if token else {}
    tries = Tries(LISTING_TRIES)
    while True:
        try:
            with requests.get(
                url, params=parameters, headers=headers, cookies=cookies, timeout=(CONNECT_S, READ_S), stream=True
            ) as answer:
                data = b"".join(_limited(answer))
            if answer.status_code < 500:
                return answer.status_code, data
            failure: requests.RequestException = requests.HTTPError(f"HTTP {answer.status_code}")
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            failure = error
            if any(isinstance(cause, NewConnectionError) for cause in _causes(error)):
                raise
        time.sleep(tries.pause_s(failure))


def _limited(answer: requests.Response) -> list[bytes]:
    chunks, size = [], 0
    for chunk in answer.iter_content(1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_LISTING_BYTES:
            raise CollectError(f"{without_passwords(answer.url)}: a listing without end", HINT)
    return chunks


def read(model_id: str, revision: str, data: Any) -> Listing:
    """Turn the `Data` of a hub's answer into a Listing."""
    raw_files = data.get("Files") if isinstance(data, dict) else None
    if not isinstance(raw_files, list) or not all(isinstance(raw, dict) for raw in raw_files):
        raise CollectError(f"{model_id}: the hub's answer lists no files", "check the address (--hub-endpoint)")
    blobs = [raw for raw in raw_files if raw.get("Type", "blob") != "tree"]
    files = tuple(sorted((_file(model_id, raw) for raw in blobs), key=lambda file: file.path.encode()))
    paths = {file.path for file in files}
    if not files or len(paths) != len(files):
        raise IntegrityError(f"{model_id}: the hub lists no files, or one of them twice", "ask the hub's owner")
    if len(raw_files) >= MAX_FILES:
        raise IntegrityError(
            f"{model_id}: the hub lists {len(raw_files)} files, and no more", "no such model can be carried"
        )
    for path in sorted(paths):
        if paths & set(map(str, PurePosixPath(path).parents)):
            raise IntegrityError(f"{model_id}: {path}: the hub lists its folder as a file", "ask the hub's owner")
    return Listing(model_id, revision, commit_of(model_id, revision, data, blobs), files)


def commit_of(model_id: str, revision: str, data: dict[str, Any], blobs: list[dict[str, Any]]) -> str:
    """Return the commit that was listed: the repository's latest, else the one that changed a file last.

    The real hub often leaves LatestCommitter.Id empty; each file then still names the commit that touched it.

    Raises:
        CollectError: the hub names none, and none is made up.
    """
    latest = data.get("LatestCommitter")
    latest = latest if isinstance(latest, dict) else {}
    places = [latest, data, {"Revision": revision}, max(blobs, key=_date)]
    # A file's own Id is its blob's, not a commit's.
    for value in [latest.get("Id"), *(place.get(key) for place in places for key in COMMIT_KEYS)]:
        if isinstance(value, str) and COMMIT.fullmatch(value.lower()):
            return value.lower()
    raise CollectError(f"{model_id}: the hub's listing names no commit", "name one in the profile: revision = …")


def _date(raw: dict[str, Any]) -> tuple[float, str]:
    """Return when a file was changed, to compare: hubs write seconds, or a text that begins with the year."""
    found = raw.get("CommittedDate")
    return (found, "") if isinstance(found, int | float) else (0, found if isinstance(found, str) else "")


def _file(model_id: str, raw: dict[str, Any]) -> HubFile:
    path = safe_path(str(raw.get("Path") or raw.get("Name") or ""))
    size, digest = raw.get("Size"), str(raw.get("Sha256") or "").lower()
    if not SHA256.fullmatch(digest) or type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:
        raise IntegrityError(f"{model_id}: {path}: the hub lists no usable size and sha256", "ask the hub's owner")
    if (digest == NOTHING_SHA256) != (size == 0):  # modelscope#1365
        raise IntegrityError(
            f"{model_id}: {path}: {size} bytes, but listed with another's sha256", "ask the hub's owner"
        )
    return HubFile(path, size, digest)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what lies behind it, innermost last: requests wraps it several times."""
    found = [error]
    while True:
        inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
        behind = inner or getattr(error, "reason", None) or error.__context__
        if not isinstance(behind, BaseException) or behind in found:
            return found
        found.append(error := behind)


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line."""
    last = _causes(error)[-1]
    return str(last).rpartition(": ")[2] or type(last).__name__
